"""Which Pipedrive person a tracked person is: given, found by GitHub id, e-mail or name, or created.

A link changes only with proof: Pipedrive shows the person as deleted, or an activity of ours shows that it was merged
into another one. An id given by a user is never changed here: the row shows the error, and waits.
"""

from dataclasses import dataclass

from gisttracker.common.database import retried
from people.models import Gist, Person
from sync.clients.errors import (
    CircuitOpenError,
    NotFoundError,
    NotSentError,
    OutcomeUnknownError,
    RejectedError,
    RetryNextRunError,
)
from sync.crm.activity import person_name
from sync.crm.github_field import GitHubField
from sync.push.find_person import PersonFinder, github_id_of
from sync.push.refusals import Refusal, Refusals, Step, StepRefusedError
from sync.run.claims import Claims
from sync.run.context import RunContext

DECIDE = "Set another pipedrive_id, or clear it, so that a person is found or created."
MAX_KNOWN_ACTIVITIES = 3  # that are read to find where a merge has moved them


class LinkError(RetryNextRunError):
    """The link of one person needs a decision of a user."""


class LostPersonError(RetryNextRunError):
    """Pipedrive shows the person as deleted. What that means is decided at the end of the run."""


class Linker:
    """Links people under the leases of the push lane. Thread-safe.

    `may_replace_lost`: links to deleted persons are replaced. False until it is known that only few are deleted.
    """

    def __init__(self, context: RunContext, claims: Claims, refusals: Refusals) -> None:
        self.may_replace_lost = False
        self._context, self._claims, self._refusals = context, claims, refusals
        self._pipedrive, self._summary = context.pipedrive, context.summary
        self._field = GitHubField(context)
        self._finder = PersonFinder(context)
        self._cannot_write_field = False

    def link(self, person: Person) -> int:
        """Returns the id of the person's Pipedrive person.

        That one is about to be created is committed first. When the outcome of that is unknown, the newest persons are
        searched after the settle delay, before another is created. Raises RetryNextRunError when the link cannot be
        known now.
        """
        if person.pipedrive_id and not person.pipedrive_confirmed_at:
            self._confirm(person)
        elif not person.pipedrive_id:
            self._find_or_create(person)
        if not self._field.is_written(person.pipedrive_field_key):
            self._write_github_id(person, person.pipedrive_id or 0)
        return person.pipedrive_id or 0

    def replace_if_lost(self, person: Person) -> bool:
        """After a refused push: give the person another Pipedrive person if its own does not exist any more.

        Returns whether it was replaced. LinkError when a user has to decide, LostPersonError when the run has to.
        """
        lost = person.pipedrive_id or 0
        trouble = self._check(lost)
        if not trouble:
            return False
        merged_into = self._find_merge(person)
        if person.pipedrive_linked_at is None:
            hint = f", after it was merged into person {merged_into}" if merged_into else ""
            raise LinkError(f"{trouble.reason}{hint}. A user has given its id, so it is not changed. {DECIDE}")
        if merged_into:
            self._store_link(person, merged_into)
            message = "The Pipedrive person was merged into another one, which replaces it."
        elif not trouble.is_deleted:
            raise LinkError(f"{trouble.reason}: was it deleted, or may the token's user see it? {DECIDE}")
        elif not self.may_replace_lost:
            raise LostPersonError(trouble.reason)
        else:
            self._find_or_create(person, lost=lost)
            message = "The Pipedrive person was deleted or merged; another one replaces it."
        self._summary.problem(message, person=person)
        return True

    # --- does it exist? ---
    def _confirm(self, person: Person) -> None:
        self._refusals.raise_if_blocked(Step.CONFIRM)
        trouble = self._check(person.pipedrive_id or 0)
        if trouble:
            error = LinkError(f"{trouble.reason}: does it exist, and may the token's user see it? {DECIDE}")
            self._refusals.refuse(Refusal(Step.CONFIRM, person, error), str(error))
        self._refusals.record_success(Step.CONFIRM)
        self._claims.update(person, pipedrive_confirmed_at=self._context.clock())

    def _check(self, pipedrive_id: int) -> "_Trouble | None":
        """Why this Pipedrive person cannot be used; None if Pipedrive shows that it exists."""
        try:
            found = self._pipedrive.get_person(pipedrive_id)
        except NotFoundError as error:
            return _Trouble(f"The Pipedrive person cannot be found ({error.status})")
        except RejectedError as error:
            return _Trouble(f"The Pipedrive person cannot be used ({error})")
        return _Trouble("The Pipedrive person was deleted", is_deleted=True) if found.is_deleted else None

    def _find_merge(self, person: Person) -> int | None:
        """The person under which Pipedrive now files the activities that we know, if all of them name the same."""
        known = Gist.objects.filter(person=person, pipedrive_person_id=person.pipedrive_id).order_by("-pk")
        moved_to = set()
        for gist in retried(list)(known.filter(pipedrive_activity_id__isnull=False)[:MAX_KNOWN_ACTIVITIES]):
            try:
                activity = self._pipedrive.get_activity(gist.pipedrive_activity_id or 0)
            except RejectedError:
                continue
            if not activity.is_deleted:
                moved_to.add(activity.filed_under)
        target = moved_to.pop() if len(moved_to) == 1 else None
        return target if target and target != person.pipedrive_id and not self._check(target) else None

    # --- find ---
    def _find_or_create(self, person: Person, lost: int = 0) -> None:
        self._refusals.raise_if_blocked(Step.CREATE_PERSON)
        with self._refusals.watch(Step.LOOK_UP, person):
            key = self._field.get_key()
            if person.pipedrive_create_started_at:
                found = self._finder.find_created(person, key)
            else:
                found = self._finder.find(person, key, lost)
        if found:
            self._store_link(person, found)
        else:
            self._create(person, key)

    # --- create and store ---
    def _create(self, person: Person, key: str) -> None:
        name = person_name(person)
        fields = {key: str(person.github_id)} if key and person.github_id else {}
        self._claims.update(person, pipedrive_create_started_at=self._context.clock(), pipedrive_create_name=name)
        try:
            with self._refusals.watch(Step.CREATE_PERSON, person):
                created = self._pipedrive.create_person(
                    name, person.email, custom_fields=fields, subject=person.github_username
                )
        except (CircuitOpenError, NotSentError, StepRefusedError):
            self._claims.update(person, pipedrive_create_started_at=None)
            raise
        if created.name != name and (trouble := self._check(created.id)):
            raise OutcomeUnknownError(f"Pipedrive returned a new person, but shows none. {trouble.reason}")
        now = self._context.clock()
        self._store_link(person, created.id, pipedrive_matched_at=now, pipedrive_field_key=key if fields else "")

    def _store_link(self, person: Person, pipedrive_id: int, **columns: object) -> None:
        """In one write. The activities of a person that was not created just now are compared first."""
        now = self._context.clock()
        link = {"pipedrive_id": pipedrive_id, "pipedrive_linked_at": now, "pipedrive_confirmed_at": now}
        reset = {"pipedrive_create_started_at": None, "pipedrive_matched_at": None, "pipedrive_field_key": ""}
        self._claims.update(person, **{**link, **reset, **columns})

    def _write_github_id(self, person: Person, pipedrive_id: int) -> None:
        """Write the GitHub id into the field of the Pipedrive person. A failure is reported, and tried again later."""
        if not person.github_id or self._cannot_write_field:
            return
        try:
            key = self._field.get_key()
            if not key or person.pipedrive_field_key == key:
                return
            present = github_id_of(self._pipedrive.get_person(pipedrive_id), key)
            if not present:
                self._pipedrive.set_custom_field(pipedrive_id, key, str(person.github_id))
        except (RejectedError, RetryNextRunError) as error:
            self._cannot_write_field = isinstance(error, RejectedError)
            self._summary.problem(f"The GitHub id could not be written to Pipedrive: {error}", person=person)
            return
        if present not in ("", str(person.github_id)):
            message = "The Pipedrive person has the GitHub id of another account; it is kept."
            self._summary.problem(message, person=person)
        self._claims.update(person, pipedrive_field_key=key)


@dataclass(frozen=True)
class _Trouble:
    """Why a Pipedrive person cannot be used. Only `is_deleted` proves that it does not exist any more."""

    reason: str
    is_deleted: bool = False
