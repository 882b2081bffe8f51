"""Who is due, as conditions on people. A run attempts each due person once; what it has not done is due in the next."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from django.db.models import F, Q

from people.models import Gist, GistQuerySet, Person
from people.models.freshness import MAX_CLOCK_ERROR
from people.models.github_names import login_key
from sync.backoff import is_over

UNAVAILABLE_RECHECK_EVERY = timedelta(days=1)


def due_for_poll(run_start: datetime, now: datetime) -> Q:
    """People not attempted in this run, requested people, and once a day those whose account is unavailable.

    People who failed repeatedly are due when their pause is over.
    """
    tracked = Q(state__in=[Person.State.NEW, Person.State.ACTIVE])
    unavailable = Q(state__in=[Person.State.GONE, Person.State.CONFLICT])
    return (
        (tracked & attempted_before(run_start, now) & is_over("next_attempt_at", now))
        | (unavailable & attempted_before(min(now - UNAVAILABLE_RECHECK_EVERY, run_start), now))
        | requested(now)
    )


def requested(now: datetime) -> Q:
    """New people, and people whose sync was requested after their last attempt."""
    is_requested = Q(sync_requested_at__lte=now + MAX_CLOCK_ERROR) & (
        Q(attempted_at=None) | Q(attempted_at__lt=F("sync_requested_at"))
    )
    return Q(state=Person.State.NEW, attempted_at=None) | (is_requested & ~Q(state=Person.State.PAUSED))


def due_by_login(logins: Iterable[str], run_start: datetime, now: datetime) -> Q:
    """These people, once in this run, even if their account is unavailable."""
    return has_login(logins) & attempted_before(run_start, now) & ~Q(state=Person.State.PAUSED)


def has_login(logins: Iterable[str]) -> Q:
    return Q(username_key__in=[login_key(login) for login in logins])


def attempted_before(moment: datetime, now: datetime) -> Q:
    """A time in the future is wrong and counts as old: a wrong clock must not hide people."""
    return Q(attempted_at=None) | Q(attempted_at__lt=moment) | Q(attempted_at__gt=now + MAX_CLOCK_ERROR)


def due_for_push(run_start: datetime, now: datetime, *, edits: bool) -> Q:
    """People with gists to push whose push was not attempted in this run, or not since their last poll."""
    latest = now + MAX_CLOCK_ERROR
    is_due = Q(push_attempted_at__lt=run_start) | not_pushed_since_poll() | Q(push_attempted_at__gt=latest)
    return has_gists_to_push(now, edits=edits) & is_due & is_over("next_push_at", now)


def due_for_push_since(moment: datetime, now: datetime, *, edits: bool) -> Q:
    """People with gists to push who were polled after `moment` and whose push was not attempted since that poll."""
    is_due = Q(attempted_at__gte=moment) & not_pushed_since_poll()
    return has_gists_to_push(now, edits=edits) & is_due & is_over("next_push_at", now)


def not_pushed_since_poll() -> Q:
    return Q(push_attempted_at=None) | Q(push_attempted_at__lt=F("attempted_at"))


def has_gists_to_push(now: datetime, *, edits: bool) -> Q:
    return Q(pk__in=gists_to_push(now, edits=edits).values("person"))


def gists_to_push(now: datetime, *, edits: bool) -> GistQuerySet:
    """The gists that need a request to Pipedrive; `edits`: also those whose activity is outdated."""
    unfinished = Gist.objects.unfinished().order_by()
    outdated = Gist.objects.filter(
        is_over("next_edit_at", now), push_state=Gist.PushState.PUSHED, activity_outdated=True
    ).order_by()
    return unfinished | outdated if edits else unfinished
