"""Which Pipedrive person a tracked person is: given, found by e-mail or name, or created."""

from datetime import datetime, timedelta

from people.models import Person
from sync.activity import has_email, has_our_name, person_name
from sync.claims import Claims
from sync.clients.errors import (
    CircuitOpenError,
    NotFoundError,
    NotSentError,
    RejectedError,
    RetryNextRunError,
)
from sync.clients.pipedrive import PipedriveClient, PipedrivePerson
from sync.context import RunContext

MAX_CLOCK_DIFFERENCE = timedelta(hours=1)  # between Pipedrive's clock and ours


def link(person: Person, context: RunContext, claims: Claims, *, lost: int = 0) -> int:
    """Returns the id of the person's Pipedrive person.

    That one is about to be created is committed first. When the outcome of that is unknown, the newest persons are
    searched after the settle delay, before another is created. `lost`: the id it had so far, which the search index
    may still contain. Raises RetryNextRunError when the link cannot be known now.
    """
    if person.pipedrive_id:
        return person.pipedrive_id
    found = _find_created(person, context) if person.pipedrive_create_started_at else _find(person, context, lost)
    if found:
        claims.update(person, pipedrive_id=found.id, pipedrive_create_started_at=None)
        return found.id
    return _create(person, context, claims)


def is_lost(person: Person, pipedrive: PipedriveClient) -> bool:
    """Was its Pipedrive person deleted or merged? RetryNextRunError when the token's user may not see it."""
    try:
        found = pipedrive.get_person(person.pipedrive_id or 0)
    except NotFoundError:
        return True
    except RejectedError as error:
        raise RetryNextRunError(
            f"Pipedrive person {person.pipedrive_id} cannot be used: may the token's user see it? {error}"
        ) from None
    return found.is_deleted


def unlink(person: Person, claims: Claims) -> None:
    """Drop the link, so that `link` finds or creates another Pipedrive person."""
    claims.update(person, pipedrive_id=None, pipedrive_matched_at=None)


def _find(person: Person, context: RunContext, lost: int) -> PipedrivePerson | None:
    """By exact e-mail, else by our naming; the oldest if there are several."""
    pipedrive = context.pipedrive
    if person.email:
        found = [
            row
            for row in pipedrive.search_persons_by_email(person.email)
            if has_email(row, person.email) and row.id != lost
        ]
        if found:
            return min(found, key=lambda row: row.id)
    named = pipedrive.search_persons_by_name(f"@{person.github_username}")
    ours = [row for row in named if has_our_name(row, person.github_username) and row.id != lost]
    return min(ours, key=lambda row: row.id, default=None)


def _find_created(person: Person, context: RunContext) -> PipedrivePerson | None:
    """After a POST with unknown outcome: search the newest persons, because the search index may lag behind."""
    started = person.pipedrive_create_started_at or context.clock()
    if context.clock() < started + timedelta(seconds=context.options.reconcile_after_seconds):
        raise RetryNextRunError("Whether the Pipedrive person was created is checked in the next run.")
    for row in context.pipedrive.iter_newest_persons():
        if _was_created_as(row, person):
            return row
        if row.add_time and row.add_time < started - MAX_CLOCK_DIFFERENCE:
            return None
    return None


def _was_created_as(row: PipedrivePerson, person: Person) -> bool:
    has_sent_name = row.name == person.pipedrive_create_name and not row.is_deleted
    return has_sent_name or has_our_name(row, person.github_username)


def _create(person: Person, context: RunContext, claims: Claims) -> int:
    name = person_name(person)
    claims.update(person, pipedrive_create_started_at=context.clock(), pipedrive_create_name=name)
    try:
        created = context.pipedrive.create_person(name, person.email)
    except RejectedError as error:
        claims.update(person, pipedrive_create_started_at=None)
        raise RetryNextRunError(f"The Pipedrive person could not be created: {error}") from None
    except (CircuitOpenError, NotSentError):
        claims.update(person, pipedrive_create_started_at=None)
        raise
    now: datetime = context.clock()
    claims.update(person, pipedrive_id=created, pipedrive_create_started_at=None, pipedrive_matched_at=now)
    return created
