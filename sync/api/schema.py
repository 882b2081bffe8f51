"""The OpenAPI description of the sync's operations: one decorator each."""

from drf_spectacular.settings import spectacular_settings
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema

from gisttracker.common.error_codes import ErrorCode
from people.api.schema import GITHUB_ID, UNKNOWN_PARAMETER, USERNAME, describe, page
from people.api.schema_errors import errors
from sync.api import schema_examples as examples
from sync.api.serializers import PushAttemptSerializer, StatusSerializer, SyncRunSerializer
from sync.health.problems import Code, HealthState
from sync.models import Alarm, Problem, PushAttempt, SyncRun

spectacular_settings.ENUM_NAME_OVERRIDES.update(
    {
        "RunOutcome": SyncRun.Outcome,
        "AttemptKind": PushAttempt.Kind,
        "AttemptOutcome": PushAttempt.Outcome,
        "Severity": Alarm.Severity,
        "HealthProblemCode": Code,
        "ProblemCode": Problem.Code,
        "HealthState": HealthState,
    }
)

RUN_ID = OpenApiParameter("id", {"type": "integer", "minimum": 1}, OpenApiParameter.PATH, description="the run")

get_status = extend_schema(
    tags=["sync"],
    operation_id="get_status",
    description="Is the service healthy, if not why, and since when. The counts may be 30 seconds old.",
    summary="Get the state of the sync: last runs, backlog, rejected gists, rate limits",
    responses={
        200: describe("The status.", examples.STATUS, StatusSerializer),
        **UNKNOWN_PARAMETER,
    },
)
list_sync_runs = extend_schema(
    tags=["sync"],
    operation_id="list_sync_runs",
    description="Each call of `sync_gists` is a run, except dry runs, and those with `--requested` that find no work.",
    extensions=page(examples.RUN),
    summary="List the runs of the last 90 days, newest first",
    responses={
        200: OpenApiResponse(SyncRunSerializer(many=True), description="A page of runs."),
        **UNKNOWN_PARAMETER,
        **errors(ErrorCode.PAGE_NOT_FOUND),
    },
)
list_attempts = extend_schema(
    tags=["gists"],
    operation_id="list_push_attempts",
    description="Each attempt is one request to Pipedrive, with its outcome.",
    extensions=page(examples.ATTEMPT),
    summary="List the attempts to push a gist in the last 90 days, newest first",
    parameters=[USERNAME, GITHUB_ID],
    responses={
        200: OpenApiResponse(PushAttemptSerializer(many=True), description="A page of attempts."),
        **UNKNOWN_PARAMETER,
        **errors(ErrorCode.NOT_TRACKED, ErrorCode.GIST_NOT_FOUND, ErrorCode.PAGE_NOT_FOUND),
    },
)
get_sync_run = extend_schema(
    tags=["sync"],
    operation_id="get_sync_run",
    description="A run with its counters, limits and problems.",
    parameters=[RUN_ID],
    summary="Get one run",
    responses={
        200: describe("The run.", examples.RUN, SyncRunSerializer),
        **UNKNOWN_PARAMETER,
        **errors(ErrorCode.RUN_NOT_FOUND),
    },
)
