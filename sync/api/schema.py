"""The OpenAPI description of the sync's operations: one decorator each."""

from drf_spectacular.utils import extend_schema

from people.api.schema import COMMON_RESPONSES, GITHUB_ID, UNKNOWN_PARAMETER, USERNAME, describe
from people.api.schema_examples import GIST_NOT_FOUND
from sync.api import schema_examples as examples
from sync.api.serializers import PushAttemptSerializer, StatusSerializer, SyncRunSerializer

get_status = extend_schema(
    operation_id="get_status",
    summary="Get the state of the sync: last runs, backlog, rejected gists, rate limits",
    responses={
        200: describe("The status.", examples.STATUS, StatusSerializer),
        400: UNKNOWN_PARAMETER,
        **COMMON_RESPONSES,
    },
)
list_sync_runs = extend_schema(
    operation_id="list_sync_runs",
    summary="List the runs of the last 90 days, newest first",
    responses={
        200: describe("A page of runs.", examples.RUN, SyncRunSerializer(many=True)),
        400: UNKNOWN_PARAMETER,
        404: describe("The page does not exist.", {"detail": "Invalid page."}),
        **COMMON_RESPONSES,
    },
)
list_attempts = extend_schema(
    operation_id="list_push_attempts",
    summary="List the attempts to push a gist in the last 90 days, newest first",
    parameters=[USERNAME, GITHUB_ID],
    responses={
        200: describe("A page of attempts.", examples.ATTEMPT, PushAttemptSerializer(many=True)),
        400: UNKNOWN_PARAMETER,
        404: describe("The person, the gist or the page does not exist.", GIST_NOT_FOUND),
        **COMMON_RESPONSES,
    },
)
get_sync_run = extend_schema(
    operation_id="get_sync_run",
    summary="Get one run",
    responses={
        (200, "application/json"): describe("The run.", examples.RUN, SyncRunSerializer),
        400: UNKNOWN_PARAMETER,
        404: describe("The run does not exist.", {"detail": "Run 7 does not exist."}),
        **COMMON_RESPONSES,
    },
)
