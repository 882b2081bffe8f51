"""A pause that an API has ordered and that outlasts the run: no run sends a request before it is over."""

import hashlib
from datetime import timedelta

from gisttracker.database import retried
from sync.clients.boot_clock import boot_clock
from sync.clients.errors import CircuitOpenError
from sync.context import RunContext
from sync.models import ApiPause

MAX_PAUSE = timedelta(days=1)  # A longer one is a mistake.


@retried
def store_pause(context: RunContext) -> None:
    """Store Pipedrive's pause, if there is one."""
    pause = context.pipedrive.long_pause
    if pause is None:
        return
    until = context.clock() + timedelta(seconds=max(pause.until - boot_clock(), 0))
    columns = {"scope": _scope(context), "until": until, "reason": pause.reason[:200]}
    ApiPause.objects.update_or_create(api=context.pipedrive.api.name, defaults=columns)


@retried
def keep_pause(context: RunContext) -> None:
    """Send no request to Pipedrive if a pause of an earlier run, for the same address and token, is not over."""
    api, now = context.pipedrive.api, context.clock()
    stored = ApiPause.objects.filter(api=api.name, scope=_scope(context), until__gt=now).first()
    if stored and stored.until <= now + MAX_PAUSE:
        until = stored.until
        message = f"{api.name} is not called before {until:%Y-%m-%d %H:%M} UTC ({stored.reason})"
        api.circuit.open(CircuitOpenError(message, until))


def _scope(context: RunContext) -> str:
    """Another address or token is not paused."""
    return hashlib.sha256("\n".join(context.pipedrive.api.identity).encode()).hexdigest()
