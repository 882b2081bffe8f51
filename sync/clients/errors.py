"""What can go wrong, named by what is done about it.

SyncError
├── CircuitOpenError           this API is not asked again in this run
│   ├── ConfigurationError ... and somebody has to mend a setting
│   │   └── CredentialsError    ... its token
│   └── OutageError         ... since it failed again and again
├── RateLimitedError            the API refused this request for its limits: nothing was done, ask again after a wait
├── RetryNextRunError           this person again in the next run
│   └── InvalidResponseError    the answer was not what the API promises
├── RejectedError            a clear no to this one request: write it on the row and go on
│   └── NotFoundError        what was asked for does not exist (any more)
├── OutcomeUnknownError            a POST was sent and nobody knows whether it was done: look before repeating
├── NotSentError            a POST that certainly was not sent
├── LeaseLostError          another run took this person over, or it was deleted: write nothing
└── RunStoppedError         the run was told to stop
"""

from datetime import datetime


class SyncError(Exception):
    """A message is fit to be shown to anybody: API, method, path, status, up to 200 characters of the answer."""


class CircuitOpenError(SyncError):
    """`free_at` is when it may be asked again, where that is known."""

    def __init__(self, message: str, free_at: datetime | None = None) -> None:
        super().__init__(message)
        self.free_at = free_at


class ConfigurationError(CircuitOpenError):
    pass


class CredentialsError(ConfigurationError):
    pass


class OutageError(CircuitOpenError):
    pass


class RateLimitedError(SyncError):
    pass


class RetryNextRunError(SyncError):
    pass


class InvalidResponseError(RetryNextRunError):
    pass


class RejectedError(SyncError):
    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class NotFoundError(RejectedError):
    pass


class OutcomeUnknownError(SyncError):
    pass


class NotSentError(SyncError):
    pass


class LeaseLostError(SyncError):
    pass


class RunStoppedError(SyncError):
    pass
