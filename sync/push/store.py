"""Write the outcomes of pushes. Runs in the main thread, in one transaction under the lease for a group of outcomes.

The people are locked, so their rows are as users have left them. What Pipedrive has done to an activity is written also
if its person was relinked or deleted, since it stays true: to the attempt with the same gist and time, and to no later
one. If another connection keeps the person's row locked, the next run looks the activity up.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Case, Value, When

from people.known_activities import settle
from people.models import Gist, KnownActivity, Person
from people.models.gist import pushed_columns
from sync.backoff import next_attempt
from sync.clients.errors import (
    CircuitOpenError,
    NotSentError,
    OutageError,
    OutcomeUnknownError,
    RejectedError,
    RunStoppedError,
)
from sync.clients.pipedrive_records import Activity
from sync.context import RunContext
from sync.crm.activity import about_gist
from sync.crm.evidence import without_known
from sync.crm.lists import Unlisted
from sync.crm.recognition import Fingerprint, match_gists, match_ids, shows
from sync.models import Problem, PushAttempt, Suspicion
from sync.push.activities import Posted
from sync.push.attempts import Attempt, count_failed_in_a_row, has_succeeded_since, record_found
from sync.push.budget import Budget
from sync.push.edits import Edited, EditedAll
from sync.push.persons import DECIDE, Trouble
from sync.push.push import MAX_REFUSED, MAX_UNKNOWN, Found, LookUp, Progress
from sync.push.streaks import COLUMNS, same_reason
from sync.suspicions import Suspicions

DELETED = "The activity was deleted in Pipedrive; it is not created again."
MAX_ATTEMPTS = 5  # of a gist whose POST never gets a clear response, although others do
LATER = "Another one replaces it when a run in an hour or later finds the same."
State, Kind = Gist.PushState, Suspicion.Kind
COUNTERS = {State.PUSHED: "gists_found", State.PENDING: "gists_retried", State.REJECTED: "gists_rejected"}


@dataclass
class Notes:
    """What one transaction has done, to be counted after its commit."""

    counts: Counter[str] = field(default_factory=Counter)
    work: Counter[tuple[str, bool]] = field(default_factory=Counter)  # by kind of work, and whether it succeeded
    problems: list[tuple[str, Person | None, Gist | None, Problem.Code | None]] = field(default_factory=list)
    booked: int = 0  # activities
    preparing: str = ""  # the preparation that begins
    has_prepared: bool = False  # One has ended.

    def problem(self, reason: str, person: Person | None = None, gist: Gist | None = None) -> None:
        self.problems.append((reason, person, gist, None))


class PushStore:
    """Stores for one run. Each method returns the person's progress; `person` is its locked row."""

    def __init__(self, context: RunContext, budget: Budget) -> None:
        self._context, self._budget = context, budget
        self._suspicions = Suspicions(context.run_id)
        self._lost: dict[int, dict[str, Any]] = {}  # who lost their Pipedrive person in this run, as they were

    # --- the Pipedrive person ---
    def confirm(self, person: Person, trouble: Trouble | None, progress: Progress) -> Progress:
        if trouble:
            reason = f"{trouble.reason}: does it exist, and may the token's user see it? {DECIDE}"
            return replace(progress, failure=reason)
        update(person, pipedrive_confirmed_at=self._context.clock())
        return progress

    def find(self, person: Person, found: int | None, progress: Progress) -> Progress:
        if found is None:
            return replace(progress, none_found=True)
        self.link(person, found)
        return progress

    def link(self, person: Person, pipedrive_id: int, **columns: object) -> None:
        """The activities of a Pipedrive person that was not created just now are compared first."""
        now = self._context.clock()
        link = {"pipedrive_id": pipedrive_id, "pipedrive_linked_at": now, "pipedrive_confirmed_at": now}
        reset = {"pipedrive_create_started_at": None, "pipedrive_matched_at": None, "pipedrive_field_key": ""}
        update(person, **{**link, **reset, **columns})

    def person_not_created(self, person: Person, error: Exception) -> None:
        """If it is certain that none was created, the next run may create it at once."""
        if isinstance(error, OutcomeUnknownError):
            update(person, pipedrive_create_started_at=self._context.clock())
        elif isinstance(error, RejectedError | CircuitOpenError | NotSentError | RunStoppedError):
            update(person, pipedrive_create_started_at=None)

    def _follow(self, person: Person, trouble: Trouble, progress: Progress, notes: Notes) -> Progress:
        """The person's Pipedrive person cannot be used any more: replace it, if that is proven."""
        if person.pipedrive_linked_at is None:
            hint = f", after it was merged into person {trouble.merged_into}" if trouble.merged_into else ""
            reason = f"{trouble.reason}{hint}. A user has given its id, so it is not changed. {DECIDE}"
            return replace(progress, failure=reason)
        if progress.is_relinked:
            return replace(progress, failure=trouble.reason)
        if trouble.merged_into:
            self.link(person, trouble.merged_into)
            notes.problem("The Pipedrive person was merged into another one, which replaces it.", person)
        elif not trouble.is_deleted:
            reason = f"{trouble.reason}: was it deleted, or may the token's user see it? {DECIDE}"
            return replace(progress, failure=reason)
        elif not self._suspicions.see(
            Kind.LOST, person.pk, f"{trouble.reason}: {person.pipedrive_id}", self._context.clock()
        ):
            self._lost[person.pk] = {name: getattr(person, name) for name in COLUMNS}
            return replace(progress, failure=f"{trouble.reason}. {LATER}")
        else:
            update(
                person,
                pipedrive_id=None,
                pipedrive_linked_at=None,
                pipedrive_confirmed_at=None,
                pipedrive_matched_at=None,
                pipedrive_field_key="",
            )
            notes.problem("The Pipedrive person was deleted or merged; another one replaces it.", person)
        return Progress(is_relinked=True)

    def find_outage(self) -> tuple[OutageError | None, dict[int, dict[str, Any]]]:
        """Have more people lost their Pipedrive person than may have, in this run? With them, as they were."""
        if not self._lost or self._suspicions.are_few(Kind.LOST):
            return None, {}
        total = Person.objects.filter(pipedrive_id__isnull=False).count()
        return OutageError(
            f"Pipedrive shows the persons of {len(self._lost)} of {total} people as deleted, so no link was changed. "
            "Check PIPEDRIVE_API_URL and PIPEDRIVE_TOKEN."
        ), self._lost

    # --- what exists ---
    def compare(self, person: Person, listed: list[Fingerprint], progress: Progress, notes: Notes) -> Progress:
        """Its activities may be those of gists, from a lost database or a deleted person."""
        now = self._context.clock()
        gists = list(Gist.objects.filter(person=person).exclude(push_state=State.PUSHED).order_by("pk"))
        matched = match_gists(gists, without_known(listed)) if listed and gists else {}
        for gist in gists:
            if gist.pk in matched:
                columns = pushed_columns(matched[gist.pk], now)
                columns["activity_outdated"] = not _is_current(gist, matched[gist.pk], listed)
                Gist.objects.filter(pk=gist.pk).update(**columns, pipedrive_person_id=person.pipedrive_id)
        found = [gist.github_id for gist in gists if gist.pk in matched]
        KnownActivity.objects.drop(KnownActivity.objects.find(found).values())
        update(person, pipedrive_matched_at=now)
        notes.counts["gists_found"] += len(matched)
        return progress

    def match(self, look_up: LookUp, listed: list[Fingerprint], *, by_ids_only: bool = False) -> LookUp:
        """Add the activities of this list that belong to missing gists."""
        match = match_ids if by_ids_only else match_gists
        missing = look_up.missing
        matched = match(missing, without_known(listed))
        by_id = {fingerprint.activity_id: fingerprint for fingerprint in listed}
        found = [
            Found(gist.pk, by_id[number], _is_current(gist, number, listed))
            for gist in missing
            if (number := matched.get(gist.pk))
        ]
        return replace(look_up, found=(*look_up.found, *found), listed=look_up.listed | by_id.keys())

    def match_unlisted(self, look_up: LookUp, unlisted: list[Unlisted]) -> LookUp:
        deleted = {one.fingerprint.activity_id for one in unlisted if one.is_deleted}
        matched = self.match(look_up, [one.fingerprint for one in unlisted])
        found = [replace(one, is_deleted=one.activity.activity_id in deleted) for one in matched.found]
        return replace(matched, found=tuple(found))

    def resolve(self, person: Person, look_up: LookUp, progress: Progress, notes: Notes) -> Progress:
        """The started gists become pushed, pending again, or rejected if they never get a clear response."""
        now = self._context.clock()
        found = {one.gist: one for one in look_up.found}
        for gist in look_up.gists:
            one = found.get(gist.pk)
            columns = _columns_of_found(one, now) if one else _columns_of_missing(gist)
            same = Gist.objects.filter(pk=gist.pk, push_state=State.STARTED, push_started_at=gist.push_started_at)
            if not same.update(**columns):
                continue
            notes.counts[COUNTERS[columns["push_state"]]] += 1
            if one:
                record_found(gist, one.activity.activity_id, now)
            if columns["push_state"] == State.REJECTED:
                notes.work["gist", False] += 1
                notes.problem("It was rejected after several attempts.", person, gist)
        return replace(progress, look_up=None)

    # --- activities ---
    def create(
        self, group: list[tuple[Person, Posted, Progress]], notes: Notes, *, is_about_us: bool
    ) -> list[Progress]:
        """The outcomes of some POSTs. `is_about_us`: refusals are for a reason that is not the gists' own."""
        keys = [posted.post.gist for _, posted, _ in group]
        rows = Gist.objects.select_for_update().order_by("pk").in_bulk(keys)  # without those deleted meanwhile
        now, created = self._context.clock(), []
        pushed: dict[int, int] = {}  # activities by gist
        for person, posted, _ in group:
            post, gist = posted.post, rows.get(posted.post.gist)
            has_own_reason = gist is not None and not posted.trouble and not is_about_us
            columns = self._columns_of_posted(person, posted, notes, has_own_reason=has_own_reason)
            number = posted.outcome.id if isinstance(posted.outcome, Activity) else None
            if gist is None:
                settle(post.github_id, post.started_at, number, certain=not posted.may_exist, now=now)
            elif gist.push_state == State.STARTED and gist.push_started_at == post.started_at:
                if number and not posted.remark:
                    pushed[gist.pk] = number
                else:
                    Gist.objects.filter(pk=gist.pk).update(**{**columns, "updated_at": now})
            created += [gist] if gist and number else []
        _store_pushed(pushed, now)
        attempts = [self._attempt(posted) for _, posted, _ in group if posted.post.gist in rows]
        PushAttempt.objects.bulk_create(attempts)
        self._suspicions.drop([Kind.REFUSED], gists=[gist.pk for gist in created])
        self._suspicions.drop([Kind.LOST], people=[gist.person_id for gist in created])
        self._budget.cancel(sum(not posted.may_exist for _, posted, _ in group))
        return [self._progress_after(person, posted, progress, notes) for person, posted, progress in group]

    def _attempt(self, posted: Posted) -> PushAttempt:
        now = self._context.clock()
        began_at = now - timedelta(seconds=posted.seconds)
        return Attempt(posted.post.gist, self._context.run_id, began_at).ended(posted.outcome, now)

    def _columns_of_posted(
        self, person: Person, posted: Posted, notes: Notes, *, has_own_reason: bool
    ) -> dict[str, Any]:
        """`has_own_reason`: a refusal may be about the gist itself."""
        now, outcome = self._context.clock(), posted.outcome
        gist = Gist(pk=posted.post.gist, github_id=posted.post.github_id, person=person)
        if isinstance(outcome, Activity):
            notes.counts["gists_pushed"] += 1
            notes.work["gist", True] += 1
            if posted.remark:
                notes.problem(posted.remark, person, gist)
            return pushed_columns(outcome.id, now) | ({"push_error": posted.remark} if posted.remark else {})
        if isinstance(outcome, OutcomeUnknownError):
            notes.counts["gists_unknown"] += 1
            notes.work["gist", False] += 1
            notes.problem(str(outcome), person, gist)
            return {"push_error": str(outcome)[:500], "push_started_at": now}  # It has left by now.
        columns: dict[str, Any] = {"push_state": State.PENDING, "push_error": str(outcome)[:500]}
        is_refused = has_own_reason and isinstance(outcome, RejectedError)
        if is_refused and self._is_rejected(person, gist, outcome, notes):
            columns["push_state"] = State.REJECTED
        if posted.trouble:
            columns["push_run_id"] = None  # This run may send it again, to the person that replaces this one.
        return columns

    def _is_rejected(self, person: Person, gist: Gist, error: Exception, notes: Notes) -> bool:
        """The gist is rejected when a later run is refused it for the same reason, and few others are."""
        notes.problem(str(error), person, gist)
        notes.work["gist", False] += 1
        now, reason = self._context.clock(), same_reason(error)
        if not self._suspicions.see(Kind.REFUSED, person.pk, reason, now, gist_id=gist.pk):
            return False
        notes.counts["gists_rejected"] += 1
        return True

    def _progress_after(self, person: Person, posted: Posted, progress: Progress, notes: Notes) -> Progress:
        outcome = posted.outcome
        for problem in posted.owner_problems:
            notes.problem(problem)
        progress = progress.without_next_gist()
        if posted.trouble:
            return self._follow(person, posted.trouble, progress, notes)
        if isinstance(outcome, Activity):
            return replace(progress, has_created=True, unknown=0, refused=())
        if isinstance(outcome, OutcomeUnknownError):
            progress = replace(progress, unknown=progress.unknown + 1)
            if progress.unknown < MAX_UNKNOWN:
                return progress
            reason = f"{MAX_UNKNOWN} activities in a row got no clear response. They are looked up in the next run."
            return replace(progress, failure=reason)
        if not isinstance(outcome, RejectedError):
            return progress
        same = [reason for reason in progress.refused if reason == same_reason(outcome)]
        progress = replace(progress, refused=(*same, same_reason(outcome)))
        if progress.has_created or len(progress.refused) < MAX_REFUSED:
            return progress
        self._suspicions.drop([Kind.REFUSED], people=[person.pk])
        self._context.withdraw_problems([person.pk], Problem.Code.GIST)
        notes.problems = [one for one in notes.problems if one[1] != person or one[2] is None]
        reason = f"Pipedrive refused {MAX_REFUSED} gists in a row for the same reason: {outcome}"
        return replace(progress, failure=reason)

    def edit(self, person: Person, edited_all: EditedAll, progress: Progress, notes: Notes) -> Progress:
        gists = [edited.edit.gist for edited in edited_all.edited]
        exists = set(Gist.objects.select_for_update().filter(pk__in=gists).values_list("pk", flat=True))
        for edited in edited_all.edited:  # A gist that was deleted meanwhile gets no attempt.
            if edited.edit.gist in exists:
                self._store_edited(person, edited, notes)
        failure = "" if edited_all.failure is None else str(edited_all.failure)
        last = max((edited.edit.gist for edited in edited_all.edited), default=progress.edited_up_to)
        return replace(progress, failure=failure, edited_up_to=last)

    def _store_edited(self, person: Person, edited: Edited, notes: Notes) -> None:
        edit, outcome, now = edited.edit, edited.outcome, self._context.clock()
        if isinstance(outcome, Activity):
            columns: dict[str, Any] = {"activity_outdated": False, "push_error": "", "next_edit_at": None}
            notes.counts["activities_edited"] += 1
        elif edited.is_deleted:
            columns = {"activity_outdated": False, "push_error": DELETED}
        else:
            failures = count_failed_in_a_row(edit.gist, PushAttempt.Kind.UPDATE) + 1
            message = f"The activity could not be updated: {outcome}"
            columns = {"push_error": message[:500], "next_edit_at": next_attempt(failures, now)}
            notes.problem(str(outcome), person, Gist(pk=edit.gist, person=person))
        Gist.objects.filter(pk=edit.gist, github_updated_at=edit.updated_at).update(**columns)
        began_at = now - timedelta(seconds=edited.seconds)
        Attempt(edit.gist, self._context.run_id, began_at, PushAttempt.Kind.UPDATE).ended(outcome, now).save()

    # --- the end of a person's push ---
    def finish(self, person: Person, progress: Progress, notes: Notes, *, is_about_us: bool) -> None:
        """Not to be attempted again in this run. A failure that is about us does not count against the person."""
        now = self._context.clock()
        if is_about_us:
            update(person, push_attempted_at=now)
        elif not progress.failure:
            no_failure = {"push_failures": 0, "push_failing_since": None, "push_error": "", "next_push_at": None}
            update(person, push_attempted_at=now, **no_failure)
            self._suspicions.drop([Kind.LOST], people=[person.pk])  # It has a Pipedrive person that can be used.
            notes.work["push", True] += 1
        else:
            failures = person.push_failures + 1
            update(
                person,
                push_attempted_at=now,
                push_failures=failures,
                push_failing_since=person.push_failing_since or now,
                push_error=progress.failure[:500],
                next_push_at=next_attempt(failures, now),
            )
            notes.counts["people_failed"] += 1
            notes.work["push", False] += 1
            notes.problems.append((progress.failure, person, None, Problem.Code.PUSH))


def update(person: Person, **columns: object) -> None:
    """Write columns of a locked person."""
    Person.objects.filter(pk=person.pk).update(**columns)
    for name, value in columns.items():
        setattr(person, name, value)


def _store_pushed(activities: dict[int, int], now: datetime) -> None:
    """Gists that have these activities now, in one statement."""
    if activities:
        of_gist = Case(*(When(pk=gist, then=Value(number)) for gist, number in activities.items()))
        columns = pushed_columns(0, now) | {"pipedrive_activity_id": of_gist}
        Gist.objects.filter(pk__in=activities).update(**columns)


def _is_current(gist: Gist, activity_id: int, listed: Iterable[Fingerprint]) -> bool:
    """Does the activity show the gist as it is stored, whatever it shows of the author?

    If its text was not read, it may not: an update is harmless.
    """
    texts = [fingerprint.text for fingerprint in listed if fingerprint.activity_id == activity_id]
    return any(shows(Activity(activity_id, note=text), about_gist(gist)) for text in texts if text)


def _columns_of_found(found: Found, now: datetime) -> dict[str, Any]:
    columns = pushed_columns(found.activity.activity_id, now)
    if found.is_deleted:
        return columns | {"push_error": DELETED}
    # If it is current, the column stays as it is: a poll may have stored an edit meanwhile.
    return columns if found.is_current else columns | {"activity_outdated": True}


def _columns_of_missing(gist: Gist) -> dict[str, Any]:
    """Pending again; rejected after several attempts, if other activities have been created since."""
    attempts = count_failed_in_a_row(gist.pk, PushAttempt.Kind.CREATE)
    if attempts < MAX_ATTEMPTS or not has_succeeded_since(gist.push_started_at):
        return {"push_state": State.PENDING}
    error = f"Pipedrive gave no clear response to {attempts} attempts, and did not create it. {gist.push_error}"
    return {"push_state": State.REJECTED, "push_error": error[:500]}
