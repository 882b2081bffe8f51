"""The step that creates the activities of some of a person's gists, one POST each.

Before it begins, the main thread has written these gists as started. A POST is sent not later than the moment that is
written there, also by a process that was suspended meanwhile.
"""

from dataclasses import dataclass
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

MAX_UNKNOWN = 3  # POSTs of one person in a row without a clear response: then it is the next person's turn
MAX_REFUSED = 5  # of one person in a row for the same reason, and none created: the person fails, not the gists


@dataclass(frozen=True)
class Post:
    """The activity of a gist that is to be created. `started_at` identifies the attempt."""

    gist: int  # its key
    github_id: str
    started_at: datetime
    activity: NewActivity


@dataclass(frozen=True)
class Posted:
    """What came of a POST: the activity, or why there is none. `is_tried`: it was its turn."""

    post: Post
    outcome: Activity | SyncError
    seconds: float = 0.0
    remark: str = ""
    is_tried: bool = True


@dataclass(frozen=True)
class Created:
    """What came of all of them. `trouble`: of their Pipedrive person. `failure`: why the person has failed."""

    posted: tuple[Posted, ...]
    trouble: Trouble | None = None
    failure: str = ""
    remarks: tuple[str, ...] = ()


class CreateActivities:
    """Creates activities under one Pipedrive person. `known`: activities that are filed under it."""

    def __init__(
        self, pipedrive: PipedriveClient, owner: ActivityOwner, pipedrive_id: int, known: tuple[int, ...]
    ) -> None:
        self._pipedrive, self._owner, self._pipedrive_id, self._known = pipedrive, owner, pipedrive_id, known
        self._posted: list[Posted] = []
        self._remarks: list[str] = []
        self._trouble: Trouble | None = None
        self._failure = ""
        self._is_checked = False

    def __call__(self, posts: tuple[Post, ...], not_after: float) -> Created:
        """`not_after`: a time of boot_clock() after which nothing is sent."""
        left = list(posts)
        while left and not self._failure and not self._trouble:
            post, began_at = left.pop(0), boot_clock()
            posted = self._send(post, not_after)
            self._posted.append(Posted(post, posted.outcome, boot_clock() - began_at, posted.remark))
            if isinstance(posted.outcome, NotSentError | CircuitOpenError | RunStoppedError):
                break
            self._find_failure(posted)
        self._posted += [Posted(post, NotSentError("It was not its turn."), is_tried=False) for post in left]
        return Created(tuple(self._posted), self._trouble, self._failure, tuple(self._remarks))

    def _send(self, post: Post, not_after: float) -> Posted:
        try:
            created = self._create(post.activity, not_after)
            if created.filed_under != self._pipedrive_id:
                created = self._read_again(created, post.activity)
        except (OutcomeUnknownError, RejectedError, NotSentError, CircuitOpenError, RunStoppedError) as error:
            return Posted(post, error)
        if created.filed_under == self._pipedrive_id:
            return Posted(post, created)
        person = "another" if created.filed_under else "no"
        return Posted(post, created, remark=f"Pipedrive filed the activity under {person} person.")

    def _create(self, activity: NewActivity, not_after: float) -> Activity:
        """Create the activity, for the token's user if its owner is refused."""
        self._pipedrive.api.raise_if_stopping()
        owner_id = self._owner.find(self._pipedrive_id)
        create = self._pipedrive.create_activity
        try:
            created = create(self._pipedrive_id, activity, owner_id=owner_id, not_after=not_after)
        except RejectedError as error:
            if not self._owner.may_be_refused(owner_id, error):
                raise
            created = create(self._pipedrive_id, activity, not_after=not_after)
            self._remarks += self._owner.refuse(owner_id, error)
        else:
            self._owner.confirm(owner_id)
        return created

    def _read_again(self, created: Activity, activity: NewActivity) -> Activity:
        """OutcomeUnknownError if the response to a POST names an activity that does not exist, or another one."""
        try:
            found = self._pipedrive.get_activity(created.id)
        except (RejectedError, RetryNextRunError, CircuitOpenError, RunStoppedError) as error:
            raise OutcomeUnknownError(f"Pipedrive returned a new activity that it does not show: {error}") from None
        if found.subject != activity.subject:
            raise OutcomeUnknownError(f"Pipedrive returned activity {created.id}, which is another one")
        return found

    def _find_failure(self, posted: Posted) -> None:
        """Is it about the person? A refusal, and an activity under another person, may be. Asked once."""
        is_elsewhere = isinstance(posted.outcome, Activity) and posted.outcome.filed_under not in (
            None,
            self._pipedrive_id,
        )
        if not self._is_checked and (is_elsewhere or isinstance(posted.outcome, RejectedError)):
            self._is_checked = True
            try:
                self._trouble = find_trouble(self._pipedrive, self._pipedrive_id, self._known)
            except (RetryNextRunError, CircuitOpenError, RunStoppedError) as error:
                self._failure = str(error)
        last = [posted.outcome for posted in self._posted[-MAX_UNKNOWN:]]
        if len(last) == MAX_UNKNOWN and all(isinstance(outcome, OutcomeUnknownError) for outcome in last):
            self._failure = (
                f"{MAX_UNKNOWN} activities in a row got no clear response. They are looked up in the next run."
            )
        refused = [str(posted.outcome) for posted in self._posted if isinstance(posted.outcome, RejectedError)]
        if len(refused) == len(self._posted) >= MAX_REFUSED and len(set(refused)) == 1:
            self._failure = f"Pipedrive refused {MAX_REFUSED} gists in a row for the same reason: {refused[0]}"
