"""A circuit breaker: after repeated failures, or one decisive error, an API gets no more requests in this run."""

import threading

from sync.clients.errors import CircuitOpenError, OutageError, SyncError

MAX_FAILURES = 5  # failed attempts in a row


class Circuit:
    """The circuit breaker of one API, shared by all threads of a run."""

    def __init__(self, api: str) -> None:
        self.error: CircuitOpenError | None = None  # why the circuit is open
        self._api = api
        self._failures = 0  # in a row
        self._lock = threading.Lock()

    def open(self, error: CircuitOpenError) -> None:
        """Stop requests to this API; the first reason is kept."""
        with self._lock:
            self.error = self.error or error

    def raise_if_open(self) -> None:
        if self.error:
            raise self.error

    def record_success(self) -> None:
        with self._lock:
            self._failures = 0

    def record_failure(self, failure: SyncError) -> None:
        with self._lock:
            self._failures += 1
            failures = self._failures
        if failures >= MAX_FAILURES:
            self.open(OutageError(f"{self._api} failed {failures} times in a row; last error: {failure}"))
