"""A circuit breaker: after repeated failures, or one decisive error, an API gets no more requests in this run."""

import threading
from collections import Counter
from collections.abc import Callable

from sync.clients.errors import CircuitOpenError, ConfigurationError, CredentialsError, OutageError, SyncError

MAX_FAILURES = 5  # failed attempts in a row
MAX_FAILED_CALLS = 10  # different calls failed in a row, although the API responds to a probe
MAX_REJECTIONS = 5  # rejections with the same status in a row, for different objects
# In a row: 401, of which one alone happens with valid tokens, too; and responses that are not the API's own.
MAX_ERRORS = {CredentialsError: 2, ConfigurationError: 3}


class Circuit:
    """The circuit breaker of one API, shared by all threads of a run."""

    def __init__(self, api: str) -> None:
        self.error: CircuitOpenError | None = None  # why the circuit is open
        self.has_succeeded = False  # Did the API do as requested at least once?
        self._api = api
        self._failures = 0  # in a row
        self._failed_calls: set[str] = set()  # in a row
        self._errors: Counter[type[ConfigurationError]] = Counter()  # in a row
        self._rejected: tuple[int, set[str]] = (0, set())  # status, and the paths rejected with it in a row
        self._lock = threading.Lock()

    def open(self, error: CircuitOpenError) -> None:
        """Stop requests to this API; the first reason is kept."""
        with self._lock:
            self.error = self.error or error

    def raise_if_open(self) -> None:
        if self.error:
            raise self.error

    def record_response(self) -> None:
        """A complete response below 500 arrived: the API is not down."""
        with self._lock:
            self._failures = 0
            self._failed_calls.clear()

    def record_success(self) -> None:
        with self._lock:
            self.has_succeeded = True
            self._failures = 0
            self._failed_calls.clear()
            self._errors.clear()
            self._rejected = (0, set())

    def record_failure(self, call: str, failure: SyncError, is_alive: Callable[[], bool]) -> None:
        """Count a failed attempt. `is_alive` is a probe: failures of a few objects only are not an outage."""
        with self._lock:
            self._failures += 1
            self._failed_calls.add(call)
            failures, calls = self._failures, len(self._failed_calls)
        if failures % MAX_FAILURES == 0 and (calls >= MAX_FAILED_CALLS or not is_alive()):
            self.open(OutageError(f"{self._api} failed {failures} times in a row; last error: {failure}"))

    def record_error(self, error: ConfigurationError) -> None:
        """Count a response that may mean that the token, or the address, is wrong. Several in a row do."""
        with self._lock:
            self._errors[type(error)] += 1
            count = self._errors[type(error)]
        if count >= MAX_ERRORS[type(error)]:
            self.open(error)

    def record_rejection(self, status: int, path: str, message: str, advice: str) -> None:
        """The same refusal for different objects, without a success in between, is about us, not about them."""
        with self._lock:
            paths = self._rejected[1] if self._rejected[0] == status else set()
            self._rejected = (status, paths | {path})
            count = len(self._rejected[1])
        if count >= MAX_REJECTIONS:
            self.open(
                ConfigurationError(f"{self._api} rejected {count} different requests in a row. {advice} {message}")
            )
