"""Write the results of many polls with a few statements, and release the people. Runs in the main thread."""

import itertools
import json
import logging
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from gisttracker.database import retried
from people.backfill import select
from people.feed import number_gists
from people.forget import forget
from people.github_names import login_key
from people.models import Gist, Person, SearchTerm
from sync.claims import Claims, next_attempt
from sync.clients.errors import LeaseLostError
from sync.clients.github import PublicGist
from sync.context import RunContext
from sync.poll import MAX_ETAG_LENGTH, Poll

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
        for is_full_pass, is_profile_checked in itertools.product((True, False), repeat=2):
            same = [poll for poll in simple if poll.is_full_pass is is_full_pass]
            self._save_unchanged(
                [poll for poll in same if (poll.profile_etag is not None) is is_profile_checked],
                *(["full_pass_at"] if is_full_pass else []),
                *(["profile_checked_at"] if is_profile_checked else []),
            )
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

    def _save_unchanged(self, polls: list[Poll], *times: str) -> None:
        """One statement for all people whose list did not change. `times`: the columns to set to the present time."""
        if not polls:
            return
        now = self.context.clock()
        saved = self.claims.release(
            (poll.person.pk for poll in polls),
            attempted_at=min(poll.attempted_at for poll in polls),
            polled_at=now,
            failures=0,
            failing_since=None,
            last_error="",
            next_attempt_at=None,
            **dict.fromkeys(times, now),
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
            self._answer_requests(ours, held)
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
            for name, value in columns.items():
                setattr(held[poll.person.pk], name, value)
        SearchTerm.index([held[poll.person.pk] for poll in polls if poll.account])

    def columns(self, poll: Poll, person: Person, now: datetime) -> dict[str, Any]:
        """What a poll changes on its person's row."""
        columns: dict[str, Any] = {
            "attempted_at": poll.attempted_at,
            "failures": 0,
            "failing_since": None,
            "next_attempt_at": None,
            "updated_at": now,
        }
        columns["last_error"] = (poll.incomplete_because or poll.reason)[:500]
        if person.state not in (Person.State.PAUSED, poll.state):  # It may have been paused during the poll.
            columns |= {"state": poll.state, "state_changed_at": now}
        columns |= self._profile_columns(poll, person, now)
        if poll.incomplete_because:  # Without an ETag the list is read again in the next run.
            since = person.failing_since or poll.attempted_at
            columns |= {"etag": "", "failures": person.failures + 1, "failing_since": since}
        elif poll.state == Person.State.ACTIVE:
            columns |= self._list_columns(poll, person, now)
        return columns

    @staticmethod
    def _profile_columns(poll: Poll, person: Person, now: datetime) -> dict[str, Any]:
        columns: dict[str, Any] = {}
        if poll.account:
            columns["github_id"] = poll.account.id
            columns["github_username"] = poll.account.login
            columns["username_key"] = login_key(poll.account.login)
            columns["name"] = (poll.account.name or "")[:255]
            columns["email"] = (poll.account.email or person.email)[:255]
            columns["profile_checked_at"] = now
        if poll.profile_etag is not None:
            columns["profile_etag"] = poll.profile_etag if len(poll.profile_etag) <= MAX_ETAG_LENGTH else ""
            columns["profile_checked_at"] = now
        return columns

    def _list_columns(self, poll: Poll, person: Person, now: datetime) -> dict[str, Any]:
        columns: dict[str, Any] = {"polled_at": now}
        if poll.is_full_pass:
            columns["full_pass_at"] = now
        if poll.is_full_read:
            columns["full_read_at"] = now
            if not person.backfill_decided_at:
                columns |= {"backfill_decided_at": now, "backfill": self._backfill_choice(person)}
        if poll.is_full_read:
            columns["list_is_empty"] = not poll.gists
        elif poll.gists:
            columns["list_is_empty"] = False
        if not poll.unchanged:
            columns["etag"] = poll.etag if len(poll.etag) <= MAX_ETAG_LENGTH else ""
            columns["etag_scope"], columns["page_etags"] = self.context.github.etag_scope, poll.page_etags
            # A page that was not read keeps its gists that were set aside.
            kept = [] if poll.is_full_read else person.unreadable_gists or []
            found = [{"id": gist.id, "reason": gist.reason} for gist in poll.unreadable_gists]
            columns["unreadable_gists"] = found + [row for row in kept if row not in found]
        return columns

    def _answer_requests(self, polls: list[Poll], held: dict[int, Person]) -> None:
        """Clear the requests that these polls answer. A request made during a poll stays for the next run."""
        answered = [
            poll.person.pk
            for poll in polls
            if poll.person.sync_requested_at and held[poll.person.pk].sync_requested_at == poll.person.sync_requested_at
        ]
        if answered:
            Person.objects.filter(pk__in=answered).update(sync_requested_at=None)

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
            self._decide_backfill(poll, held[poll.person.pk], known)
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
        selected = self._selected(poll, person)
        rows = []
        for gist in unknown:
            state = Gist.PushState.PENDING if gist.id in selected else Gist.PushState.SKIPPED
            rows.append(Gist(github_id=gist.id, person=person, push_state=state, **_columns(gist)))
        return rows

    def _selected(self, poll: Poll, person: Person) -> set[str]:
        """The ids of the listed gists that are exported. The backfill choice is about the first complete list.

        From an incomplete one nothing is exported unless everything is: the newest are not known yet.
        """
        if person.backfill_decided_at:
            return {gist.id for gist in poll.gists}
        choice = self._backfill_choice(person)
        if not poll.is_full_read and choice != "all":
            return set()
        selected = select(choice, [gist.created_at for gist in poll.gists])
        return {gist.id for gist, is_selected in zip(poll.gists, selected, strict=True) if is_selected}

    def _backfill_choice(self, person: Person) -> str:
        return person.backfill or self.context.options.backfill

    def _decide_backfill(self, poll: Poll, person: Person, known: dict[str, Gist]) -> None:
        """The first complete list decides also about gists that earlier, incomplete lists have stored as skipped.

        Those that were skipped one by one have a reason, and stay skipped.
        """
        if person.backfill_decided_at or not poll.is_full_read:
            return
        selected = self._selected(poll, person)
        rows = [row.pk for row in known.values() if row.person_id == person.pk and row.github_id in selected]
        if rows:
            skipped = Gist.objects.filter(pk__in=rows, push_state=Gist.PushState.SKIPPED, push_error="")
            now = self.context.clock()
            skipped.update(push_state=Gist.PushState.PENDING, pending_since=now, updated_at=now)


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
