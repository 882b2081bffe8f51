"""Who owns the activities in Pipedrive: the token's user, the owner of the Pipedrive person, or a given user."""

import threading

from sync.clients.errors import NotFoundError, RejectedError
from sync.clients.pipedrive import PipedriveClient

TOKEN, PERSON = "token", "person"  # values of PIPEDRIVE_ACTIVITY_OWNER; any other is the id of a Pipedrive user


class ActivityOwner:
    """The owners in one run. Thread-safe."""

    def __init__(self, setting: str, pipedrive: PipedriveClient) -> None:
        self._setting, self._pipedrive = setting, pipedrive
        self._owner_of: dict[int, int | None] = {}  # by Pipedrive person
        self._refused: set[int] = set()
        self._confirmed: set[int] = set()
        self._lock = threading.Lock()

    def find(self, pipedrive_person_id: int) -> int | None:
        """The id of the Pipedrive user who will own this person's activities. None: the token's user."""
        if self._setting == TOKEN:
            return None
        owner_id = self._owner_of_person(pipedrive_person_id) if self._setting == PERSON else int(self._setting)
        return None if owner_id in self._refused else owner_id

    def _owner_of_person(self, pipedrive_person_id: int) -> int | None:
        if pipedrive_person_id not in self._owner_of:
            try:
                owner_id = self._pipedrive.get_person(pipedrive_person_id).owner_id
            except RejectedError:
                owner_id = None  # That the person cannot be used shows when the activity is created.
            self._owner_of[pipedrive_person_id] = owner_id
        return self._owner_of[pipedrive_person_id]

    def may_be_refused(self, owner_id: int | None, error: RejectedError) -> bool:
        """Can this refusal of an activity be about its owner? Not if others of the same owner were created."""
        return owner_id is not None and owner_id not in self._confirmed and not isinstance(error, NotFoundError)

    def confirm(self, owner_id: int | None) -> None:
        if owner_id is not None:
            self._confirmed.add(owner_id)

    def refuse(self, owner_id: int | None, error: RejectedError) -> list[str]:
        """The same activity was created for the token's user: this owner cannot be used. Returns a remark, once."""
        with self._lock:
            if owner_id is None or owner_id in self._refused:
                return []
            self._refused.add(owner_id)
        return [
            f"Pipedrive refused user {owner_id} as the owner of activities (deactivated, or not visible to the token's "
            f"user?), so they belong to the token's user. See PIPEDRIVE_ACTIVITY_OWNER. {error}"
        ]
