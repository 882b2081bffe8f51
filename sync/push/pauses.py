"""Pauses that Pipedrive has ordered and that outlast the run: no process sends a request before they are over."""

import hashlib
from datetime import timedelta

from gisttracker.common.database import retried
from sync.clients.boot_clock import boot_clock
from sync.clients.errors import CircuitOpenError
from sync.clients.pipedrive import PipedriveClient
from sync.clock import Clock
from sync.models import ApiState

MAX_PAUSE = timedelta(days=1)  # A longer one is a mistake.


@retried
def store_pause(pipedrive: PipedriveClient, clock: Clock) -> None:
    pause = pipedrive.long_pause
    if pause is None:
        return
    until = clock() + timedelta(seconds=max(pause.until - boot_clock(), 0))
    columns = {"pause_scope": _scope(pipedrive), "paused_until": until, "pause_reason": pause.reason[:200]}
    ApiState.objects.update_or_create(api=pipedrive.api.name, defaults=columns)


@retried
def keep_pause(pipedrive: PipedriveClient, clock: Clock) -> None:
    """Open the circuit if a pause of an earlier process, for the same address and token, is not over."""
    api, now = pipedrive.api, clock()
    paused = ApiState.objects.filter(
        api=api.name, pause_scope=_scope(pipedrive), paused_until__range=(now, now + MAX_PAUSE)
    )
    for until, reason in paused.values_list("paused_until", "pause_reason"):
        message = f"{api.name} is not called before {until:%Y-%m-%d %H:%M} UTC ({reason})"
        api.circuit.open(CircuitOpenError(message, until))


def _scope(pipedrive: PipedriveClient) -> str:
    """Another address or token is not paused."""
    return hashlib.sha256("\n".join(pipedrive.api.identity).encode()).hexdigest()
