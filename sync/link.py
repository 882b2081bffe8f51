"""Which Pipedrive person a tracked person is: given, found by e-mail or name, or made."""

from datetime import datetime, timedelta

from people.models import Person
from sync.activity import has_email, is_person, person_name
from sync.claims import Claims, Clock
from sync.clients.errors import (
    CircuitOpenError,
    LeaseLostError,
    NotFoundError,
    NotSentError,
    RejectedError,
    RetryNextRunError,
)
from sync.clients.pipedrive import PipedriveClient, PipedrivePerson
from sync.steps import Steps, remote

CLOCK_DIFFERENCE = timedelta(hours=1)  # that Pipedrive's clock and ours may have at most


def link(
    person: Person, pipedrive: PipedriveClient, claims: Claims, clock: Clock, settle: timedelta, *, lost: int = 0
) -> Steps[int]:
    """The id of the person's Pipedrive person. RetryNextRunError when it can't be known now, OutcomeUnknownError after a cut-off.

    That one is about to be made is written down before; `settle` after a cut-off, the newest persons are looked
    through before another is made. `lost`: the id that it had until now, which the search may still know.
    """
    if person.pipedrive_id:
        return person.pipedrive_id
    if person.pipedrive_create_started_at:
        if clock() < person.pipedrive_create_started_at + settle:
            raise RetryNextRunError("Whether its Pipedrive person was made is looked up in the next run.")
        made = yield from remote(_find_made, pipedrive, person, person.pipedrive_create_started_at)
    else:
        made = yield from remote(_find, pipedrive, person, lost)
    if made:
        _write(claims, person, pipedrive_id=made.id, pipedrive_create_started_at=None)
        return made.id
    return (yield from _make(person, pipedrive, claims, clock))


def is_lost(person: Person, pipedrive: PipedriveClient) -> Steps[bool]:
    """Was its Pipedrive person deleted, or merged into another? RetryNextRunError when the token's user may not see it."""
    try:
        found = yield from remote(pipedrive.person, person.pipedrive_id or 0)
    except NotFoundError:
        return True
    except RejectedError as error:
        raise RetryNextRunError(
            f"Pipedrive person {person.pipedrive_id} cannot be used: may the token's user see it? {error}"
        ) from None
    return found.is_deleted


def unlink(person: Person, claims: Claims) -> None:
    """Forget the Pipedrive person, so that `link` looks for another."""
    _write(claims, person, pipedrive_id=None, pipedrive_matched_at=None)


def _find(pipedrive: PipedriveClient, person: Person, lost: int) -> PipedrivePerson | None:
    """By exact e-mail, else by our way of naming; the oldest if there are several."""
    if person.email:
        found = [
            one for one in pipedrive.persons_with_email(person.email) if has_email(one, person.email) and one.id != lost
        ]
        if found:
            return min(found, key=lambda one: one.id)
    named = pipedrive.persons_with_name(f"@{person.github_username}")
    ours = [one for one in named if is_person(one, person.github_username) and one.id != lost]
    return min(ours, key=lambda one: one.id, default=None)


def _find_made(pipedrive: PipedriveClient, person: Person, started: datetime) -> PipedrivePerson | None:
    """Among the newest persons, down to some time before we started; the search index may lag behind."""
    for one in pipedrive.newest_persons():
        if (one.name == person.pipedrive_create_name and not one.is_deleted) or is_person(one, person.github_username):
            return one
        if one.add_time and one.add_time < started - CLOCK_DIFFERENCE:
            return None
    return None


def _make(person: Person, pipedrive: PipedriveClient, claims: Claims, clock: Clock) -> Steps[int]:
    name = person_name(person)
    _write(claims, person, pipedrive_create_started_at=clock(), pipedrive_create_name=name)
    try:
        made = yield from remote(pipedrive.create_person, name, person.email)
    except RejectedError as error:
        _write(claims, person, pipedrive_create_started_at=None)
        raise RetryNextRunError(f"Its Pipedrive person could not be made: {error}") from None
    except (CircuitOpenError, NotSentError):
        _write(claims, person, pipedrive_create_started_at=None)
        raise
    _write(claims, person, pipedrive_id=made, pipedrive_create_started_at=None, pipedrive_matched_at=clock())
    return made


def check_held(person: Person, held: dict[int, Person]) -> None:
    """LeaseLostError unless the person is still ours, and linked as it was when its story began."""
    if person.pk not in held:
        raise LeaseLostError(f"{person} was taken over or deleted")
    if held[person.pk].pipedrive_id != person.pipedrive_id:
        raise LeaseLostError(f"somebody gave {person} another Pipedrive person meanwhile")


def _write(claims: Claims, person: Person, **columns: object) -> None:
    with claims.holding([person.pk]) as held:
        check_held(person, held)
        Person.objects.filter(pk=person.pk).update(**columns)
    for name, value in columns.items():
        setattr(person, name, value)
