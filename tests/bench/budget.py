"""How many people can one GitHub token follow? A simulated day, with the request counting of the stand-in.

The product's own code decides what is requested (`poll_person`) and what is stored (`Store`); the stand-in answers
in the same process, without HTTP, and counts what GitHub would count. Time is virtual: 900 requests a minute.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from requests.structures import CaseInsensitiveDict

from tests.standins import GitHubStandIn
from tests.standins.wire import RecordedRequest

TOKEN = "budget-token"
REQUESTS_PER_MINUTE = 900
ROUNDS, HOURS_PER_ROUND = 8, 3
TWO_PAGES_EVERY = 200  # one person in this many has more gists than fit one page


class DirectApi:
    """The part of an Api that a GitHubClient uses, which passes requests to the stand-in directly."""

    def __init__(self, standin: GitHubStandIn) -> None:
        self.standin, self.request_count = standin, 0

    def get(self, url: str, *, headers: dict[str, str] | None = None) -> Any:
        from sync.clients.transport import Response

        self.request_count += 1
        parts = urlsplit(url)
        sent = {"user-agent": "x", "authorization": f"Bearer {TOKEN}", "host": "standin"}
        sent |= {name.lower(): value for name, value in (headers or {}).items()}
        operation = self.standin.operation_of("GET", parts.path)
        request = RecordedRequest(operation, "GET", parts.path, dict(parse_qsl(parts.query)), sent, b"")
        response = self.standin.respond(request)
        assert response.status in (200, 304), response
        return Response("GitHub GET", response.status, CaseInsensitiveDict(response.headers), response.body)


def simulate_day(people: int, changing: float) -> Iterator[tuple[str, str, str]]:
    """Rows (case, measured value, limit) for a day in which this share of the people publishes a gist."""
    from sync.clients.github import GitHubClient
    from sync.poll.store import PollStore

    standin = GitHubStandIn(tokens=(TOKEN,), hourly=10**9)
    client: Any = GitHubClient("http://standin", TOKEN)
    client.api = DirectApi(standin)
    now = datetime(2026, 6, 1, tzinfo=UTC)
    context: Any = SimpleNamespace(github=client, run_id=1)
    store: Any = PollStore(context)
    tracked = [_new_person(standin, number, now) for number in range(1, people + 1)]
    for person in tracked:
        _poll(person, client, store, now)
    paid_by_hour: dict[datetime, int] = {}
    round_requests = []
    for round_number in range(ROUNDS):
        now = datetime(2026, 6, 1, tzinfo=UTC) + timedelta(hours=HOURS_PER_ROUND * round_number)
        before_round = client.api.request_count
        for number, person in enumerate(tracked):
            if (number + round_number) % round(ROUNDS / changing) == 0:
                standin.publish(person.github_username)
            paid, requests = standin.used[True], client.api.request_count
            _poll(person, client, store, now)
            hour = now.replace(minute=0, second=0, microsecond=0)
            paid_by_hour[hour] = paid_by_hour.get(hour, 0) + standin.used[True] - paid
            now += timedelta(minutes=(client.api.request_count - requests) / REQUESTS_PER_MINUTE)
        round_requests.append(client.api.request_count - before_round)
    yield f"{people:,} people, {changing:.0%} changing a day, one token, a simulated day", "", ""
    yield "- requests in the largest round", f"{max(round_requests):,}", f"<= {900 * 60 * HOURS_PER_ROUND:,}"
    yield "- paid requests in the most expensive hour", f"{max(paid_by_hour.values()):,}", "<= 5,000"
    yield "- paid requests in the day", f"{sum(paid_by_hour.values()):,}", "<= 120,000"


def _poll(person: Any, client: Any, store: Any, now: datetime) -> None:
    """Poll a person and keep what the job would store."""
    from people.models import Person
    from sync.poll.poll import Target, is_full_read_due, poll_person
    from sync.poll.store import Polled

    target = Target(person.github_username, person.github_id, person.etag, is_full_read_due(person, now))
    poll = poll_person(target, client)
    columns = store._columns(Polled(person, target, now), person, poll, Person.State.ACTIVE, "", now)
    for name, value in columns.items():
        setattr(person, name, value)


def _new_person(standin: GitHubStandIn, number: int, now: datetime) -> Any:
    from people.models import Person

    account = standin.add_account(f"person-{number}")
    for _ in range(101 if number % TWO_PAGES_EVERY == 0 else 1):
        standin.publish(account.login)
    return Person(
        pk=number, github_username=account.login, username_key=account.login, github_id=account.id, state="active"
    )
