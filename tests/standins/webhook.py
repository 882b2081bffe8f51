"""A receiver of webhooks: accepts every POST, and keeps it."""

from tests.standins.wire import RecordedRequest, Response, StandIn


class WebhookStandIn(StandIn):
    operations = (("post", "POST", "/.*"),)

    def respond(self, request: RecordedRequest) -> Response:
        return Response(200, b"ok") if request.operation == "post" else Response(405)
