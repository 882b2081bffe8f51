"""What a run has found out about each API, kept until another run calls it: see ApiState."""

from gisttracker.database import retried
from sync.clients.errors import CapReachedError, CircuitOpenError, ConfigurationError, OutageError
from sync.clients.transport import Api
from sync.context import RunContext
from sync.models import ApiState, SyncRun

Problem = ApiState.Problem


@retried
def store_api_states(run: SyncRun, context: RunContext) -> None:
    """Replace the states of the APIs that this run has called, or could not call."""
    github, pipedrive = context.github, context.pipedrive
    _store(run, github.api, github.api.circuit.error, has_token=github.has_token, notice=github.deprecation)
    _store(run, pipedrive.api, next(iter([*context.errors, pipedrive.api.circuit.error]), None))


def _store(run: SyncRun, api: Api, error: CircuitOpenError | None, *, has_token: bool = True, notice: str = "") -> None:
    if not api.request_count and not error:
        return
    problem, now = _classify(error), run.finished_at or run.started_at
    previous = ApiState.objects.filter(api=api.name, problem=problem).first()
    columns = {
        "run_id": run.pk,
        "called_at": now,
        "problem": problem,
        "message": str(error)[:500] if error else "",
        "problem_since": (previous.problem_since if previous else now) if error else None,
        "has_token": has_token,
        "notice": notice[:500],
        "limit": run.limits[api.name.lower()],
    }
    ApiState.objects.update_or_create(api=api.name, defaults=columns)


def _classify(error: CircuitOpenError | None) -> Problem:
    if error is None:
        return Problem.NONE
    kinds = {
        ConfigurationError: Problem.REFUSED,
        OutageError: Problem.OUTAGE,
        CapReachedError: Problem.CAPPED,
    }
    return next((problem for kind, problem in kinds.items() if isinstance(error, kind)), Problem.RATE_LIMITED)
