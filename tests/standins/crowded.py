"""A GitHub with as many people as a demo or a trial requests; some publish all the time."""

import re
from datetime import UTC, datetime
from typing import Any

from tests.standins.github import Account, GitHubStandIn
from tests.standins.wire import RecordedRequest, Response, json_response

STRANGER = "stranger-has-0-gists"


class CrowdedGitHub(GitHubStandIn):
    """An account whose login ends with `-has-N-gists` exists, with that many gists, from its first request on.

    `POST /users/LOGIN/gists` publishes one, which is not how GitHub does it. Its stream always has something new.
    """

    operations = (*GitHubStandIn.operations, ("publish", "POST", r"/users/[^/]+/gists"))

    def publish_now(self, login: str, description: str, **fields: Any) -> str:
        moment = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
        return self.publish(login, description, created_at=moment, updated_at=moment, **fields)

    def _route(self, request: RecordedRequest, token: str) -> Response:
        if request.operation == "publish":
            return self._publish(request)
        if request.operation == "stream":
            self._named(STRANGER)
            self.publish_now(STRANGER, "A gist of an account that is not tracked")
        return super()._route(request, token)

    def _publish(self, request: RecordedRequest) -> Response:
        login = request.path.split("/")[2]
        if login.lower() not in self._by_login:
            return json_response(404, {"message": "Not Found", "status": "404"})
        gist_id = self.publish_now(login, request.query.get("description", "Published by hand"))
        gist = self._named(login).gists[gist_id]
        return json_response(201, gist, {"location": gist["html_url"]})

    def _named(self, login: str) -> Account:
        match = re.search(r"-has-(\d+)-gists$", login)
        if match and login.lower() not in self._by_login:
            self.add_account(login)
            for number in range(int(match[1])):
                self.publish(login, f"Gist {number + 1} of {login}")
        return super()._named(login)
