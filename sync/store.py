"""Write what GitHub said: people and gists of many polls with a handful of statements."""

import logging
from collections import Counter
from dataclasses import dataclass
from datetime import datetime

from django.db import DatabaseError
from django.db.models import F

from people.backfill import select
from people.github_names import login_key
from people.models import Gist, Person, SearchTerm
from sync.claims import Claims
from sync.clients.github import PublicGist
from sync.poll import Poll

log = logging.getLogger(__name__)
ROWS = 200  # rows in one statement; a row may hold 300 files
WRITTEN_FIELDS = [
    "github_username",
    "username_key",
    "github_id",
    "name",
    "email",
    "state",
    "etag",
    "etag_scope",
    "attempted_at",
    "polled_at",
    "full_pass_at",
    "failures",
    "last_error",
    "updated_at",
]
GIST_FIELDS = ["description", "html_url", "pull_url", "truncated", "files", "github_created_at", "github_updated_at"]

SHOWN = {"description", "html_url", "pull_url", "truncated", "files"}  # what an activity shows of a gist


@dataclass(frozen=True)
class Store:
    """Where polls are written. `etag_scope`: what ETags are valid for; `backfill`: where a person has no choice."""

    claims: Claims
    etag_scope: str
    backfill: str

    def polls(self, polls: list[Poll], now: datetime, counts: Counter[str]) -> list[tuple[Person, str]]:
        """All at once; where the database refuses that, one by one, so that one bad poll holds up nobody else.

        Whose could not be stored, and why.
        """
        failed = []
        try:
            counts.update(self._write(polls, now))
        except DatabaseError:
            for poll in polls:
                try:
                    counts.update(self._write([poll], now))
                except DatabaseError as error:
                    reason = f"Its gists could not be stored: {error}"
                    log.exception("%s: its gists could not be stored", poll.person)
                    self.failure(poll.person, reason, poll.attempted_at)
                    counts["people_failed"] += 1
                    failed.append((poll.person, reason))
        return failed

    def failure(self, person: Person, reason: str, now: datetime) -> None:
        """The poll failed; the next run tries again."""
        with self.claims.holding([person.pk]) as held:
            Person.objects.filter(pk__in=held).update(
                attempted_at=now, failures=F("failures") + 1, last_error=reason[:500]
            )

    def _write(self, polls: list[Poll], now: datetime) -> Counter[str]:
        counts: Counter[str] = Counter()
        with self.claims.holding([poll.person.pk for poll in polls]) as held:
            ours = [poll for poll in polls if poll.person.pk in held]
            unchanged = [poll.person.pk for poll in ours if poll.unchanged]
            changed = [poll for poll in ours if not poll.unchanged]
            if unchanged:
                rows = Person.objects.filter(pk__in=unchanged)
                rows.update(attempted_at=min(poll.attempted_at for poll in ours), polled_at=now)
                rows.filter(failures__gt=0).update(failures=0, last_error="")
            if changed:
                self._gists(changed, held, now, counts)
                self._people(changed, held, now)
            # A request that came while the poll went on stays for the next run.
            asked = {poll.person.pk: poll.person.sync_requested_at for poll in ours if poll.person.sync_requested_at}
            if asked:
                answered = [pk for pk, moment in asked.items() if held[pk].sync_requested_at == moment]
                Person.objects.filter(pk__in=answered).update(sync_requested_at=None)
            counts["people_polled"] += len(ours)
            counts["people_unchanged"] += len(unchanged)
            counts["people_gone"] += sum(poll.state == Person.State.GONE for poll in ours)
            counts["people_conflict"] += sum(poll.state == Person.State.CONFLICT for poll in ours)
        return counts

    def _people(self, polls: list[Poll], held: dict[int, Person], now: datetime) -> None:
        for poll in polls:
            person = held[poll.person.pk]
            if person.state != Person.State.PAUSED:  # Somebody may have said so during the poll.
                person.state = poll.state
            person.last_error = poll.reason[:500]
            person.attempted_at, person.failures, person.updated_at = poll.attempted_at, 0, now
            if poll.account:
                person.github_id, person.github_username = poll.account.id, poll.account.login
                person.username_key = login_key(poll.account.login)
                person.name = (poll.account.name or "")[:255]
                person.email = (poll.account.email or person.email)[:255]
            if poll.state == Person.State.ACTIVE:
                person.polled_at = now
                # An ETag too long to be kept byte for byte is not kept at all.
                person.etag = poll.etag if len(poll.etag) <= 255 else ""
                person.etag_scope = self.etag_scope
                if poll.full:
                    person.full_pass_at = now
        Person.objects.bulk_update([held[poll.person.pk] for poll in polls], WRITTEN_FIELDS, batch_size=ROWS)
        SearchTerm.index([held[poll.person.pk] for poll in polls if poll.account])

    def _gists(self, polls: list[Poll], held: dict[int, Person], now: datetime, counts: Counter[str]) -> None:
        known = {gist.github_id: gist for gist in Gist.objects.filter(person__in=[poll.person.pk for poll in polls])}
        new: list[Gist] = []
        edited: list[Gist] = []
        for poll in polls:
            new += self._new_gists(poll, held[poll.person.pk], known)
            edited += [
                known[gist.id] for gist in poll.gists if gist.id in known and _take_over(gist, known[gist.id], now)
            ]
        Gist.objects.bulk_create(new, batch_size=ROWS)
        Gist.objects.bulk_update(
            edited, [*GIST_FIELDS, "removed_at", "updated_at", "activity_outdated"], batch_size=ROWS
        )
        counts["gists_new"] += len(new)
        counts["gists_skipped"] += sum(gist.push_state == Gist.PushState.SKIPPED for gist in new)
        counts["gists_edited"] += len(edited)
        counts["gists_removed"] += _mark_removed(polls, list(known.values()), now)

    def _new_gists(self, poll: Poll, person: Person, known: dict[str, Gist]) -> list[Gist]:
        """Oldest first, since their ids are the order in which visits show them."""
        unknown = sorted((gist for gist in poll.gists if gist.id not in known), key=lambda gist: gist.created_at)
        # Only what a person had when it was first polled is a matter of its backfill choice.
        choice = (person.backfill or self.backfill) if person.polled_at is None else "all"
        chosen = select(choice, [gist.created_at for gist in unknown])
        rows = []
        for gist, is_wanted in zip(unknown, chosen, strict=True):
            state = Gist.PushState.PENDING if is_wanted else Gist.PushState.SKIPPED
            rows.append(Gist(github_id=gist.id, person=person, push_state=state, **_columns(gist)))
        return rows


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


def _take_over(gist: PublicGist, row: Gist, now: datetime) -> bool:
    """Bring a stored gist up to date; whether there was anything to change."""
    changes = {name: value for name, value in _columns(gist).items() if getattr(row, name) != value}
    if row.removed_at is None and not changes:
        return False
    for name, value in changes.items():
        setattr(row, name, value)
    if SHOWN & set(changes) and row.push_state in (Gist.PushState.PUSHED, Gist.PushState.STARTED):
        row.activity_outdated = True
    row.removed_at, row.updated_at = None, now
    return True


def _mark_removed(polls: list[Poll], known: list[Gist], now: datetime) -> int:
    """Gists that a list, read to its end, does not show any more."""
    listed = {poll.person.pk: {gist.id for gist in poll.gists} for poll in polls if poll.complete}
    removed = [
        row.pk
        for row in known
        if row.removed_at is None and row.person_id in listed and row.github_id not in listed[row.person_id]
    ]
    Gist.objects.filter(pk__in=removed).update(removed_at=now, updated_at=now)
    return len(removed)
