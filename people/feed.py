"""The feed: the gists of all people in the order in which they were stored."""

from collections.abc import Sequence
from functools import lru_cache

from django.db import transaction
from django.db.models import Max

from gisttracker.common.prepared import Parameter, PreparedQuery
from people.models import Consumer, FeedCounter, Gist, GistQuerySet
from people.representations import Row, represent_feed, select_gists

RESTORE_GAP = 10_000_000  # positions; more than a backup is behind


def number_gists(gists: Sequence[Gist]) -> None:
    """Give these unsaved gists the next positions. To be called in the transaction that inserts them, right before."""
    for gist, position in zip(gists, FeedCounter.take(len(gists)), strict=True):
        gist.feed_position = position


@lru_cache(maxsize=32)
def _find_gists(limit: int) -> PreparedQuery:
    gists = Gist.objects.filter(feed_position__gt=Parameter("after")).order_by("feed_position")
    return PreparedQuery(lambda: select_gists(gists[:limit], "person"))


def read_feed(after: int, limit: int, filtered: GistQuerySet | None = None) -> tuple[list[Row], bool]:
    """Return up to `limit` gists after this position, and whether there are more. `filtered`: only these gists."""
    if filtered is None:
        rows = _find_gists(limit + 1)(after=after)
    else:
        gists = filtered.filter(feed_position__gt=after).order_by("feed_position")[: limit + 1]
        rows = list(select_gists(gists, "person"))
    return represent_feed(rows[:limit]), len(rows) > limit


def leave_gap_in_feed() -> None:
    """After a restored backup: consumers may keep cursors of positions that the database does not know any more.

    What is stored from now on comes after them, so that it is not missed.
    """
    with transaction.atomic():
        FeedCounter.take(RESTORE_GAP)


def acknowledge(consumer: Consumer, cursor: int, *, force: bool) -> int:
    """Move the consumer's feed marker to the cursor, backwards only by force. Returns where the marker is then.

    Raises ValueError if the feed has not come to this cursor yet: gists would be skipped.
    """
    newest = FeedCounter.newest()
    if cursor > newest:
        raise ValueError(f"The feed ends at {newest}.")
    rows = Consumer.objects.filter(pk=consumer.pk)
    if not force:
        rows = rows.filter(feed_cursor__lte=cursor)
    if rows.update(feed_cursor=cursor):
        return cursor
    return Consumer.objects.filter(pk=consumer.pk).aggregate(cursor=Max("feed_cursor"))["cursor"] or 0
