"""The feed: the gists of all people in the order in which they were stored, which is that of their ids."""

from functools import lru_cache

from django.db.models import Max

from gisttracker.common.prepared import Parameter, PreparedQuery
from gisttracker.common.row_ids import last_id
from people.models import Consumer, Gist, GistQuerySet
from people.representations import Row, represent_feed, select_gists


@lru_cache(maxsize=32)
def _find_gists(limit: int) -> PreparedQuery:
    gists = Gist.objects.filter(id__gt=Parameter("after")).order_by("id")
    return PreparedQuery(lambda: select_gists(gists[:limit], "person"))


def read_feed(after: int, limit: int, filtered: GistQuerySet | None = None) -> tuple[list[Row], bool]:
    """Return up to `limit` gists after this cursor, and whether there are more. `filtered`: only these gists."""
    if filtered is None:
        rows = _find_gists(limit + 1)(after=after)
    else:
        rows = list(select_gists(filtered.filter(id__gt=after).order_by("id")[: limit + 1], "person"))
    return represent_feed(rows[:limit]), len(rows) > limit


def find_newest() -> int:
    """Return the id of the newest gist; 0 if there is none."""
    return Gist.objects.aggregate(newest=Max("id"))["newest"] or 0


def acknowledge(consumer: Consumer, cursor: int, *, force: bool) -> int:
    """Move the consumer's feed marker to the cursor, backwards only by force. Returns where the marker is then.

    Raises ValueError if no gist can have had this id yet: gists would be skipped. The newest gist does not decide,
    because the consumer may have received one that was deleted since, or lost in a restored backup.
    """
    end = last_id(Gist)
    if cursor > end:
        raise ValueError(f"The feed ends at {end}.")
    rows = Consumer.objects.filter(pk=consumer.pk)
    if not force:
        rows = rows.filter(feed_cursor__lte=cursor)
    if rows.update(feed_cursor=cursor):
        return cursor
    return Consumer.objects.filter(pk=consumer.pk).aggregate(cursor=Max("feed_cursor"))["cursor"] or 0
