"""Write what many polls have shown, with a few statements. Runs in the main thread, under the lease."""

import json
import logging
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Q

from gisttracker.common.backfill import includes
from gisttracker.common.database import is_lock_timeout, lock_free, retried
from people.forget import forget
from people.known_activities import adopt
from people.models import Gist, Person, Suppressed
from people.models.github_names import login_key
from sync.backoff import next_attempt
from sync.clients.errors import LeaseLostError, OutageError, RejectedError, SyncError
from sync.clients.github import PublicGist
from sync.context import RunContext
from sync.few import is_few
from sync.models import Problem, Suspicion
from sync.poll.poll import MAX_ETAG_LENGTH, Poll, Target
from sync.stream import set_discovery
from sync.summary import describe_error
from sync.suspicions import OF_ACCOUNT, Suspicions

log = logging.getLogger(__name__)
BATCH_SIZE = 200  # rows in one statement
MAX_BATCH_BYTES = 2 * 1024 * 1024  # of one statement; MariaDB accepts 16 MB, and one row may have 1 MB
GIST_FIELDS = ["description", "html_url", "pull_url", "truncated", "files", "github_created_at", "github_updated_at"]
SHOWN_FIELDS = {"description", "html_url", "pull_url", "truncated", "files"}  # what an activity shows of a gist
FAILURE_COLUMNS = ["attempted_at", "failures", "failing_since", "last_error", "next_attempt_at"]
ENOUGH_GONE = 50  # people; with so many, the run decides before it polls more
LATER = "It is believed when a run in an hour or later finds the same."
IMPLAUSIBLE = (
    "GitHub returned 404, or the account of another person, for {people}, so no person was marked as gone or in "
    "conflict. Check GITHUB_API_URL, GITHUB_TOKEN and GitHub's status page."
)
State, Kind = Person.State, Suspicion.Kind


@dataclass
class Polled:
    """A person as it was chosen, and what came of its poll: a Poll, or an error."""

    person: Person
    target: Target
    attempted_at: datetime  # when the poll began; a sync requested later is still due
    poll: Poll | None = None
    error: Exception | None = None
    is_suspected: bool = False  # to be gone, or in conflict


class PollStore:
    """Stores the polls of one run, a group at a time."""

    def __init__(self, context: RunContext) -> None:
        self._context = context
        self._suspicions = Suspicions(context.run_id)
        self._suspected = self._confirmed = 0  # people, in this run
        self._suspects: list[Person] = []  # of them, those whose suspicion is not believed, as they were
        self._refused: list[Person] = []  # as they were, since the last success
        self.has_news = False  # gists that may have to be pushed
        self.has_new_requests = False  # syncs that were requested during a poll
        self._suppressed: list[Person] = []  # people who are to be erased
        self.left: set[int] = set()  # people whose rows were locked; the next run polls them

    def save(self, group: list[Polled]) -> None:
        """All in one transaction; if that fails, one by one, so that an odd poll or a locked row affects one person."""
        try:
            self._save(group)
        except LeaseLostError:
            raise
        except Exception as error:
            if len(group) > 1:
                for polled in self._without_locked(group) if is_lock_timeout(error) else group:
                    self.save([polled])
                return
            if is_lock_timeout(error):
                self._leave(group)
                return
            (polled,) = group
            log.exception("%s: the poll could not be stored", polled.person)
            polled.poll, reason = (
                None,
                f"The gists could not be stored ({type(error).__name__}); the log has the traceback.",
            )
            polled.error = SyncError(reason)
            self._save(group)
        self._stop_if_implausible(ENOUGH_GONE)
        self._erase_suppressed()

    def _erase_suppressed(self) -> None:
        """After the group was stored, so that a failure does not store it again. Who is left is due in the next run."""
        people, self._suppressed = self._suppressed, []
        try:
            self.erase(people)
        except LeaseLostError:
            raise
        except Exception:
            log.exception("People who asked not to be tracked could not be removed; the next run tries again")
            self._context.summary.note("poll", failed=1)

    @retried
    def _without_locked(self, group: list[Polled]) -> list[Polled]:
        with self._context.writing():
            free = lock_free(Person.objects.filter(pk__in=[polled.person.pk for polled in group]))
        self._leave([polled for polled in group if polled.person.pk not in free])
        return [polled for polled in group if polled.person.pk in free]

    def _leave(self, group: list[Polled]) -> None:
        for polled in group:
            log.warning("%s: its row is locked by another connection, so the next run polls it", polled.person)
            self.left.add(polled.person.pk)

    @retried
    def _save(self, group: list[Polled]) -> None:
        """One transaction. What is counted is counted after its commit."""
        notes = _Notes()
        with self._context.writing():
            unchanged = [polled for polled in group if _is_simple(polled)]
            self._save_unchanged(unchanged, notes)
            others = [polled for polled in group if not _is_simple(polled)]
            if others:
                self._save_changed(others, notes)
        self._count(group, notes)

    def _save_unchanged(self, group: list[Polled], notes: "_Notes") -> None:
        """One statement for all people whose list did not change."""
        if not group:
            return
        keys = [polled.person.pk for polled in group]
        saved = Person.objects.filter(pk__in=keys).update(
            attempted_at=min(polled.attempted_at for polled in group),
            polled_at=self._context.clock(),
            failures=0,
            failing_since=None,
            last_error="",
            next_attempt_at=None,
        )
        self._suspicions.drop(OF_ACCOUNT, people=[polled.person.pk for polled in group if polled.is_suspected])
        notes.counts.update({"people_polled": saved, "people_unchanged": saved})
        notes.succeeded += saved

    def _save_changed(self, group: list[Polled], notes: "_Notes") -> None:
        now = self._context.clock()
        notes.has_news = True
        keys = [polled.person.pk for polled in group]
        rows = Person.objects.select_for_update().order_by("pk").in_bulk(keys)  # without those deleted meanwhile
        group = [polled for polled in group if polled.person.pk in rows]
        polls = []
        for polled in self._judge(group, rows, now, notes):
            row = rows[polled.person.pk]
            if polled.poll is None:
                self._save_failure(polled, row, now, notes)
            else:
                polls.append(polled)
        listed = [polled for polled in polls if polled.person.pk not in notes.verdicts]
        changed = [polled for polled in listed if polled.poll and not polled.poll.unchanged]
        new = self._update_gists(changed, rows, now, notes.counts) if changed else []
        self._write_people(polls, rows, now, notes)
        _insert(new, now)

    # --- who may not be stored as it is ---
    def _judge(self, group: list[Polled], rows: dict[int, Person], now: datetime, notes: "_Notes") -> Iterator[Polled]:
        """Those whose poll is stored. People who asked not to be tracked are erased after the transaction."""
        accounts = {polled.poll.account.id for polled in group if polled.poll and polled.poll.account}
        suppressed = Suppressed.objects.find_github_ids(accounts) if accounts else set()
        for polled in group:
            poll, row = polled.poll, rows[polled.person.pk]
            if poll and poll.is_suppressed:
                notes.erased.append(row)
            elif poll and poll.account and poll.account.id in suppressed:
                continue  # Since the poll began. The next run erases the person, when GitHub has confirmed the account.
            elif poll and poll.gone_because:
                yield self._suspect(polled, row, Kind.GONE, poll.gone_because, now, notes)
            elif poll and poll.account and (other := _find_second_row(row, poll.account.id, poll.account.login)):
                reason = (
                    f"This GitHub account is already tracked, as the person with the id {other.pk}: "
                    "delete one of the two."
                )
                yield self._suspect(polled, row, Kind.CONFLICT, reason, now, notes)
            else:
                yield polled

    def _suspect(
        self, polled: Polled, row: Person, kind: Suspicion.Kind, reason: str, now: datetime, notes: "_Notes"
    ) -> Polled:
        """What was never polled, or is unavailable already, has nothing to lose; else a later run must see it, too."""
        is_known = row.polled_at is not None and row.state not in (State.GONE, State.CONFLICT)
        is_believed = not is_known or self._suspicions.see(kind, row.pk, reason, now)
        notes.suspected += is_known
        state = State.GONE if kind == Kind.GONE else State.CONFLICT
        notes.suspects += [] if is_believed else [row]
        notes.verdicts[row.pk] = (state if is_believed else "", reason if is_believed else f"{reason} {LATER}")
        return polled

    def _save_failure(self, polled: Polled, row: Person, now: datetime, notes: "_Notes") -> None:
        reason = describe_error(row, polled.error)
        failures = row.failures + 1
        Person.objects.filter(pk=row.pk).update(
            attempted_at=polled.attempted_at,
            failures=failures,
            failing_since=row.failing_since or polled.attempted_at,
            last_error=reason[:500],
            next_attempt_at=next_attempt(failures, now),
        )
        notes.failed.append((row, reason))
        if isinstance(polled.error, RejectedError):
            notes.refused.append(row)

    @retried
    def erase(self, people: list[Person]) -> None:
        """Erase people who asked not to be tracked."""
        for person in people:
            with self._context.writing():
                forget(Person.objects.filter(pk=person.pk), by=f"run {self._context.run_id}")
            self._context.summary.note("poll", succeeded=1)
            log.warning("%s was removed.", person)
            self._context.summary.problem("A person asked not to be tracked, so it was removed.")

    # --- after the transaction ---
    def _count(self, group: list[Polled], notes: "_Notes") -> None:
        summary = self._context.summary
        summary.add(notes.counts)
        summary.note("poll", succeeded=notes.succeeded)
        for row, reason in notes.failed:
            summary.fail("poll", row, reason)
        for row, reason in notes.remarks:
            summary.problem(reason, person=row)
        self.has_news |= notes.has_news
        self.has_new_requests |= notes.has_new_requests
        self._suspected += notes.suspected
        self._suspects += notes.suspects
        self._confirmed += notes.succeeded
        self._refused = [] if notes.succeeded else self._refused
        self._refused += notes.refused
        self._suppressed += notes.erased

    def _stop_if_implausible(self, enough: int = 1) -> None:
        if self._suspected >= enough and not is_few(self._suspected, self._suspected + self._confirmed):
            people = f"{self._suspected} of {self._suspected + self._confirmed} people"
            self._context.github.api.circuit.open(OutageError(IMPLAUSIBLE.format(people=people)))

    def end(self) -> None:
        self._stop_if_implausible()

    @retried
    def take_back_failures(self) -> None:
        """What GitHub refused, or did not show, for a reason that is not about the people, was not their failure."""
        with self._context.writing():
            for person in [*self._refused, *self._suspects]:
                columns = {name: getattr(person, name) for name in FAILURE_COLUMNS}
                Person.objects.filter(pk=person.pk).update(**columns)
            self._context.withdraw_problems([person.pk for person in self._refused], Problem.Code.POLL)
            self._context.withdraw_problems([person.pk for person in self._suspects], Problem.Code.PERSON)
        self._context.summary.add({"people_failed": -len(self._refused)})
        self._refused, self._suspects = [], []

    def _write_people(self, group: list[Polled], rows: dict[int, Person], now: datetime, notes: "_Notes") -> None:
        """One UPDATE a person: Django's bulk_update() costs more CPU for so many columns."""
        for polled in group:
            row = rows[polled.person.pk]
            poll = Poll() if row.pk in notes.verdicts else polled.poll or Poll()
            state, reason = notes.verdicts.get(row.pk, (State.ACTIVE, poll.remark))
            if state:
                columns = self._columns(polled, row, poll, state, poll.incomplete_because or reason, now)
            else:
                columns = self._columns_of_suspect(polled, row, reason, now)
            # A request made during the poll stays for the next run.
            if row.sync_requested_at and row.sync_requested_at == polled.person.sync_requested_at:
                columns["sync_requested_at"] = None
            notes.has_new_requests |= row.sync_requested_at != polled.person.sync_requested_at
            if columns.get("username_key", row.username_key) != row.username_key:
                _free_login(row, columns["username_key"])
            Person.objects.filter(pk=row.pk).update(**columns)
            notes.add(row, poll, state, reason)
        suspected = [polled.person.pk for polled in group if polled.is_suspected]
        self._suspicions.drop(OF_ACCOUNT, people=[key for key in suspected if key not in notes.verdicts])

    @staticmethod
    def _columns_of_suspect(polled: Polled, row: Person, reason: str, now: datetime) -> dict[str, Any]:
        """Nothing changes about the person; that it is not known to be polled is a failure."""
        return {
            "attempted_at": polled.attempted_at,
            "failures": row.failures + 1,
            "failing_since": row.failing_since or polled.attempted_at,
            "last_error": reason[:500],
            "updated_at": now,
        }

    def _columns(
        self, polled: Polled, person: Person, poll: Poll, state: str, remark: str, now: datetime
    ) -> dict[str, Any]:
        """What a poll changes on its person's row."""
        columns: dict[str, Any] = {
            "attempted_at": polled.attempted_at,
            "failures": 0,
            "failing_since": None,
            "next_attempt_at": None,
            "updated_at": now,
            "last_error": remark[:500],
        }
        if person.state not in (State.PAUSED, state):  # It may have been paused during the poll.
            columns |= {"state": state, "state_changed_at": now}
        if poll.account:
            columns |= {
                "github_id": poll.account.id,
                "github_username": poll.account.login,
                "username_key": login_key(poll.account.login),
                "name": (poll.account.name or "")[:255],
                "email": (poll.account.email or person.email)[:255],
                "company": (poll.account.company or "")[:255],
                "location": (poll.account.location or "")[:255],
            }
        if poll.incomplete_because:  # Without an ETag the list is read again in the next run.
            since = person.failing_since or polled.attempted_at
            columns |= {"etag": "", "failures": person.failures + 1, "failing_since": since}
        elif state == State.ACTIVE:
            columns |= self._list_columns(poll, person, now)
        return columns

    def _list_columns(self, poll: Poll, person: Person, now: datetime) -> dict[str, Any]:
        columns: dict[str, Any] = {"polled_at": now}
        if poll.is_full_read:
            columns["full_read_at"] = now
        if not poll.unchanged:
            columns["etag"] = poll.etag if len(poll.etag) <= MAX_ETAG_LENGTH else ""
            columns["etag_scope"] = self._context.github.etag_scope
            # A page that was not read keeps its gists that were set aside.
            kept = [] if poll.reached_end else person.unreadable_gists or []
            found = [{"id": gist.id, "reason": gist.reason} for gist in poll.unreadable_gists]
            columns["unreadable_gists"] = found + [row for row in kept if row not in found]
        return columns

    def _update_gists(
        self, group: list[Polled], rows: dict[int, Person], now: datetime, counts: Counter[str]
    ) -> list[Gist]:
        """Write what has changed about stored gists. Returns the new ones, which are not saved yet."""
        # New people have no gists yet; a query for those of others would be for nothing.
        known_people = [polled.person.pk for polled in group if rows[polled.person.pk].github_id]
        known = {gist.github_id: gist for gist in Gist.objects.filter(person__in=known_people)} if known_people else {}
        new: list[Gist] = []
        edited: list[Gist] = []
        for polled in group:
            poll = polled.poll or Poll()
            new += self._new_gists(poll, rows[polled.person.pk], known)
            edited += [known[gist.id] for gist in poll.gists if gist.id in known and _update(known[gist.id], gist, now)]
        for batch in _batches(edited):
            Gist.objects.bulk_update(batch, [*GIST_FIELDS, "removed_at", "updated_at", "activity_outdated"])
        counts["gists_edited"] += len(edited)
        counts["gists_removed"] += _mark_removed(group, list(known.values()), now)
        counts["gists_new"] += len(new)
        counts["gists_found"] += adopt(new, now)
        counts["gists_skipped"] += sum(gist.push_state == Gist.PushState.SKIPPED for gist in new)
        set_discovery(new)
        return new

    def _new_gists(self, poll: Poll, person: Person, known: dict[str, Gist]) -> list[Gist]:
        """Oldest first, because visits show gists in the order of their ids."""
        unknown = sorted((gist for gist in poll.gists if gist.id not in known), key=lambda gist: gist.created_at)
        choice = person.backfill or self._context.options.backfill
        rows = []
        for gist in unknown:
            is_exported = includes(choice, gist.created_at, person.created_at)
            state = Gist.PushState.PENDING if is_exported else Gist.PushState.SKIPPED
            rows.append(Gist(github_id=gist.id, person=person, push_state=state, **_columns(gist)))
        return rows


@dataclass
class _Notes:
    """What one transaction has done, to be counted after its commit."""

    def __post_init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.succeeded = self.suspected = 0
        self.has_news = self.has_new_requests = False
        self.failed: list[tuple[Person, str]] = []
        self.refused: list[Person] = []
        self.suspects: list[Person] = []
        self.remarks: list[tuple[Person, str]] = []
        self.erased: list[Person] = []
        self.verdicts: dict[int, tuple[str, str]] = {}  # state and reason by person; an empty state is a suspicion

    def add(self, row: Person, poll: Poll, state: str, reason: str) -> None:
        """A person whose list is incomplete has failed; one whose account is gone or in conflict has not."""
        self.counts["people_polled"] += 1
        self.counts["people_unchanged"] += poll.unchanged
        self.counts["people_gone"] += state == State.GONE
        self.counts["people_conflict"] += state == State.CONFLICT
        if poll.incomplete_because:
            self.failed.append((row, poll.incomplete_because))
        else:
            self.succeeded += bool(state)
            self.remarks += [(row, reason)] if reason else []


def _is_simple(polled: Polled) -> bool:
    """A requested sync, and a changed profile, are written person by person."""
    poll = polled.poll
    return bool(poll and poll.unchanged and not poll.account and not polled.person.sync_requested_at)


def _find_second_row(person: Person, account_id: int, login: str) -> Person | None:
    """Is the account, or its login, tracked by a second row?

    A row with the same login and another id only has a login that moved on; storing this poll takes the login from it.
    """
    same = Q(github_id=account_id) | Q(username_key=login_key(login), github_id=None)
    return Person.objects.filter(same).exclude(pk=person.pk).first()


def _insert(gists: list[Gist], now: datetime) -> None:
    """In the order in which consumers receive them; see Gist."""
    for gist in gists:
        gist.pending_since = now
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


def _mark_removed(group: list[Polled], known: list[Gist], now: datetime) -> int:
    """Mark gists that a complete list no longer contains. Returns how many."""
    listed = {
        polled.person.pk: {gist.id for gist in polled.poll.gists} | {gist.id for gist in polled.poll.unreadable_gists}
        for polled in group
        if polled.poll and polled.poll.complete
    }
    removed = [
        row.pk
        for row in known
        if row.removed_at is None and row.person_id in listed and row.github_id not in listed[row.person_id]
    ]
    if removed:
        Gist.objects.filter(pk__in=removed).update(removed_at=now, updated_at=now)
    return len(removed)
