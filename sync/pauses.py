"""A pause that Pipedrive has ordered and that outlasts the run: no process sends a request before it is over."""

import hashlib
from datetime import timedelta

from gisttracker.database import retried
from sync.claims import Clock
from sync.clients.boot_clock import boot_clock
from sync.clients.errors import CircuitOpenError
from sync.clients.pipedrive import PipedriveClient
from sync.models import ApiPause

MAX_PAUSE = timedelta(days=1)  # A longer one is a mistake.


@retried
def store_pause(pipedrive: PipedriveClient, clock: Clock) -> None:
    """Store the client's pause, if there is one."""
    pause = pipedrive.long_pause
    if pause is None:
        return
    until = clock() + timedelta(seconds=max(pause.until - boot_clock(), 0))
    columns = {"scope": _scope(pipedrive), "until": until, "reason": pause.reason[:200]}
    ApiPause.objects.update_or_create(api=pipedrive.api.name, defaults=columns)


@retried
def keep_pause(pipedrive: PipedriveClient, clock: Clock) -> None:
    """Open the circuit if a pause of an earlier process, for the same address and token, is not over."""
    api, now = pipedrive.api, clock()
    stored = ApiPause.objects.filter(api=api.name, scope=_scope(pipedrive), until__gt=now).first()
    if stored and stored.until <= now + MAX_PAUSE:
        message = f"{api.name} is not called before {stored.until:%Y-%m-%d %H:%M} UTC ({stored.reason})"
        api.circuit.open(CircuitOpenError(message, stored.until))


def _scope(pipedrive: PipedriveClient) -> str:
    """Another address or token is not paused."""
    return hashlib.sha256("\n".join(pipedrive.api.identity).encode()).hexdigest()
