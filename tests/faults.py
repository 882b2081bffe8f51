"""What can be wrong with a response: faults, and lies of each API. The tests send them to clients and to whole runs."""

import time
from collections.abc import Callable

from tests.standins import Fault, cut_body, refuse, reset, respond, silence, trickle

HTML = {"content-type": "text/html"}
FOREVER = 600.0  # seconds; longer than any timeout of a client

FAULTS: dict[str, Callable[[str], Fault]] = {
    # name: the fault; `echo` is a body that repeats the token
    "refused": lambda echo: refuse(),
    "reset before": lambda echo: reset(),
    "reset after": lambda echo: reset(after=True),
    "timeout before": lambda echo: silence(FOREVER),
    "timeout after": lambda echo: silence(FOREVER, after=True),
    "trickle": lambda echo: trickle(0.02),
    "500": lambda echo: respond(500, echo),
    "502 html": lambda echo: respond(502, "<html>Bad gateway", HTML),
    "502 after": lambda echo: respond(502, "<html>Bad gateway", HTML, after=True),
    "503 retry-after": lambda echo: respond(503, echo, {"retry-after": "600"}),
    "429 retry-after": lambda echo: respond(429, echo, {"retry-after": "600"}),
    "429 bare": lambda echo: respond(429, echo),
    "403 primary": lambda echo: respond(
        403, echo, {"x-ratelimit-remaining": "0", "x-ratelimit-reset": str(int(time.time()) + 1800)}
    ),
    "403 secondary": lambda echo: respond(403, '{"message": "You have exceeded a secondary rate limit. Wait."}'),
    "403 cloudflare": lambda echo: respond(403, "<html>This error is produced by Cloudflare", HTML),
    "401": lambda echo: respond(401, echo),
    "402": lambda echo: respond(402, echo),
    "404": lambda echo: respond(404, echo),
    "410": lambda echo: respond(410, echo),
    "422": lambda echo: respond(422, echo),
    "empty": lambda echo: respond(200, "", after=True),
    "null": lambda echo: respond(200, "null", after=True),
    "wrong shape": lambda echo: respond(200, '{"data": "surprise"}', after=True),
    "not json": lambda echo: respond(200, "<html>Hello", HTML, after=True),
    "cut body": lambda echo: cut_body(),
    "redirect": lambda echo: respond(302, "", {"location": "https://elsewhere.test/"}),
    "1 MB": lambda echo: respond(200, "x" * 1_000_000, after=True),
}
GITHUB_LIES: dict[str, Fault] = {
    "404 of GitHub": respond(404, '{"message": "Not Found", "documentation_url": "https://docs.github.com/rest"}'),
    "404 of a gateway": respond(404, "<html>no such route</html>", HTML),
    "410": respond(410, '{"message": "Gone"}'),
    "200 with an empty object": respond(200, "{}"),
    "200 with null": respond(200, "null"),
    "200 with an empty list": respond(200, "[]", {"etag": '"lie"'}),
    "200 with an empty body": respond(200, ""),
    "200 with a page of HTML": respond(200, "<html>Welcome</html>", HTML),
    "200 with a problem document": respond(200, '{"type": "about:blank", "title": "Bad gateway", "status": 502}'),
    "200 with half of a list": respond(200, '[{"id": "abc"'),
    "200 about another account": respond(200, '{"id": 999999, "login": "mallory", "type": "User", "public_gists": 0}'),
    "200 with numbers outside any range": respond(200, '{"id": 1e999, "login": "ada", "public_gists": -1}'),
    "204": respond(204),
    "304": respond(304),
    "301 in a circle": respond(301, "", {"location": "/user/1001"}),
    "400": respond(400, '{"message": "Bad Request"}'),
    "403": respond(403, '{"message": "Forbidden"}'),
    "406": respond(406, '{"message": "Not Acceptable"}'),
    "422": respond(422, '{"message": "Validation Failed"}'),
    "451": respond(451, '{"message": "Unavailable For Legal Reasons"}'),
    "500": respond(500, "{}"),
    "503 with a date beyond any": respond(503, "", {"retry-after": "Fri, 31 Dec 9999 23:59:59 GMT"}),
    "body cut": cut_body(),
    "reset": reset(),
}
PIPEDRIVE_LIES: dict[str, Fault] = {
    "404 of Pipedrive": respond(404, '{"success": false, "error": "Entity not found"}'),
    "404 of a gateway in HTML": respond(404, "<html>no such route</html>", HTML),
    "404 of a gateway in JSON": respond(404, '{"message": "no Route matched with those values"}'),
    "410": respond(410, '{"success": false, "error": "Gone"}'),
    "200 with an empty object": respond(200, "{}"),
    "200 with null": respond(200, "null"),
    "200 with an empty list": respond(200, "[]"),
    "200 without data": respond(200, '{"success": true}'),
    "200 with data null": respond(200, '{"success": true, "data": null}'),
    "200 with an object instead of a list": respond(200, '{"success": true, "data": {}}'),
    "200 with a well-formed empty list": respond(200, '{"success": true, "data": []}'),
    "200 with an empty search": respond(200, '{"success": true, "data": {"items": []}}'),
    "200 with unreadable rows": respond(200, '{"success": true, "data": [{"odd": 1}, null]}'),
    "200 with the record of another id": respond(200, '{"success": true, "data": {"id": 999999}}'),
    "200 with a cursor in a circle": respond(
        200, '{"success": true, "data": [], "additional_data": {"next_cursor": "c1"}}'
    ),
    "200 without success": respond(200, '{"success": false, "error": "try later"}'),
    "200 with an empty body": respond(200, ""),
    "200 with a page of HTML": respond(200, "<html>Log in</html>", HTML),
    "200 with half of a list": respond(200, '{"success": true, "data": [{"id": 1'),
    "204": respond(204),
    "301 in a circle": respond(301, "", {"location": "/api/v2/activities"}),
    "400": respond(400, '{"success": false, "error": "deal_id is required"}'),
    "403": respond(403, '{"success": false, "error": "Scope and URL mismatch"}'),
    "403 as a block": respond(403, "<html>Sorry, you have been blocked</html>", HTML),
    "429 as a block": respond(429, '{"title": "Rate limited", "retry_after": 30}'),
    "500": respond(500, "{}"),
    "body cut": cut_body(),
    "reset": reset(),
    "reset after processing": reset(after=True),
}
