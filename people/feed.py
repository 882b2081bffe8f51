"""The feed: the gists of all people in the order in which they were stored."""

from collections.abc import Sequence

from django.db import transaction
from django.db.models import Max

from gisttracker.database import retried
from people.models import Consumer, FeedCounter, Gist

BATCH_SIZE = 500  # rows in one transaction


def number_gists(gists: Sequence[Gist]) -> None:
    """Give these unsaved gists the next positions. To be called in the transaction that inserts them, right before."""
    for gist, position in zip(gists, FeedCounter.take(len(gists)), strict=True):
        gist.feed_position = position


def number_unnumbered_gists() -> int:
    """Give positions to gists that a release without the feed has stored. Each run calls this. Returns how many."""
    count = 0
    while numbered := _number_batch():
        count += numbered
    return count


@retried
def _number_batch() -> int:
    unnumbered = Gist.objects.filter(feed_position=None).order_by("id")
    if not unnumbered.exists():
        return 0
    with transaction.atomic():
        # Of two processes, the second one waits here and finds them numbered. Storing locks gists before the counter,
        # too.
        gists = list(unnumbered.select_for_update().only("id")[:BATCH_SIZE])
        number_gists(gists)
        Gist.objects.bulk_update(gists, ["feed_position"])
        return len(gists)


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
