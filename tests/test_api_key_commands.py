"""`create_api_key`, `list_api_keys` and `revoke_api_key`."""

import datetime as dt
import json

import pytest
from django.core.management import CommandError, call_command
from pytest_django import Settings
from rest_framework.test import APIClient

from people.models import ApiKey

pytestmark = pytest.mark.django_db


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    capsys.readouterr()
    call_command(*arguments)
    return capsys.readouterr().out.strip()


def create(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Create a key; returns the whole key."""
    return run(capsys, "create_api_key", *arguments).split()[-1]


def test_the_list_shows_each_key_without_its_secret(capsys: pytest.CaptureFixture[str]) -> None:
    team = create(capsys, "my team")
    board = create(capsys, "dashboard", "--read-only", "--expires", "2999-01-31")
    run(capsys, "revoke_api_key", "dashboard")
    today = f"{dt.datetime.now(dt.UTC):%Y-%m-%d}"

    lines = run(capsys, "list_api_keys").splitlines()

    assert lines == [
        "consumer   prefix    access          state    created     expires           last used",
        f"my team    {team[:8]}  read and write  valid    {today}  -                 -",
        f"dashboard  {board[:8]}  read-only       revoked  {today}  2999-02-01 00:00  -",
    ]


def test_the_list_can_be_json(capsys: pytest.CaptureFixture[str]) -> None:
    key = create(capsys, "dashboard", "--read-only", "--expires", "2999-01-31")

    (row,) = json.loads(run(capsys, "list_api_keys", "--json"))

    assert row.pop("created") == f"{dt.datetime.now(dt.UTC):%Y-%m-%d}"
    assert row == {
        "consumer": "dashboard",
        "prefix": key[:8],
        "access": "read-only",
        "state": "valid",
        "expires": "2999-02-01 00:00",
        "last_used": None,
    }


def test_an_empty_list_names_the_command_that_creates_a_key(capsys: pytest.CaptureFixture[str]) -> None:
    assert "create_api_key NAME" in run(capsys, "list_api_keys")
    assert run(capsys, "list_api_keys", "--json") == "[]"


@pytest.mark.parametrize("by", ["name", "prefix"])
def test_a_revoked_key_is_refused_at_once(
    by: str, api: APIClient, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    settings.API_AUTH = "key"
    secret = create(capsys, "my-team")
    api.credentials(HTTP_AUTHORIZATION=f"Api-Key {secret}")
    before = api.get("/api/v1/people").status_code

    output = run(capsys, "revoke_api_key", {"name": "my-team", "prefix": secret[:8]}[by])

    assert (before, api.get("/api/v1/people").status_code) == (200, 401)
    assert output == f"my-team ({secret[:8]}) is revoked."
    assert run(capsys, "revoke_api_key", "my-team") == f"my-team ({secret[:8]}) is already revoked."


def test_the_valid_one_of_two_keys_with_the_same_name_is_revoked(capsys: pytest.CaptureFixture[str]) -> None:
    old, new = create(capsys, "my-team"), create(capsys, "my-team")
    run(capsys, "revoke_api_key", old[:8])

    assert run(capsys, "revoke_api_key", "my-team") == f"my-team ({new[:8]}) is revoked."


def test_an_ambiguous_name_revokes_nothing_and_lists_the_prefixes(capsys: pytest.CaptureFixture[str]) -> None:
    keys = [create(capsys, "my-team"), create(capsys, "my-team")]

    with pytest.raises(CommandError) as error:
        run(capsys, "revoke_api_key", "my-team")

    assert error.value.returncode == 2
    assert f"Name one by its prefix: {keys[0][:8]}, {keys[1][:8]}." in str(error.value)
    assert not ApiKey.objects.filter(revoked=True).exists()


@pytest.mark.parametrize("given", ["unknown", "MY-TEAM", "my", ""])
def test_an_unknown_name_revokes_nothing(given: str, capsys: pytest.CaptureFixture[str]) -> None:
    create(capsys, "my-team")

    with pytest.raises(CommandError, match="No API key has the name or prefix") as error:
        run(capsys, "revoke_api_key", given)

    assert error.value.returncode == 2
    assert not ApiKey.objects.filter(revoked=True).exists()


def test_a_whole_key_is_not_repeated_in_the_message(capsys: pytest.CaptureFixture[str]) -> None:
    secret = create(capsys, "my-team")

    with pytest.raises(CommandError) as error:
        run(capsys, "revoke_api_key", secret)

    assert secret not in str(error.value)
