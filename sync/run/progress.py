"""The progress bar of a run on a terminal."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from django.db.models import QuerySet
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from people.models import Person
from sync.summary import Summary

PROGRESS_SECONDS = 0.9  # between two refreshes of the bar; it is offered one every half second


@contextmanager
def progress_bar(due: QuerySet[Person], limit: int, summary: Summary) -> Iterator[Callable[[int], object]]:
    """A progress bar for these people, at most `limit` if it is not 0, on a terminal; nothing elsewhere.

    Yields a function that shows the number of people polled so far, the created activities and the failures, at most
    once a second. Log lines are written above the bar.
    """
    if not sys.stderr.isatty():
        yield lambda people: None
        return
    count = due.count()
    total = min(count, limit or count)
    bar = tqdm(total=total, unit=" people", dynamic_ncols=True, leave=False, miniters=0, mininterval=PROGRESS_SECONDS)
    with bar, logging_redirect_tqdm():

        def show(people: int) -> None:
            counts = summary.counts()
            failed = f"{counts['people_failed']} people, {counts['gists_rejected'] + counts['gists_unknown']} gists"
            bar.set_postfix_str(f"activities created: {counts['gists_pushed']}, failed: {failed}", refresh=False)
            bar.total = max(total, people)
            bar.update(people - bar.n)

        yield show
