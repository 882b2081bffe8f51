"""What a run has found out about each API, kept until another run has something better: see ApiState.

A run for a few people cannot find out as much as one for all: that a refusal is about us, or that an API is down, shows
only in several requests. So it clears such a problem only with proof, a success of what had failed.
"""

from functools import partial

from django.db import transaction

from gisttracker.common.database import retried
from sync.clients.errors import CapReachedError, CircuitOpenError, ConfigurationError, OutageError
from sync.clients.github import GitHubClient
from sync.clients.pipedrive import PipedriveClient
from sync.clock import Clock
from sync.context import RunContext
from sync.models import ApiState, SyncRun

Problem = ApiState.Problem
Client = GitHubClient | PipedriveClient
KINDS: dict[type[CircuitOpenError], Problem] = {  # The first that applies.
    ConfigurationError: Problem.REFUSED,
    OutageError: Problem.OUTAGE,
    CapReachedError: Problem.CAPPED,
    CircuitOpenError: Problem.RATE_LIMITED,
}
LASTING = (Problem.REFUSED, Problem.OUTAGE)
# The other columns have writers of their own, `store_pause` and sync.push.budget.
COLUMNS = ["run_id", "problem", "message", "problem_since", "has_token", "limit", "notice", "token_expires_at"]
PROOFS = ("gists_pushed", "gists_found", "activities_edited")  # counters of what Pipedrive has done as requested


def store_trouble(run: SyncRun, context: RunContext) -> None:
    """Store why the run has stopped calling an API, as soon as it has: it may go on with the other one for hours."""
    for client, error in _errors(context):
        if error and client.api.name not in context.stored_states:
            _store(run, context, client, error)
            transaction.on_commit(partial(context.stored_states.add, client.api.name))


def store_api_states(run: SyncRun, context: RunContext) -> None:
    """Replace the states of the APIs that this run has called, or could not call."""
    for client, error in _errors(context):
        if client.api.request_count or error:
            _store(run, context, client, error)


@retried
def store_refusal(github: GitHubClient, clock: Clock) -> None:
    """Of a run that has only read the stream: a refused token, or that it is right again."""
    refused = ApiState.objects.filter(api=github.api.name, problem=Problem.REFUSED)
    error = github.api.circuit.error
    if github.stream_api.circuit.has_succeeded:
        refused.filter(run_id=None).update(problem=Problem.NONE, message="", problem_since=None)
    elif isinstance(error, ConfigurationError) and not refused.exists():
        found = {"run_id": None, "problem": Problem.REFUSED, "message": str(error)[:500], "problem_since": clock()}
        ApiState.objects.update_or_create(api=github.api.name, defaults=found)


def _errors(context: RunContext) -> list[tuple[Client, CircuitOpenError | None]]:
    github, pipedrive = context.github, context.pipedrive
    return [(github, github.api.circuit.error), (pipedrive, next(iter(context.errors), pipedrive.api.circuit.error))]


def _store(run: SyncRun, context: RunContext, client: Client, error: CircuitOpenError | None) -> None:
    now = context.clock()
    problem = next((problem for kind, problem in KINDS.items() if isinstance(error, kind)), Problem.NONE)
    stored = ApiState.objects.filter(api=client.api.name).first() or ApiState.objects.create(api=client.api.name)
    stored.run_id = run.pk
    needs_proof = stored.problem in LASTING and not context.is_round
    if error or not needs_proof or _has_proof(context, client):
        stored.problem_since = (stored.problem_since if problem == stored.problem else now) if error else None
        stored.problem, stored.message = problem, str(error)[:500] if error else ""
    if client.api.circuit.has_succeeded:
        stored.notice = client.deprecation[:500] if isinstance(client, GitHubClient) else ""
    if isinstance(client, GitHubClient):
        stored.has_token = client.has_token
        stored.token_expires_at = client.token_expires_at if client.knows_token_end else stored.token_expires_at
        if client.api.circuit.has_succeeded and stored.token_expires_at and stored.token_expires_at < now:
            stored.token_expires_at = None  # It has not ended then.
    stored.limit = stored.limit | describe_limits(client)
    stored.save(update_fields=COLUMNS)


def _has_proof(context: RunContext, client: Client) -> bool:
    if isinstance(client, GitHubClient):
        return client.api.circuit.has_succeeded
    counts = context.summary.counts()
    return any(counts[name] for name in PROOFS)


def describe_limits(client: Client) -> dict[str, object]:
    """The last rate limits that an API reported, if it did, and why the run stopped calling it."""
    error = client.api.circuit.error
    if isinstance(client, PipedriveClient):
        reported: dict[str, object] = {"daily_tokens": vars(client.daily_tokens)} if client.daily_tokens else {}
    else:
        reported = dict(client.remaining)
    return {
        **reported,
        "requests": client.request_count,
        "stopped": str(error) if error else "",
        "resets_at": error.resets_at.isoformat() if error and error.resets_at else None,
    }
