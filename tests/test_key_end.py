"""The end of a consumer's API key is said before it comes, unless another key replaces it."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import call_command
from django.utils import timezone
from pytest_django import Settings

from people.keys import create_key
from people.models import ApiKey
from sync.health.alarms import send_notifications, update_alarms
from sync.health.judge import judge
from sync.health.problems import HealthProblem
from tests.factories import create_run
from tests.standins import WebhookStandIn

pytestmark = pytest.mark.django_db
DAY, SECOND = timedelta(days=1), timedelta(seconds=1)


@pytest.fixture(autouse=True)
def _service(db: None) -> None:
    create_run(outcome="succeeded", trigger="schedule")


@pytest.fixture
def receiver(settings: Settings) -> Iterator[WebhookStandIn]:
    with WebhookStandIn() as standin:
        settings.NOTIFY_URL = f"{standin.url}/x"
        yield standin


def create(name: str = "team", *, days: float | None = None, **columns: Any) -> ApiKey:
    end = None if days is None else timezone.now() + days * DAY
    key = create_key(name, read_only=columns.pop("read_only", False), expires_at=end).key
    ApiKey.objects.filter(pk=key.pk).update(**columns)
    return key


def find_problems() -> list[HealthProblem]:
    return list(judge(timezone.now()).problems)


@pytest.mark.parametrize(
    ("days", "columns", "is_told"),
    [
        (None, {}, False),
        (8, {}, False),
        (6.99, {}, True),
        (0.01, {}, True),
        (-1, {}, True),  # The consumer gets 401 now.
        (-6.99, {}, True),
        (-8, {}, False),  # The consumer may have been given up.
        (-1, {"revoked": True}, False),
        (3, {"revoked": True}, False),
        (3, {"read_only": True}, True),
    ],
)
def test_the_end_of_a_valid_key_is_a_ticket_a_week_before(
    days: float | None, columns: dict[str, Any], is_told: bool
) -> None:
    create(days=days, **columns)

    assert [(problem.code, problem.severity) for problem in find_problems()] == (
        [("api_keys_expire", "ticket")] if is_told else []
    )


@pytest.mark.parametrize(
    ("other", "is_told"),
    [
        ({}, False),
        ({"days": 400}, False),
        ({"days": 4}, False),
        ({"days": 2}, True),
        ({"name": "other-team"}, True),
        ({"read_only": True}, True),
        ({"revoked": True}, True),
    ],
    ids=str,
)
def test_a_key_that_another_one_replaces_is_not_told(other: dict[str, Any], is_told: bool) -> None:
    key = create(days=3)
    create(**other)

    assert any(key.prefix in problem.summary for problem in find_problems()) is is_told


def test_the_last_of_several_keys_is_told() -> None:
    first, last = create(days=2), create(days=4)

    (problem,) = find_problems()

    assert (first.prefix in problem.summary, last.prefix in problem.summary) == (False, True)


def test_the_message_names_consumer_and_key_and_the_command_helps(capsys: pytest.CaptureFixture[str]) -> None:
    key = create("dashboard", days=3, read_only=True)

    (problem,) = find_problems()
    assert f"dashboard ({key.prefix}) until {key.expiry_date:%Y-%m-%d %H:%M} UTC" in problem.summary
    assert "manage.py rotate_api_key NAME --expires DATE" in problem.action

    call_command("rotate_api_key", "dashboard", "--expires", "2999-01-31")
    assert find_problems() == []


def test_many_keys_are_one_short_message() -> None:
    for number in range(15):
        create(f"team-{number}", days=3)

    (problem,) = find_problems()

    assert problem.summary.count(" until ") == 10
    assert problem.summary.endswith(", and 5 more.")


def test_another_key_that_ends_is_told_although_one_was(receiver: WebhookStandIn) -> None:
    for name in ("first", "second"):
        create(name, days=3)
        for _ in range(2):
            update_alarms(judge(timezone.now()), timezone.now())
            send_notifications(timezone.now)

    messages = [request.json["message"] for request in receiver.requests]
    assert [("first" in message, "second" in message) for message in messages] == [(True, False), (True, True)]
