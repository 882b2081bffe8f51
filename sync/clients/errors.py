"""What can go wrong, named by what the caller does next.

SyncError
├── CircuitOpenError            send no more requests to this API in this run
│   ├── ConfigurationError      ... and a setting has to be fixed
│   │   └── CredentialsError        ... its token
│   ├── OutageError             ... because it failed repeatedly
│   └── CapReachedError         ... because a limit that a user has set is reached
├── RateLimitedError            the request was not processed: wait, then resend it
├── RetryNextRunError           leave this person to the next run
│   ├── InvalidResponseError    the response is not what the API documents
│   └── RepeatedServerError     every try of the request ended with a 5xx
├── RejectedError               the API refused this one request: record the reason and continue
│   └── NotFoundError           the requested object does not exist (any more)
├── OutcomeUnknownError         a POST was sent and may have been processed: check before repeating it
├── NotSentError                a POST that was certainly not sent
├── LeaseLostError              another process has taken over: write and send nothing
└── RunStoppedError             the run is stopping
"""

from datetime import datetime


class SyncError(Exception):
    """A message that is safe to show: API, method, path, status, up to 200 characters of the response."""


class CircuitOpenError(SyncError):
    """`resets_at` is when the API may be called again, where that is known."""

    def __init__(self, message: str, resets_at: datetime | None = None) -> None:
        super().__init__(message)
        self.resets_at = resets_at


class ConfigurationError(CircuitOpenError): ...


class CredentialsError(ConfigurationError): ...


class OutageError(CircuitOpenError): ...


class CapReachedError(CircuitOpenError): ...


class RateLimitedError(SyncError): ...


class RetryNextRunError(SyncError): ...


class InvalidResponseError(RetryNextRunError): ...


class RepeatedServerError(RetryNextRunError): ...


class RejectedError(SyncError):
    """`status` is the HTTP status of the refusal."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class NotFoundError(RejectedError): ...


class OutcomeUnknownError(SyncError): ...


class NotSentError(SyncError): ...


class LeaseLostError(SyncError): ...


class RunStoppedError(SyncError): ...
