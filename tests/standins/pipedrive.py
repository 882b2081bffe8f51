"""A stand-in for Pipedrive's API v2: persons, their fields and activities, strict about the requests it accepts.

Colleagues who work in the CRM are imitated as well: they rename, merge, hide and delete persons, and edit, move and
delete activities.
"""

import itertools
import re
import time
from collections import deque
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.standins.faults import Fault, reset
from tests.standins.wire import RecordedRequest, Response, StandIn, json_response

ACTIVITY_FIELDS: dict[str, type] = {
    "subject": str,
    "type": str,
    "done": bool,
    "note": str,
    "due_date": str,
    "due_time": str,
    "duration": str,
    "owner_id": int,
    "participants": list,
}
PERSON_FIELDS: dict[str, type] = {
    "name": str,
    "emails": list,
    "phones": list,
    "owner_id": int,
    "visible_to": int,
    "custom_fields": dict,
}
STANDARD_FIELDS = {"name": "Name", "emails": "Email", "owner_id": "Owner"}
READ_ONLY_PERSON = (
    "'person_id' is a read-only field. Add a primary participant to set 'person_id' instead. "
    'For example: "participants": [{ "person_id": 1, "primary": true }]'
)
QUERIES = {
    "search_persons": {"term", "fields", "exact_match", "limit", "cursor"},
    "list_persons": {"sort_by", "sort_direction", "limit", "cursor"},
    "list_activities": {"person_id", "sort_by", "sort_direction", "limit", "cursor", "updated_since"},
    "get_person": {"include_fields"},
    "list_fields": {"limit", "cursor", "include_fields"},
    "search_items": {"term", "entity_type", "match", "field", "limit", "cursor"},
}
COSTS = {
    "search_persons": 20,
    "list_persons": 10,
    "get_person": 1,
    "create_person": 5,
    "edit_person": 5,
    "list_fields": 10,
    "create_field": 5,
    "search_items": 20,
    "list_activities": 10,
    "create_activity": 5,
    "get_activity": 1,
    "edit_activity": 5,
    "delete_activity": 3,
    "current_user": 2,
    "activity_types": 20,
    "permissions": 20,
}
NOTE_LIMIT = 100 * 1024
TOKEN_USER = 1


class PipedriveStandIn(StandIn):
    operations = (
        ("search_persons", "GET", r"/api/v2/persons/search"),
        ("list_persons", "GET", r"/api/v2/persons"),
        ("create_person", "POST", r"/api/v2/persons"),
        ("get_person", "GET", r"/api/v2/persons/\d+"),
        ("edit_person", "PATCH", r"/api/v2/persons/\d+"),
        ("list_fields", "GET", r"/api/v2/personFields"),
        ("create_field", "POST", r"/api/v2/personFields"),
        ("search_items", "GET", r"/api/v2/itemSearch/field"),
        ("list_activities", "GET", r"/api/v2/activities"),
        ("create_activity", "POST", r"/api/v2/activities"),
        ("get_activity", "GET", r"/api/v2/activities/\d+"),
        ("edit_activity", "PATCH", r"/api/v2/activities/\d+"),
        ("delete_activity", "DELETE", r"/api/v2/activities/\d+"),
        ("activity_types", "GET", r"/api/v1/activityTypes"),
        ("current_user", "GET", r"/api/v1/users/me"),
        ("permissions", "GET", r"/api/v1/users/\d+/permissions"),
    )

    def __init__(self, port: int = 0, *, tokens: tuple[str, ...] = ("pd-token",), host: str = "127.0.0.1") -> None:
        super().__init__(port, host=host)
        self.tokens = set(tokens)
        self.persons: dict[int, dict[str, Any]] = {}
        self.activities: dict[int, dict[str, Any]] = {}
        self.fields: dict[str, str] = {}  # custom fields of persons: name by key
        self.field_types: dict[str, str] = {}  # of those that are not varchar, by key
        self.permissions = {"can_add_people": True, "can_add_custom_fields": True}  # of the token's user
        self.counts_activities = True  # in the record of a person, on request
        self.max_fields = 30  # of the plan
        self.users = {TOKEN_USER: True}  # id: active?
        self.files_under: int | None = 0  # another person for new activities; None: no person
        self.refused_subjects: set[str] = set()
        self.breaks_at: set[str] = set()  # subjects of activities at which the connection is closed
        self.daily_requests_left: int | None = None  # POST and PUT; None: no limit
        self.daily_tokens: int | None = 50 * 7 * 30_000  # of 50 seats on the largest plan; None: not reported
        self.required_field = ""  # that a colleague has made required for new activities
        self.forbidden: set[str] = set()  # operations for which the token's user lacks the permission
        self.hidden: set[int] = set()  # persons that the token's user may not see
        self.types = {"call": True, "task": True, "meeting": True, "lunch": False}  # key: active?
        self.spent = 0
        self.search_lags = False  # The search index does not contain yet what the API created.
        self.lists_until: int | None = None  # Lists and counts lag: they end at this id.
        self.limits: dict[str, int] = {}  # requests per rolling 2 s, by "general" and "search"
        self._arrivals: dict[str, deque[float]] = {"general": deque(), "search": deque()}
        self.rate_limited_count = 0  # responses with 429
        self._ids = itertools.count(1)

    # --- events at Pipedrive ---
    def add_person(self, name: str, *, email: str | None = None) -> int:
        with self.lock:
            emails = [{"value": email, "primary": True}] if email else []
            return self._new_person({"name": name, "emails": emails, "created_by_api": False})

    def rename_person(self, person_id: int, name: str) -> None:
        with self.lock:
            self.persons[person_id]["name"] = name

    def merge_person(self, person_id: int, into: int) -> None:
        """Its activities are moved, and its empty fields are filled; then it is deleted."""
        with self.lock:
            merged, survivor = self.persons[person_id], self.persons[into]
            survivor["custom_fields"] = {**merged["custom_fields"], **survivor["custom_fields"]}
            survivor["emails"] = [*survivor["emails"], *merged["emails"]]
            merged["is_deleted"] = True
            for row in self.activities.values():
                if row["person_id"] == person_id:
                    row["person_id"] = into

    def edit_activity(self, activity_id: int, **changes: Any) -> None:
        """By a colleague."""
        with self.lock:
            self.activities[activity_id].update(changes, update_time=_timestamp(later=60))

    def delete_field(self, key: str) -> None:
        with self.lock:
            del self.fields[key]
            for person in self.persons.values():
                person["custom_fields"].pop(key, None)

    def delete_person(self, person_id: int) -> None:
        with self.lock:
            self.persons[person_id]["is_deleted"] = True

    def delete_activity(self, activity_id: int) -> None:
        with self.lock:
            self.activities[activity_id]["is_deleted"] = True

    def activities_of(self, person_id: int) -> list[dict[str, Any]]:
        with self.lock:
            return [row for row in self.activities.values() if row["person_id"] == person_id and not row["is_deleted"]]

    def gist_ids(self) -> list[str]:
        """The gist of each activity that is not deleted, by the first link in its note."""
        with self.lock:
            notes = [row["note"] for row in self.activities.values() if not row["is_deleted"]]
        return [found.group(1) for note in notes if (found := re.search(r'href="[^"]*/([0-9a-f]+)"', note))]

    # --- responses ---
    def respond(self, request: RecordedRequest) -> Response:
        headers = {"x-ratelimit-limit": "100", "x-ratelimit-remaining": "99", "x-ratelimit-reset": "2"}
        window = "search" if request.operation in ("search_persons", "search_items") else "general"
        if window in self.limits:
            headers = self._count_arrival(window)
            if "retry-after" in headers:
                return json_response(429, {"success": False, "error": "request over limit"}, headers)
        if request.headers.get("x-api-token") not in self.tokens or "api_token" in request.query:
            return json_response(401, {"success": False, "error": "unauthorized access", "errorCode": 401}, headers)
        if self.daily_tokens is not None:
            left = self.daily_tokens - self.spent
            headers["x-daily-ratelimit-token-limit"] = str(self.daily_tokens)
            headers["x-daily-ratelimit-token-remaining"] = str(max(left - COSTS.get(request.operation, 2), 0))
            if left <= 0:
                return json_response(429, {"success": False, "error": "daily request limit exceeded"}, headers)
        self.spent += COSTS.get(request.operation, 2)
        if request.operation in self.forbidden:
            return json_response(403, {"success": False, "error": "Scope and URL mismatch"}, headers)
        unknown = set(request.query) - QUERIES.get(request.operation, set())
        if unknown:
            return rejection(f"Parameter '{unknown.pop()}' is not allowed for this request")
        process = getattr(self, f"_{request.operation}", None)
        unknown_method = json_response(404, {"success": False, "error": "Unknown method."})
        if request.method in ("POST", "PUT") and self.daily_requests_left is not None:
            self.daily_requests_left -= 1
            headers["x-daily-requests-left"] = str(self.daily_requests_left)
        response: Response = process(request) if process else unknown_method
        return Response(response.status, response.body, {**response.headers, **headers})

    def _fault_for(self, request: RecordedRequest) -> Fault | None:
        if request.operation == "create_activity" and request.json.get("subject") in self.breaks_at:
            return reset()
        return super()._fault_for(request)

    def _count_arrival(self, window: str) -> dict[str, str]:
        """Count a request when it arrives, in a rolling window of two seconds, as Pipedrive documents it."""
        now, arrivals, limit = time.monotonic(), self._arrivals[window], self.limits[window]
        while arrivals and arrivals[0] <= now - 2:
            arrivals.popleft()
        headers = {"x-ratelimit-limit": str(limit), "x-ratelimit-reset": "2"}
        if len(arrivals) >= limit:
            self.rate_limited_count += 1
            return {**headers, "x-ratelimit-remaining": "0", "retry-after": "2"}
        arrivals.append(now)
        return {**headers, "x-ratelimit-remaining": str(limit - len(arrivals))}

    def _search_persons(self, request: RecordedRequest) -> Response:
        term, exact = request.query["term"].lower(), request.query.get("exact_match") == "true"
        if len(term) < (1 if exact else 2):
            return rejection("search term is too short")
        by_email = request.query.get("fields") == "email"
        found = []
        for person in self._not_deleted(self.persons):
            if self.search_lags and person["created_by_api"]:
                continue
            values = [row["value"] for row in person["emails"]] if by_email else [person["name"]]
            if any(value.lower() == term if exact else term in value.lower() for value in values):
                emails = [row["value"] for row in person["emails"]]
                found.append({"item": {"id": person["id"], "name": person["name"], "emails": emails}})
        return self._page(found, request, wrap=lambda rows: {"items": rows})

    def _list_persons(self, request: RecordedRequest) -> Response:
        return self._page(self._sorted(self._listed(self.persons), request), request)

    def _search_items(self, request: RecordedRequest) -> Response:
        key, term = request.query["field"], request.query["term"]
        if request.query["entity_type"] != "person" or request.query["match"] != "exact" or key not in self.fields:
            return rejection("field is not searchable")
        rows = [row for row in self._not_deleted(self.persons) if row["custom_fields"].get(key) == term]
        if self.search_lags:
            rows = [row for row in rows if not row["created_by_api"]]
        return self._page([{"id": row["id"], "name": row["name"]} for row in rows], request)

    def _visible_person(self, request: RecordedRequest) -> dict[str, Any] | None:
        person_id = _id_of(request)
        return None if person_id in self.hidden else self.persons.get(person_id)

    def _get_person(self, request: RecordedRequest) -> Response:
        person = self._visible_person(request)
        if person is None:
            return not_found()
        if request.query.get("include_fields") == "activities_count" and self.counts_activities:
            count = len([row for row in self._listed(self.activities) if row["person_id"] == person["id"]])
            person = {**person, "activities_count": count}
        return json_response(200, {"success": True, "data": person})

    def _edit_person(self, request: RecordedRequest) -> Response:
        person = self._visible_person(request)
        if person is None or person["is_deleted"]:
            return not_found()
        error = find_body_error(request.json, PERSON_FIELDS) or self._find_field_error(request.json)
        if error:
            return rejection(error)
        person["custom_fields"].update(request.json.get("custom_fields", {}))
        person.update({name: value for name, value in request.json.items() if name != "custom_fields"})
        return json_response(200, {"success": True, "data": person})

    def _find_field_error(self, body: dict[str, Any]) -> str:
        unknown = set(body.get("custom_fields", {})) - set(self.fields)
        return f"unknown custom field {unknown.pop()}" if unknown else ""

    def _list_fields(self, request: RecordedRequest) -> Response:
        fields = [*STANDARD_FIELDS.items(), *self.fields.items()]
        rows = [
            {"field_code": key, "field_name": name, "field_type": self.field_types.get(key, "varchar")}
            for key, name in fields
        ]
        return self._page(rows, request)

    def _create_field(self, request: RecordedRequest) -> Response:
        error = find_body_error(request.json, {"field_name": str, "field_type": str})
        if error:
            return rejection(error)
        if len(self.fields) >= self.max_fields:
            return json_response(403, {"success": False, "error": "You've reached the custom field limit of your plan"})
        key = f"{next(self._ids):040x}"
        self.fields[key] = request.json["field_name"]
        row = {"field_code": key, "field_name": request.json["field_name"], "field_type": request.json["field_type"]}
        return json_response(201, {"success": True, "data": row})

    def _create_person(self, request: RecordedRequest) -> Response:
        error = find_body_error(request.json, PERSON_FIELDS) or self._find_field_error(request.json)
        if error or not request.json.get("name"):
            return rejection(error or "name is required")
        return json_response(201, {"success": True, "data": self.persons[self._new_person(request.json)]})

    def _list_activities(self, request: RecordedRequest) -> Response:
        rows = self._listed(self.activities)
        if "person_id" in request.query:
            rows = [row for row in rows if row["person_id"] == int(request.query["person_id"])]
        if "updated_since" in request.query:
            rows = [row for row in rows if row["update_time"] >= request.query["updated_since"]]
        return self._page(self._sorted(rows, request), request)

    def _create_activity(self, request: RecordedRequest) -> Response:
        body = request.json
        error = find_activity_error(body)
        primary = [row for row in body.get("participants", []) if row.get("primary")] if not error else []
        if error or len(primary) != 1:
            return rejection(error or "one primary participant is required")
        person = self.persons.get(primary[0]["person_id"])
        if person is None or person["is_deleted"] or person["id"] in self.hidden:
            return not_found()
        if not self.types.get(body.get("type", "task")):
            return rejection("Activity type is not valid")
        if not self.users.get(body.get("owner_id", TOKEN_USER)):
            return rejection("owner_id: the user is not active")
        if body.get("subject") in self.refused_subjects:
            return rejection("subject is odd")
        if self.required_field and self.required_field not in body:
            return rejection(f"{self.required_field} is required")
        row = {"owner_id": TOKEN_USER, **self._new(), **body, "person_id": person["id"], "arrived_at": time.monotonic()}
        if self.files_under != 0:
            row["person_id"] = self.files_under
            row["participants"] = [{"person_id": self.files_under, "primary": True}] if self.files_under else []
        self.activities[row["id"]] = row
        return json_response(201, {"success": True, "data": row})

    def _get_activity(self, request: RecordedRequest) -> Response:
        row = self.activities.get(_id_of(request))
        return json_response(200, {"success": True, "data": row}) if row else not_found()

    def _delete_activity(self, request: RecordedRequest) -> Response:
        row = self.activities.get(_id_of(request))
        if row is None or row["is_deleted"]:
            return not_found()
        row["is_deleted"] = True
        return json_response(200, {"success": True, "data": {"id": row["id"]}})

    def _current_user(self, request: RecordedRequest) -> Response:
        user = {"id": TOKEN_USER, "name": "Olga Operator", "company_name": "Acme", "company_domain": "acme"}
        return json_response(200, {"success": True, "data": user})

    def _permissions(self, request: RecordedRequest) -> Response:
        return json_response(200, {"success": True, "data": self.permissions})

    def _edit_activity(self, request: RecordedRequest) -> Response:
        row = self.activities.get(_id_of(request))
        if row is None or row["is_deleted"]:
            return not_found()
        error = find_activity_error(request.json)
        if error:
            return rejection(error)
        row.update(request.json, update_time=_timestamp())
        return json_response(200, {"success": True, "data": row})

    def _activity_types(self, request: RecordedRequest) -> Response:
        rows = [{"key_string": key, "active_flag": active} for key, active in self.types.items()]
        return json_response(200, {"success": True, "data": rows})

    def _new(self) -> dict[str, Any]:
        now = _timestamp()
        return {"id": next(self._ids), "add_time": now, "update_time": now, "is_deleted": False}

    def _new_person(self, body: dict[str, Any]) -> int:
        row = {"owner_id": TOKEN_USER, **self._new(), "emails": [], "created_by_api": True, "custom_fields": {}, **body}
        self.persons[row["id"]] = row
        return int(row["id"])

    @staticmethod
    def _not_deleted(table: dict[int, dict[str, Any]]) -> list[dict[str, Any]]:
        return [row for row in table.values() if not row["is_deleted"]]

    def _listed(self, table: dict[int, dict[str, Any]]) -> list[dict[str, Any]]:
        rows = self._not_deleted(table)
        return [row for row in rows if self.lists_until is None or row["id"] <= self.lists_until]

    @staticmethod
    def _sorted(rows: list[dict[str, Any]], request: RecordedRequest) -> list[dict[str, Any]]:
        field = request.query.get("sort_by", "id")
        return sorted(
            rows, key=lambda row: (row[field], row["id"]), reverse=request.query.get("sort_direction") == "desc"
        )

    @staticmethod
    def _page(rows: list[dict[str, Any]], request: RecordedRequest, wrap: Any = lambda rows: rows) -> Response:
        limit = int(request.query.get("limit", 100))
        start = int(request.query.get("cursor", "c0").removeprefix("c"))
        more = f"c{start + limit}" if start + limit < len(rows) else None
        data = wrap(rows[start : start + limit])
        return json_response(200, {"success": True, "data": data, "additional_data": {"next_cursor": more}})


def _id_of(request: RecordedRequest) -> int:
    return int(request.path.rsplit("/", 1)[1])


def _timestamp(later: float = 0) -> str:
    return (datetime.now(UTC) + timedelta(seconds=later)).strftime("%Y-%m-%dT%H:%M:%SZ")


def rejection(reason: str) -> Response:
    return json_response(400, {"success": False, "error": f"Validation failed: {reason}", "code": "ERR_BAD_REQUEST"})


def not_found() -> Response:
    return json_response(404, {"success": False, "error": "Entity not found", "code": "ERR_NOT_FOUND"})


def find_activity_error(body: Any) -> str:
    if isinstance(body, dict) and "person_id" in body:
        return READ_ONLY_PERSON
    error = find_body_error(body, ACTIVITY_FIELDS)
    if not error and len(body.get("note", "").encode()) > NOTE_LIMIT:
        return "note is too long"
    return error or ("subject is too long" if len(body.get("subject", "")) > 255 else "")


def find_body_error(body: Any, fields: dict[str, type]) -> str:
    """Unknown fields and wrong types are rejected; true is not 1 and "7" is not 7."""
    if not isinstance(body, dict):
        return "body must be an object"
    for name, value in body.items():
        if name not in fields:
            return f"{name}: Parameter '{name}' is not allowed for this request"
        if type(value) is not fields[name]:
            return f"{name} must be {fields[name].__name__}"
    return ""
