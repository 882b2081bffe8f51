"""What users do with tracked people, for the API, the admin and the commands. Erasing is in forget.py."""

from collections.abc import Callable
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models.functions import Now
from django.utils import timezone

from gisttracker.common.error_codes import CodedError, ErrorCode
from people.known_activities import leave
from people.models import Person, PersonQuerySet, Suppressed
from people.models.github_names import login_key, parse_login
from people.models.suppressed import suppressed_reason


class AlreadyTrackedError(CodedError):
    """`login`: as the tracked person has it."""

    def __init__(self, login: str) -> None:
        super().__init__(ErrorCode.ALREADY_TRACKED, f"@{login} is already tracked.")
        self.login = login


class SuppressedError(CodedError):
    def __init__(self, login: str) -> None:
        super().__init__(ErrorCode.SUPPRESSED, suppressed_reason(login))


def parse_new_login(text: str) -> str:
    """Return the login in a name, an @name or a profile URL.

    Raises InvalidLoginError, AlreadyTrackedError or SuppressedError, which are CodedErrors.
    """
    login = parse_login(text)
    tracked = _find_tracked(login)
    if tracked:
        raise AlreadyTrackedError(tracked)
    if Suppressed.objects.has_login(login):
        raise SuppressedError(login)
    return login


def track(login: str, *, pipedrive_id: int | None, backfill: str) -> Person:
    """Create the person. Raises AlreadyTrackedError, also if another process creates the same person meanwhile."""
    try:
        with transaction.atomic():
            return Person.objects.create(github_username=login, pipedrive_id=pipedrive_id, backfill=backfill)
    except IntegrityError:
        raise AlreadyTrackedError(_find_tracked(login) or login) from None


def _find_tracked(login: str) -> str | None:
    """Return the login of the tracked person, who may write it in another case."""
    return Person.objects.filter(username_key=login_key(login)).values_list("github_username", flat=True).first()


def change(person: Person, changes: dict[str, Any]) -> None:
    """Apply and save the changes of a PATCH (pipedrive_id, backfill, state). The row must be locked."""
    if "pipedrive_id" in changes:
        relink(person, changes["pipedrive_id"])
    if "backfill" in changes:
        person.backfill = changes["backfill"]
        person.gists.widen_backfill(person.backfill, person.created_at)
    if "state" in changes:
        _change_state(person, changes["state"])
    person.save()


def relink(person: Person, pipedrive_id: int | None) -> None:
    """Set another Pipedrive person, or None to find or create one in the next run. Does not save."""
    person.pipedrive_id = pipedrive_id
    person.pipedrive_linked_at = person.pipedrive_confirmed_at = person.pipedrive_matched_at = None
    person.pipedrive_create_started_at = person.next_push_at = None
    person.pipedrive_field_key = ""


def _change_state(person: Person, requested: str) -> None:
    """Pause, or resume if paused; as `pause` and `resume` do. One UPDATE of the locked row meets no other locks."""
    polled = Person.State.ACTIVE if person.github_id else Person.State.NEW
    resumed = polled if person.state == Person.State.PAUSED else person.state
    state = Person.State.PAUSED if requested == Person.State.PAUSED else resumed
    if state != person.state:
        person.state, person.state_changed_at = state, timezone.now()


def pause(people: PersonQuerySet) -> int:
    """Stop polling these people. Returns how many."""
    now = timezone.now()
    columns = {"state": Person.State.PAUSED, "state_changed_at": now, "updated_at": now}
    return sum(batch.exclude(state=Person.State.PAUSED).update(**columns) for batch in people.in_batches())


def resume(people: PersonQuerySet) -> int:
    """Poll the paused ones of these people again. Returns how many."""
    count, now = 0, timezone.now()
    for batch in people.in_batches():
        paused = batch.filter(state=Person.State.PAUSED)
        columns = {"state_changed_at": now, "updated_at": now}
        count += paused.filter(github_id=None).update(state=Person.State.NEW, **columns)
        count += paused.update(state=Person.State.ACTIVE, **columns)
    return count


def sync_soon(people: PersonQuerySet) -> int:
    """Put these people first in the next run. Returns how many. Uses the database's clock, as the runs do."""
    columns = {"sync_requested_at": Now(), "next_attempt_at": None, "next_push_at": None}
    return sum(batch.update(**columns) for batch in people.in_batches())


def compare_again(people: PersonQuerySet) -> int:
    """Compare these people's gists with the activities in Pipedrive before the next push. Returns how many."""
    return sum(batch.update(pipedrive_matched_at=None) for batch in people.in_batches())


def stop_tracking(people: PersonQuerySet, before: Callable[[list[Person]], None]) -> int:
    """Delete these people with their gists and visits, in one transaction. Returns how many.

    Pipedrive keeps its records, and what it has of the gists stays known. `before` gets the people, locked, and may end
    the deletion with an exception.
    """
    with transaction.atomic():
        # Visits and the sync take the same locks, so none of them adds rows while these are deleted.
        found = list(people.select_for_update().order_by("pk"))
        before(found)
        leave(found)
        Person.objects.filter(pk__in=[person.pk for person in found]).delete()
    return len(found)
