"""The admin's pages of runs, alarms and API keys."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from rest_framework.test import APIClient

from people.admin.markup import duration_in_words
from people.models import ApiKey, Consumer
from sync.models import Alarm
from tests.factories import create_key, create_run

pytestmark = pytest.mark.django_db
NOW = timezone.now


def get(client: Client, url: str) -> str:
    response = client.get(url)
    assert response.status_code == 200, response
    return response.content.decode()


# --- runs ---


def test_a_run_is_shown_in_words(admin_client: Client) -> None:
    run = create_run(
        outcome="rate_limited",
        started_at=NOW() - timedelta(hours=1),
        finished_at=NOW() - timedelta(minutes=57, seconds=48),
        counts={"people_polled": 1, "gists_new": 2, "gists_rejected": 0, "unknown": 3},
        limits={
            "github": {"remaining": 4997.0, "requests": 1, "stopped": "", "resets_at": None},
            "pipedrive": {
                "remaining": 0,
                "requests": 1200,
                "stopped": "no tokens",
                "resets_at": "2026-11-24T10:00:00+00:00",
            },
        },
    )

    listed, page = get(admin_client, "/admin/sync/syncrun/"), get(admin_client, f"/admin/sync/syncrun/{run.pk}/change/")

    for text in ('<span class="badge badge-warning">rate limited</span>', "2 min 12 s", "1 person polled, 2 new gists"):
        assert text in listed
        assert text in page
    assert "1 request sent; 4,997 remaining" in page
    assert (
        "1,200 requests sent; 0 remaining; stopped: no tokens; requests are possible again at 2026-11-24 10:00" in page
    )


def test_a_run_that_has_not_ended_has_a_duration_so_far(admin_client: Client) -> None:
    create_run(started_at=NOW() - timedelta(hours=2))
    create_run(outcome="crashed")

    page = get(admin_client, "/admin/sync/syncrun/")

    assert "2 h so far" in page
    assert 'field-duration">unknown<' in page


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.42, "0.4 s"),
        (59.9, "59.9 s"),
        (60, "1 min"),
        (132, "2 min 12 s"),
        (7500, "2 h 5 min"),
        (180000, "2 d 2 h"),
        (-5, "0.0 s"),
    ],
)
def test_durations_are_words(seconds: float, words: str) -> None:
    assert duration_in_words(timedelta(seconds=seconds)) == words


# --- alarms ---


def test_alarms_are_listed_with_their_duration(admin_client: Client) -> None:
    started = NOW() - timedelta(hours=3)
    Alarm.objects.create(code="stale", open_code="stale", severity="page", message="No polls.", raised_at=started)
    Alarm.objects.create(
        code="old",
        severity="ticket",
        message="Was bad.",
        raised_at=started,
        resolved_at=NOW() - timedelta(hours=1),
    )

    both = get(admin_client, "/admin/sync/alarm/")
    opened, ended = get(admin_client, "/admin/sync/alarm/?open=yes"), get(admin_client, "/admin/sync/alarm/?open=no")

    assert '<span class="badge badge-error">page</span>' in both
    assert 'field-duration">3 h<' in both
    assert 'field-duration">2 h<' in both
    assert ("No polls." in opened, "Was bad." in opened) == (True, False)
    assert ("No polls." in ended, "Was bad." in ended) == (False, True)


# --- keys ---


def test_a_key_shows_when_it_was_used_and_whether_it_is_valid(admin_client: Client) -> None:
    create_key("never used")
    create_key("expired", expiry_date=NOW() - timedelta(days=1))
    create_key("revoked", revoked=True)
    create_key("limited", expiry_date=NOW() + timedelta(days=1), read_only=True)
    ApiKey.objects.filter(name="limited").update(last_used_at=NOW() - timedelta(days=3))

    page = get(admin_client, "/admin/people/consumer/")
    details = [get(admin_client, f"/admin/people/consumer/{row.pk}/change/") for row in Consumer.objects.all()]

    for text in ('badge-ok">1 valid key<', 'badge-error">no valid key<', 'badge-warning">1 valid key, the last one'):
        assert text in page
    assert re.search(r"3.days ago", page)
    for text in ('badge-ok">does not expire', 'badge-error">expired on', 'badge-error">revoked', 'badge-ok">until'):
        assert any(text in detail for detail in details)
    assert any("read only" in detail for detail in details)


def test_the_use_of_a_key_is_recorded_without_a_write_in_each_request(api: APIClient) -> None:
    api.credentials(HTTP_AUTHORIZATION=f"Api-Key {create_key()}")

    api.get("/api/v1/people")
    first = ApiKey.objects.get().last_used_at
    api.get("/api/v1/people")
    second = ApiKey.objects.get().last_used_at
    ApiKey.objects.update(last_used_at=NOW() - timedelta(minutes=11))
    api.get("/api/v1/people")
    third = ApiKey.objects.get().last_used_at

    assert first is not None
    assert second == first
    assert third is not None
    assert third >= first


@pytest.mark.parametrize("fields", [{"revoked": True}, {"expiry_date": NOW() - timedelta(days=1)}])
def test_a_refused_key_was_not_used(fields: dict[str, Any], api: APIClient) -> None:
    api.credentials(HTTP_AUTHORIZATION=f"Api-Key {create_key(**fields)}")

    assert api.get("/api/v1/people").status_code == 401
    assert ApiKey.objects.get().last_used_at is None
