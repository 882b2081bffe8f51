"""The panel on the index page of the admin, and the order of its models."""

import re
from datetime import timedelta
from html import unescape
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.core.cache import cache
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from people.models import Gist, Person
from sync.admin.charts import MAX_DAYS, chart_gists, chart_runs
from tests.factories import create_gists, create_people, create_person, create_run, let_time_pass
from tests.sample_data import LOST, fill

pytestmark = [pytest.mark.django_db, pytest.mark.both]


def read_panel(client: Client) -> str:
    """The text of the index page, without tags and with single spaces."""
    cache.clear()
    html = client.get("/admin/").content.decode()
    text = re.sub(r"<[^>]+>", " ", re.sub(r"<(script|style).*?</\1>", "", html, flags=re.DOTALL))
    return re.sub(r" (?=[:,])", "", " ".join(unescape(text).split()))


def test_a_new_service_says_that_nothing_has_run_yet(admin_client: Client) -> None:
    text = read_panel(admin_client)

    assert "healthy No run has begun yet. The scheduler starts the first one, or: manage.py sync_gists" in text
    assert "Last successful run none yet" in text
    assert re.search(r"Next run in \d+ (hours|minutes) the first one, at the latest", text), text


def test_a_healthy_service_says_so(admin_client: Client) -> None:
    create_people(2, state="active", polled_at=timezone.now())
    create_run(outcome="succeeded", trigger="schedule", finished_at=timezone.now())

    text = read_panel(admin_client)

    assert "healthy No person waits too long for a poll, and no gist for its activity." in text
    assert "Backlog 0 gists wait" in text


def test_people_in_trouble_are_named_with_the_reason_and_since_when(admin_client: Client) -> None:
    fill()

    text = read_panel(admin_client)

    assert "degraded 2 problems, not urgent." in text
    assert f"3 gists of 1 person since 9 hours ago, last tried 2 hours ago: {LOST} ( @ken )" in text
    assert "People 1 new 10 active 1 gone 1 paused 2 in trouble" in text
    ken = Person.objects.get(github_username="ken")
    assert f'href="/admin/people/person/{ken.pk}/change/"' in admin_client.get("/admin/").content.decode()


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"outcome": "succeeded", "problem": "no"}, "nothing to do Next run"),
        (
            {"outcome": "misconfigured", "problem": "PIPEDRIVE_TOKEN is not set."},
            "nothing was done: PIPEDRIVE_TOKEN is not set.",
        ),
        (
            {"outcome": "failed", "counts": {"people_polled": 2}, "problem": "GitHub is down"},
            "2 people polled: GitHub is down",
        ),
        ({"outcome": "running"}, "counts follow at its end Next run"),
        ({"outcome": "crashed"}, "counts are unknown Next run"),
    ],
)
def test_the_last_run_is_shown_with_what_it_did_and_why_not_more(
    fields: dict[str, Any], expected: str, admin_client: Client
) -> None:
    create_run(trigger="schedule", **fields)

    assert expected in read_panel(admin_client).partition("Last run")[2]


def test_an_outage_is_urgent(admin_client: Client) -> None:
    create_people(8, state="active", polled_at=timezone.now())
    create_run(outcome="failed", trigger="schedule")
    let_time_pass(timedelta(hours=7))

    text = read_panel(admin_client)

    assert "unhealthy 1 problem: act now. not running since 7 hours ago: No run of sync_gists for all people" in text
    assert "Oldest poll 7 hours ago" in text
    assert "Next run overdue 4 hours ago" in text


@pytest.mark.parametrize("permissions", [[], ["view_person"], ["view_syncrun"]])
def test_staff_who_may_not_see_people_and_runs_get_no_panel(permissions: list[str], client: Client) -> None:
    user = User.objects.create_user("ben", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client.force_login(user)

    assert "Health" not in read_panel(client)


def test_the_number_of_statements_does_not_depend_on_the_rows(
    admin_client: Client, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    fill()
    for person in create_people(40, state="active"):
        create_gists(person, 3, push_state="rejected", push_error=f"no {person}")
    Gist.objects.update(pending_since=timezone.now() - timedelta(days=1))
    admin_client.get("/admin/")
    cache.clear()

    with django_assert_max_num_queries(50):
        admin_client.get("/admin/")


def test_a_description_cannot_inject_markup(admin_client: Client) -> None:
    person = create_person("ada", state="active", failures=1, last_error="<script>alert(1)</script>")
    Person.objects.filter(pk=person.pk).update(created_at=timezone.now() - timedelta(days=1))
    create_run(outcome="succeeded", trigger="schedule")

    html = admin_client.get("/admin/").content.decode()

    assert "<script>alert" not in html
    assert "&lt;script&gt;alert(1)" in html


def test_the_models_are_in_the_order_of_their_use(admin_client: Client) -> None:
    html = admin_client.get("/admin/").content.decode()

    names = re.findall(r'class="model-(\w+)', html)
    assert names[:7] == ["person", "gist", "consumer", "suppressed", "visit", "syncrun", "alarm"]


# --- charts ---
def test_charts_are_empty_without_runs_and_gists() -> None:
    for chart in (chart_runs(), chart_gists(timezone.now())):
        assert chart.bars == []


def test_the_runs_are_drawn_with_their_outcome() -> None:
    create_run(trigger="schedule", outcome="succeeded", counts={"gists_pushed": 4}, finished_at=timezone.now())
    create_run(trigger="requested", outcome="succeeded", counts={"gists_pushed": 99})
    create_run(trigger="schedule", outcome="failed", counts={"gists_pushed": 2, "people_failed": 1})
    create_run(trigger="schedule", outcome="crashed")

    chart = chart_runs()

    assert [(bar.kind, bar.height) for bar in chart.bars] == [
        ("pushed", 120.0),
        ("pushed", 60.0),
        ("failed", 30.0),
        ("failed", 30.0),
    ]
    assert [row[1:4] for row in chart.rows] == [("succeeded", "4", "0"), ("failed", "2", "1"), ("crashed", "0", "1")]


def test_gists_are_counted_by_the_day_on_which_they_were_stored() -> None:
    now = timezone.now().replace(hour=12)
    (first, second, third, _) = create_gists(create_person("ada"), 4)
    for gist, days in ((first, 1), (second, 1), (third, MAX_DAYS)):
        Gist.objects.filter(pk=gist.pk).update(created_at=now - timedelta(days=days))

    chart = chart_gists(now)

    assert [row[1] for row in chart.rows][-3:] == ["0", "2", "1"]
    assert sum(int(row[1]) for row in chart.rows) == 3


def test_each_bar_lies_inside_its_chart() -> None:
    fill()

    for chart in (chart_runs(), chart_gists(timezone.now())):
        assert chart.bars
        for bar in chart.bars:
            assert 0 <= bar.x <= bar.x + bar.width <= chart.width
            assert 0 <= bar.y <= bar.y + bar.height <= chart.height + 0.1
