"""The step that creates the activity of a gist with one POST.

Before it begins, the main thread has written the gist as started. The POST is sent not later than the moment that is
written there, also by a process that was suspended meanwhile: right before it is sent the clock is read, which counts
then, too. What no clock can show is a suspension between that look and the first byte.
"""

from dataclasses import dataclass, replace
from datetime import datetime

from sync.clients.boot_clock import boot_clock
from sync.clients.errors import (
    CircuitOpenError,
    NotSentError,
    OutcomeUnknownError,
    RejectedError,
    RetryNextRunError,
    RunStoppedError,
    SyncError,
)
from sync.clients.pipedrive import PipedriveClient
from sync.clients.pipedrive_records import Activity, NewActivity
from sync.push.owner import ActivityOwner
from sync.push.persons import Trouble, find_trouble


@dataclass(frozen=True)
class Post:
    """The activity of a gist that is to be created. `started_at` identifies the attempt.

    `known`: activities that are filed under the same Pipedrive person. `must_check`: whether that person can be used is
    asked after a refusal.
    """

    gist: int  # its key
    github_id: str
    started_at: datetime
    pipedrive_id: int
    activity: NewActivity
    known: tuple[int, ...] = ()
    must_check: bool = True


@dataclass(frozen=True)
class Posted:
    """What came of it: the activity, or why there is none. `trouble`: of the Pipedrive person."""

    post: Post
    outcome: Activity | SyncError
    seconds: float = 0.0
    trouble: Trouble | None = None
    owner_problems: tuple[str, ...] = ()

    @property
    def may_exist(self) -> bool:
        return isinstance(self.outcome, Activity | OutcomeUnknownError)

    @property
    def remark(self) -> str:
        """Where Pipedrive has filed it, if not where it was sent."""
        if not isinstance(self.outcome, Activity) or self.outcome.filed_under == self.post.pipedrive_id:
            return ""
        return f"Pipedrive filed the activity under {'another' if self.outcome.filed_under else 'no'} person."


def create_activity(pipedrive: PipedriveClient, owner: ActivityOwner, post: Post, not_after: float) -> Posted:
    """`not_after`: a time of boot_clock() after which it is not sent."""
    began_at = boot_clock()
    problems: list[str] = []
    outcome: Activity | SyncError
    try:
        outcome, problems = _create(pipedrive, owner, post, not_after)
        if outcome.filed_under != post.pipedrive_id:
            outcome = _read_again(pipedrive, outcome, post.activity)
    except (OutcomeUnknownError, RejectedError, NotSentError, CircuitOpenError, RunStoppedError) as error:
        outcome = error
    posted = Posted(post, outcome, boot_clock() - began_at, owner_problems=tuple(problems))
    is_elsewhere = bool(posted.remark) and isinstance(outcome, Activity) and outcome.filed_under is not None
    if post.must_check and (is_elsewhere or isinstance(outcome, RejectedError)):
        try:
            return replace(posted, trouble=find_trouble(pipedrive, post.pipedrive_id, post.known))
        except (RetryNextRunError, CircuitOpenError, RunStoppedError) as error:
            return replace(posted, trouble=Trouble(f"Whether the Pipedrive person exists is not known: {error}"))
    return posted


def _create(
    pipedrive: PipedriveClient, owner: ActivityOwner, post: Post, not_after: float
) -> tuple[Activity, list[str]]:
    """Create the activity, for the token's user if its owner is refused."""
    pipedrive.api.raise_if_stopping()
    try:
        owner_id = owner.find(post.pipedrive_id)
    except RetryNextRunError as error:
        raise NotSentError(f"The owner of the activity is not known: {error}") from None
    create = pipedrive.create_activity
    try:
        created = create(post.pipedrive_id, post.activity, owner_id=owner_id, not_after=not_after)
    except RejectedError as error:
        if not owner.may_be_refused(owner_id, error):
            raise
        created = create(post.pipedrive_id, post.activity, not_after=not_after)
        return created, owner.refuse(owner_id, error)
    owner.confirm(owner_id)
    return created, []


def _read_again(pipedrive: PipedriveClient, created: Activity, activity: NewActivity) -> Activity:
    """OutcomeUnknownError if the response to a POST names an activity that does not exist, or another one."""
    try:
        found = pipedrive.get_activity(created.id)
    except (RejectedError, RetryNextRunError, CircuitOpenError, RunStoppedError) as error:
        raise OutcomeUnknownError(f"Pipedrive returned a new activity that it does not show: {error}") from None
    if found.subject != activity.subject:
        raise OutcomeUnknownError(f"Pipedrive returned activity {created.id}, which is another one")
    return found
