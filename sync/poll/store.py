"""Write the results of many polls with a few statements, and release the people. Runs in the main thread."""

import json
import logging
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from gisttracker.common.backfill import includes
from gisttracker.common.database import retried
from people.feed import number_gists
from people.forget import forget
from people.models import Gist, Person
from people.models.github_names import login_key
from sync.clients.errors import LeaseLostError
from sync.clients.github import PublicGist
from sync.poll.poll import MAX_ETAG_LENGTH, Poll
from sync.run.claims import Claims, next_attempt
from sync.run.context import RunContext

log = logging.getLogger(__name__)
BATCH_SIZE = 200  # rows in one statement
MAX_BATCH_BYTES = 2 * 1024 * 1024  # of one statement; MariaDB accepts 16 MB, and one row may have 1 MB
GIST_FIELDS = ["description", "html_url", "pull_url", "truncated", "files", "github_created_at", "github_updated_at"]
SHOWN_FIELDS = {"description", "html_url", "pull_url", "truncated", "files"}  # what an activity shows of a gist


@dataclass(frozen=True)
class PollFailure:
    """A poll that failed; the next run tries again. `reason` is what to write on the person's row."""

    person: Person
    attempted_at: datetime
    reason: str
    error: Exception | None = None


@dataclass(frozen=True)
class NotAttempted:
    """A claimed person who was not polled, because the run is stopping or calls GitHub no more."""

    person: Person


@dataclass(frozen=True)
class PersonSuppressed:
    """A person whose account's owner asked not to be tracked. `run_id`: who erases it."""

    person: Person
    run_id: int | None = None


PollResult = Poll | PollFailure | NotAttempted | PersonSuppressed


@dataclass(frozen=True)
class Store:
    """Writes poll results under the leases of the poll lane."""

    context: RunContext
    claims: Claims

    def save(self, results: list[PollResult]) -> bool:
        """Write these results and release their people. Returns whether there may be gists to push."""
        polls = [result for result in results if isinstance(result, Poll)]
        self.claims.release(result.person.pk for result in results if isinstance(result, NotAttempted))
        for result in results:
            if isinstance(result, PollFailure):
                self._save_failure(result)
            elif isinstance(result, PersonSuppressed):
                self._erase(result)
        # A requested sync, and a changed profile, are written person by person.
        simple = [poll for poll in polls if poll.unchanged and not poll.account and not poll.person.sync_requested_at]
        others = [poll for poll in polls if not poll.unchanged or poll.account or poll.person.sync_requested_at]
        self._save_unchanged(simple)
        if others:
            self._save_changed(others)
        return bool(others)

    def _save_failure(self, failure: PollFailure) -> None:
        failures = failure.person.failures + 1
        self.claims.release(
            [failure.person.pk],
            attempted_at=failure.attempted_at,
            failures=failures,
            failing_since=failure.person.failing_since or failure.attempted_at,
            last_error=failure.reason[:500],
            next_attempt_at=next_attempt(failures, self.context.clock()),
        )

    def _erase(self, suppressed: PersonSuppressed) -> None:
        """A person who was deleted, or claimed by another run, in the meantime is left to that."""
        try:
            self.claims.check(suppressed.person)
        except LeaseLostError:
            self.claims.release([suppressed.person.pk])  # It was relinked.
            return
        forget(Person.objects.filter(pk=suppressed.person.pk), by=f"run {suppressed.run_id}")
        self.context.summary.record("poll", succeeded=1)
        log.warning("%s was removed.", suppressed.person)
        self.context.summary.problem("A person asked not to be tracked, so it was removed.")

    def _save_unchanged(self, polls: list[Poll]) -> None:
        """One statement for all people whose list did not change."""
        if not polls:
            return
        saved = self.claims.release(
            (poll.person.pk for poll in polls),
            attempted_at=min(poll.attempted_at for poll in polls),
            polled_at=self.context.clock(),
            failures=0,
            failing_since=None,
            last_error="",
            next_attempt_at=None,
        )
        self.context.summary.add({"people_polled": saved, "people_unchanged": saved})
        self.context.summary.record("poll", succeeded=saved)

    def _save_changed(self, polls: list[Poll]) -> None:
        """All in one transaction; if that fails, one by one, so that a bad poll affects one person."""
        try:
            self._write(polls)
        except Exception:
            for poll in polls:
                try:
                    self._write([poll])
                except Exception as error:  # Whatever it is, it affects this person only.
                    log.exception("%s: the gists could not be stored", poll.person)
                    reason = f"The gists could not be stored ({type(error).__name__}); the log has the traceback."
                    self._save_failure(PollFailure(poll.person, poll.attempted_at, reason))
                    self.context.summary.fail("poll", poll.person, reason)

    @retried
    def _write(self, polls: list[Poll]) -> None:
        counts: Counter[str] = Counter()
        now = self.context.clock()
        with self.claims.lock(poll.person.pk for poll in polls) as held:
            ours = [poll for poll in polls if poll.person.pk in held]
            changed = [poll for poll in ours if not poll.unchanged]
            new = self._update_gists(changed, held, now, counts) if changed else []
            self._write_people(ours, held, now)
            # A request made during a poll stays for the next run.
            asked = [poll.person for poll in ours if poll.person.sync_requested_at]
            answered = [one.pk for one in asked if held[one.pk].sync_requested_at == one.sync_requested_at]
            if answered:
                Person.objects.filter(pk__in=answered).update(sync_requested_at=None)
            _insert(new, now)
            counts["people_polled"] += len(ours)
            counts["people_unchanged"] += len(ours) - len(changed)
            counts["people_gone"] += sum(poll.state == Person.State.GONE for poll in ours)
            counts["people_conflict"] += sum(poll.state == Person.State.CONFLICT for poll in ours)
        self.context.summary.add(counts)
        self.context.summary.record("poll", succeeded=sum(not poll.incomplete_because for poll in ours))

    def _write_people(self, polls: list[Poll], held: dict[int, Person], now: datetime) -> None:
        """One UPDATE a person: Django's bulk_update() costs more CPU for so many columns."""
        for poll in polls:
            columns = {**self.columns(poll, held[poll.person.pk], now), "lease_holder": "", "leased_until": None}
            if columns.get("username_key", poll.person.username_key) != poll.person.username_key:
                _free_login(poll.person, columns["username_key"])
            Person.objects.filter(pk=poll.person.pk).update(**columns)

    def columns(self, poll: Poll, person: Person, now: datetime) -> dict[str, Any]:
        """What a poll changes on its person's row."""
        columns: dict[str, Any] = {
            "attempted_at": poll.attempted_at,
            "failures": 0,
            "failing_since": None,
            "next_attempt_at": None,
            "updated_at": now,
            "last_error": (poll.incomplete_because or poll.reason)[:500],
        }
        if person.state not in (Person.State.PAUSED, poll.state):  # It may have been paused during the poll.
            columns |= {"state": poll.state, "state_changed_at": now}
        if poll.account:
            columns |= {
                "github_id": poll.account.id,
                "github_username": poll.account.login,
                "username_key": login_key(poll.account.login),
                "name": (poll.account.name or "")[:255],
                "email": (poll.account.email or person.email)[:255],
            }
        if poll.incomplete_because:  # Without an ETag the list is read again in the next run.
            since = person.failing_since or poll.attempted_at
            columns |= {"etag": "", "failures": person.failures + 1, "failing_since": since}
        elif poll.state == Person.State.ACTIVE:
            columns |= self._list_columns(poll, person, now)
        return columns

    def _list_columns(self, poll: Poll, person: Person, now: datetime) -> dict[str, Any]:
        columns: dict[str, Any] = {"polled_at": now}
        if poll.is_full_read:
            columns["full_read_at"] = now
        if not poll.unchanged:
            columns["etag"] = poll.etag if len(poll.etag) <= MAX_ETAG_LENGTH else ""
            columns["etag_scope"] = self.context.github.etag_scope
            # A page that was not read keeps its gists that were set aside.
            kept = [] if poll.reached_end else person.unreadable_gists or []
            found = [{"id": gist.id, "reason": gist.reason} for gist in poll.unreadable_gists]
            columns["unreadable_gists"] = found + [row for row in kept if row not in found]
        return columns

    def _update_gists(
        self, polls: list[Poll], held: dict[int, Person], now: datetime, counts: Counter[str]
    ) -> list[Gist]:
        """Write what has changed about stored gists. Returns the new ones, which are not saved yet."""
        # New people have no gists yet; a query for those of others would be for nothing.
        known_people = [poll.person.pk for poll in polls if held[poll.person.pk].github_id]
        known = {gist.github_id: gist for gist in Gist.objects.filter(person__in=known_people)} if known_people else {}
        new: list[Gist] = []
        edited: list[Gist] = []
        for poll in polls:
            new += self._new_gists(poll, held[poll.person.pk], known)
            edited += [known[gist.id] for gist in poll.gists if gist.id in known and _update(known[gist.id], gist, now)]
        for batch in _batches(edited):
            Gist.objects.bulk_update(batch, [*GIST_FIELDS, "removed_at", "updated_at", "activity_outdated"])
        counts["gists_edited"] += len(edited)
        counts["gists_removed"] += _mark_removed(polls, list(known.values()), now)
        counts["gists_new"] += len(new)
        counts["gists_skipped"] += sum(gist.push_state == Gist.PushState.SKIPPED for gist in new)
        return new

    def _new_gists(self, poll: Poll, person: Person, known: dict[str, Gist]) -> list[Gist]:
        """Oldest first, because visits show gists in the order of their ids."""
        unknown = sorted((gist for gist in poll.gists if gist.id not in known), key=lambda gist: gist.created_at)
        choice = person.backfill or self.context.options.backfill
        rows = []
        for gist in unknown:
            is_exported = includes(choice, gist.created_at, person.created_at)
            state = Gist.PushState.PENDING if is_exported else Gist.PushState.SKIPPED
            rows.append(Gist(github_id=gist.id, person=person, push_state=state, **_columns(gist)))
        return rows


def _insert(gists: list[Gist], now: datetime) -> None:
    """The last step of storing, because the counter of the feed stays locked until the commit."""
    if not gists:
        return
    for gist in gists:
        gist.pending_since = now
    number_gists(gists)
    for batch in _batches(gists):
        Gist.objects.bulk_create(batch)


def _batches(rows: list[Gist]) -> Iterator[list[Gist]]:
    """At most BATCH_SIZE rows and about MAX_BATCH_BYTES each."""
    batch: list[Gist] = []
    size = 0
    for row in rows:
        row_size = len(json.dumps(row.files)) + 4 * len(row.description)
        if batch and (len(batch) == BATCH_SIZE or size + row_size > MAX_BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(row)
        size += row_size
    if batch:
        yield batch


def _free_login(person: Person, username_key: str) -> None:
    """Another row with this login has a login that moved on: that person is found by its id in its next poll."""
    others = Person.objects.filter(username_key=username_key, github_id__isnull=False).exclude(pk=person.pk)
    for other in others:
        unknown = f"~{other.github_id}"  # no login can look like this
        Person.objects.filter(pk=other.pk).update(github_username=unknown, username_key=unknown)


def _columns(gist: PublicGist) -> dict[str, object]:
    """GIST_FIELDS as GitHub has them now."""
    files = [
        {"name": file.filename, "raw_url": file.raw_url, "language": file.language, "size": file.size}
        for file in gist.files.values()
        if file
    ]
    return {
        "description": gist.description or "",
        "html_url": gist.html_url,
        "pull_url": gist.git_pull_url,
        "truncated": gist.truncated,
        "files": files,
        "github_created_at": gist.created_at,
        "github_updated_at": gist.updated_at,
    }


def _update(row: Gist, gist: PublicGist, now: datetime) -> bool:
    """Update a stored gist, not saved yet. Returns whether anything changed."""
    changes = {name: value for name, value in _columns(gist).items() if getattr(row, name) != value}
    if row.removed_at is None and not changes:
        return False
    for name, value in changes.items():
        setattr(row, name, value)
    if SHOWN_FIELDS & set(changes) and row.push_state in (Gist.PushState.PUSHED, Gist.PushState.STARTED):
        row.activity_outdated = True
    row.removed_at, row.updated_at = None, now
    return True


def _mark_removed(polls: list[Poll], known: list[Gist], now: datetime) -> int:
    """Mark gists that a complete list no longer contains. Returns how many."""
    listed = {
        poll.person.pk: {gist.id for gist in poll.gists} | {gist.id for gist in poll.unreadable_gists}
        for poll in polls
        if poll.complete
    }
    removed = [
        row.pk
        for row in known
        if row.removed_at is None and row.person_id in listed and row.github_id not in listed[row.person_id]
    ]
    if removed:
        Gist.objects.filter(pk__in=removed).update(removed_at=now, updated_at=now)
    return len(removed)
