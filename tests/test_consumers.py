"""Consumers outlive their keys: creation, rotation, revocation, in commands, the API and the admin."""

import contextlib
import re
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone
from pytest_django import Settings
from rest_framework.test import APIClient

from people.keys import create_key, parse_consumer_name, rotate_key
from people.models import ApiKey, Consumer, Visit
from tests.conftest import run_concurrently
from tests.factories import create_gist, create_person

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _keys_are_required(settings: Settings) -> None:
    settings.API_AUTH = "key"


def client_with(secret: str) -> APIClient:
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Api-Key {secret}")
    return client


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Run a command; returns the last word on stdout, which is the key."""
    capsys.readouterr()
    call_command(*arguments)
    return capsys.readouterr().out.split()[-1]


def read_gists(secret: str) -> list[str]:
    return [gist["github_id"] for gist in client_with(secret).get("/api/v1/people/ada").json()["gists"]]


@pytest.mark.both
@pytest.mark.parametrize("command", [["rotate_api_key", "team"], ["create_api_key", "team"]], ids=" ".join)
def test_a_new_key_of_a_consumer_shows_only_what_is_new(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    person = create_person("ada")
    create_gist(person)
    old = run(capsys, "create_api_key", "team")
    assert len(read_gists(old)) == 1

    new = run(capsys, *command)
    second = create_gist(person)

    assert read_gists(new) == [second.github_id]
    assert read_gists(old) == []  # The old one works too, and has the same markers.
    assert (Consumer.objects.count(), Visit.objects.count()) == (1, 1)


@pytest.mark.both
@pytest.mark.parametrize(
    ("overlap", "shortest", "longest"),
    [("7d", timedelta(days=6), timedelta(days=7)), ("12h", timedelta(hours=11), timedelta(hours=12))],
)
def test_the_old_key_ends_with_the_overlap(
    overlap: str, shortest: timedelta, longest: timedelta, capsys: pytest.CaptureFixture[str]
) -> None:
    old = run(capsys, "create_api_key", "team", "--read-only")

    new = run(capsys, "rotate_api_key", "team", "--overlap", overlap)

    end = ApiKey.objects.get(prefix=old[:8]).expiry_date
    assert end is not None
    assert timezone.now() + shortest < end <= timezone.now() + longest
    assert client_with(new).get("/api/v1/me").json()["access"] == "read"  # as the old one
    ApiKey.objects.filter(prefix=old[:8]).update(expiry_date=timezone.now() - timedelta(seconds=1))
    assert client_with(old).get("/api/v1/me").status_code == 401
    assert client_with(new).get("/api/v1/me").status_code == 200


def test_an_overlap_does_not_prolong_a_key() -> None:
    soon = timezone.now() + timedelta(hours=1)
    created = create_key("team", expires_at=soon)

    rotate_key(created.consumer, timedelta(days=7))

    assert ApiKey.objects.get(pk=created.key.pk).expiry_date == soon


def test_an_overlap_of_zero_ends_the_old_key_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    old = run(capsys, "create_api_key", "team")

    run(capsys, "rotate_api_key", "team", "--overlap", "0m")

    assert client_with(old).get("/api/v1/me").status_code == 401


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["rotate_api_key", "unknown"], "No consumer has the name"),
        (["rotate_api_key", "TEAM"], "No consumer has the name"),
        (["rotate_api_key", "anonymous"], "No consumer has the name"),
        (["rotate_api_key", "team", "--overlap", "soon"], "--overlap must be a time"),
        (["rotate_api_key", "team", "--overlap=-1d"], "--overlap must be a time"),
        (["rotate_api_key", "team", "--overlap", "366d"], "at most 365d"),
        (["rotate_api_key", "team", "--overlap", "99999d"], "at most 365d"),
        (["rotate_api_key", "team", "--overlap", "٣d"], "--overlap must be a time"),
        (["rotate_api_key", "team", "--expires", "2020-01-01"], "in the past"),
        (["create_api_key", ""], "1 to 50 characters"),
        (["create_api_key", "x" * 51], "1 to 50 characters"),
        (["create_api_key", "a\x00b"], "1 to 50 characters"),
        (["create_api_key", "Anonymous"], "reserved"),
        (["create_api_key", "ben (staff 7)"], "reserved"),
    ],
    ids=str,
)
def test_a_wrong_argument_creates_no_key(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run(capsys, "create_api_key", "team")

    with pytest.raises(CommandError, match=re.escape(message)) as error:
        call_command(arguments[0], *[f"{text}" for text in arguments[1:]])

    assert error.value.returncode == 2
    assert ApiKey.objects.count() == 1


@pytest.mark.parametrize("state", ["revoked", "expired", "mixed"])
def test_a_consumer_without_one_kind_of_valid_keys_is_not_rotated(state: str) -> None:
    consumer = create_key("team").consumer
    if state == "mixed":
        create_key("team", read_only=True)
    past = timezone.now() - timedelta(days=1)
    changes: dict[str, dict[str, Any]] = {"revoked": {"revoked": True}, "expired": {"expiry_date": past}}
    if state in changes:
        ApiKey.objects.update(**changes[state])
    before = ApiKey.objects.count()

    with pytest.raises(ValueError, match="create_api_key"):
        rotate_key(consumer, timedelta(days=1))

    assert ApiKey.objects.count() == before


def test_a_rotation_keeps_the_end_of_a_temporary_key() -> None:
    end = timezone.now() + timedelta(days=2)
    created = create_key("team", expires_at=end)

    assert rotate_key(created.consumer, timedelta(hours=1)).key.expiry_date == end


def test_a_key_without_an_end_is_replaced_by_one_without_an_end() -> None:
    created = create_key("team", expires_at=timezone.now() + timedelta(days=2))
    create_key("team")

    assert rotate_key(created.consumer, timedelta(hours=1)).key.expiry_date is None


@pytest.mark.both
@pytest.mark.parametrize("name", ["TEAM-B", "téam-b", "Team-b"])
def test_a_similar_name_never_joins_another_consumer(name: str) -> None:
    first = create_key("team-b").consumer

    with contextlib.suppress(ValueError):  # on MySQL, which ignores case and accents
        create_key(name)

    assert ApiKey.objects.filter(consumer=first).count() == 1


@pytest.mark.both
@pytest.mark.parametrize("name", ["ben (staff 1)", "BEN (STAFF 1)", "Anonymous"])
def test_a_reserved_name_is_refused_in_any_case(name: str) -> None:
    with pytest.raises(ValueError, match="reserved"):
        parse_consumer_name(name)


def test_a_renamed_consumer_is_named_when_its_key_is_revoked(capsys: pytest.CaptureFixture[str]) -> None:
    create_key("old")
    Consumer.objects.update(name="new")
    capsys.readouterr()

    call_command("revoke_api_key", "new")

    assert capsys.readouterr().out.startswith("new (")


@pytest.mark.both
@pytest.mark.django_db(transaction=True)
def test_of_concurrent_rotations_one_key_stays() -> None:
    consumer = create_key("team").consumer

    def rotate() -> None:
        rotate_key(consumer, timedelta())

    run_concurrently(rotate, 4)

    assert (ApiKey.objects.count(), ApiKey.objects.all().valid().count()) == (5, 1)


@pytest.mark.parametrize("kind", ["key", "read-only key", "staff", "viewer", "anonymous"])
def test_me_names_the_consumer_and_what_it_may_do(kind: str, settings: Settings) -> None:
    client = APIClient()
    if "key" in kind:
        client = client_with(create_key("team", read_only=kind == "read-only key").secret)
    elif kind == "anonymous":
        settings.API_AUTH = "none"
    else:
        user = User.objects.create_user("ben", is_staff=True)
        codenames = ["view_person"] if kind == "viewer" else ["view_person", "change_person"]
        user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
        client.force_login(user)

    me = client.get("/api/v1/me").json()

    assert me["consumer"].startswith({"staff": "ben (", "viewer": "ben ("}.get(kind, "team" if "key" in kind else kind))
    assert me["access"] == ("read" if kind in ("read-only key", "viewer") else "read_write")
    assert (me["key"] is not None) is ("key" in kind)


def test_the_end_of_a_key_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    end = timezone.now() + timedelta(days=3)
    created = create_key("team", expires_at=end)
    client = client_with(created.secret)

    shown = client.get("/api/v1/me").json()["key"]["expires_at"]
    (row,) = client.get("/api/v1/status").json()["expiring_keys"]
    metrics = client.get("/metrics").content.decode()

    assert shown == row["expires_at"] == end.isoformat().replace("+00:00", "Z")
    assert (row["consumer"], row["prefix"]) == ("team", created.key.prefix)
    label = f'{{consumer="team",prefix="{created.key.prefix}"}}'
    assert re.search(rf"gisttracker_api_key_expiry_timestamp_seconds{re.escape(label)} [\d.e+]+", metrics)


@pytest.mark.parametrize(
    ("other", "is_listed"),
    [
        ({}, False),  # It has no end.
        ({"days": 4}, False),
        ({"days": 2}, True),
        ({"name": "other-team"}, True),
        ({"read_only": True}, True),
        ({"revoked": True}, True),
    ],
)
def test_the_end_of_a_key_matters_only_if_no_other_key_replaces_it(other: dict[str, Any], is_listed: bool) -> None:
    now = timezone.now()
    key = create_key("team", expires_at=now + timedelta(days=3)).key
    end = now + timedelta(days=other["days"]) if "days" in other else None
    newer = create_key(other.get("name", "team"), read_only=other.get("read_only", False), expires_at=end).key
    ApiKey.objects.filter(pk=newer.pk).update(revoked=other.get("revoked", False))
    output = StringIO()

    with contextlib.suppress(SystemExit):  # It is unhealthy: no run has begun.
        call_command("sync_status", stdout=output)
    client = client_with(create_key("reader").secret)

    rows = client.get("/api/v1/status").json()["expiring_keys"]
    assert (key.prefix in [row["prefix"] for row in rows]) is is_listed
    assert (key.prefix in output.getvalue()) is is_listed
    assert key.prefix in client.get("/metrics").content.decode()


# --- the admin ---


def find_secret(page: str) -> str:
    match = re.search(r"<code>([A-Za-z0-9]{8}\.[A-Za-z0-9]{32})</code>", page)
    assert match, page
    return match[1]


def test_the_admin_adds_a_consumer_and_shows_the_key_once(admin_client: Client) -> None:
    page = admin_client.post("/admin/people/consumer/add/", {"name": "team", "read_only": "on"}).content.decode()

    secret = find_secret(page)
    consumer = Consumer.objects.get(name="team")
    again = admin_client.get(f"/admin/people/consumer/{consumer.pk}/change/").content.decode()
    assert client_with(secret).get("/api/v1/me").json()["access"] == "read"
    assert secret not in again
    assert secret[:8] in again


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ({"name": ""}, "required"),
        ({"name": "team"}, "A consumer has this name"),
        ({"name": "anonymous"}, "reserved"),
        ({"name": "x" * 51}, "1 to 50"),
        ({"name": "new", "expires": "2020-01-01"}, "in the past"),
        ({"name": "new", "expires": "soon"}, "valid date"),
    ],
    ids=str,
)
def test_the_admin_rejects_a_wrong_consumer(form: dict[str, str], message: str, admin_client: Client) -> None:
    create_key("team")

    page = admin_client.post("/admin/people/consumer/add/", form).content.decode()

    assert message in page
    assert Consumer.objects.count() == ApiKey.objects.count() == 1


@pytest.mark.both
@pytest.mark.parametrize(
    ("name", "expected"), [("crm", "crm"), ("anonymous", "team"), ("x" * 51, "team"), ("", "team")]
)
def test_a_consumer_is_renamed_by_the_same_rules(name: str, expected: str, admin_client: Client) -> None:
    consumer = create_key("team").consumer

    admin_client.post(f"/admin/people/consumer/{consumer.pk}/change/", {"name": name, "_save": "Save"})

    assert Consumer.objects.get().name == expected


def test_the_admin_rotates_and_revokes_keys(admin_client: Client) -> None:
    old = create_key("team")
    address = f"/admin/people/consumer/{old.consumer.pk}/keys"

    secret = find_secret(admin_client.post(f"{address}/rotate/", {"overlap": "1"}).content.decode())
    admin_client.post(f"{address}/{old.key.prefix}/revoke/")

    assert client_with(old.secret).get("/api/v1/me").status_code == 401
    assert client_with(secret).get("/api/v1/me").status_code == 200
    history = list(LogEntry.objects.order_by("pk").values_list("change_message", "object_id"))
    assert [message.split(".")[0] for message, _ in history] == [
        "Rotated the keys",
        f"Revoked the key {old.key.prefix}",
    ]
    assert {object_id for _, object_id in history} == {str(old.consumer.pk)}


@pytest.mark.parametrize("address", ["keys/add/", "keys/rotate/", "keys/{prefix}/revoke/"])
def test_a_viewer_changes_no_key(address: str, client: Client) -> None:
    key = create_key("team")
    user = User.objects.create_user("ben", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__startswith="view_"))
    client.force_login(user)
    url = f"/admin/people/consumer/{key.consumer.pk}/{address.format(prefix=key.key.prefix)}"

    assert client.post(url, {"overlap": "0"}).status_code == 403
    assert ApiKey.objects.all().valid().count() == ApiKey.objects.count() == 1


def test_no_address_of_the_admin_contains_a_hash(admin_client: Client) -> None:
    key = create_key("team").key
    pages = ["/admin/", "/admin/people/consumer/", f"/admin/people/consumer/{key.consumer_id}/change/"]

    for page in pages:
        assert "sha512" not in admin_client.get(page).content.decode()
    assert admin_client.get("/admin/people/apikey/").status_code == 404


def test_deleting_a_consumer_requires_the_permission_to_delete_its_keys(client: Client) -> None:
    consumer = create_key("team").consumer
    user = User.objects.create_user("ben", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=["view_consumer", "delete_consumer"]))
    client.force_login(user)

    client.post(f"/admin/people/consumer/{consumer.pk}/delete/", {"post": "yes"})

    assert ApiKey.objects.exists()


@pytest.mark.both
def test_deleting_a_consumer_deletes_its_keys_and_markers(admin_client: Client) -> None:
    created = create_key("team")
    create_gist(create_person("ada"))
    read_gists(created.secret)
    address = f"/admin/people/consumer/{created.consumer.pk}/delete/"

    assert "1 visit markers" in admin_client.get(address).content.decode()
    admin_client.post(address, {"post": "yes"})

    assert (Consumer.objects.count(), ApiKey.objects.count(), Visit.objects.count()) == (0, 0, 0)
