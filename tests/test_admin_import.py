"""The import of a CSV in the admin: upload, preview, confirmation."""

import re
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.contrib.admin.models import ADDITION, LogEntry
from django.contrib.auth.models import User
from django.core import signing
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from people.bulk import MAX_ROWS
from people.models import Person
from tests.factories import create_person
from tests.test_admin import EVIL, create_staff

pytestmark = pytest.mark.django_db
URL = "/admin/people/person/import/"


def upload(client: Client, content: str | bytes) -> str:
    raw = content if isinstance(content, bytes) else content.encode()
    response = client.post(URL, {"file": SimpleUploadedFile("people.csv", raw)})
    assert response.status_code == 200
    return response.content.decode()


def get_signed_rows(page: str) -> str:
    found = re.search(r'name="rows" value="([^"]+)"', page)
    assert found
    return found[1]


def confirm(client: Client, page: str) -> str:
    return client.post(URL, {"rows": get_signed_rows(page)}, follow=True).content.decode()


def test_the_preview_shows_each_row_and_writes_nothing(admin_client: Client) -> None:
    create_person("grace")

    page = upload(admin_client, "username,backfill\n@ada,2026-01-31\nGRACE,\nhttps://gitlab.com/x,\nADA,\nken,some\n")

    assert "Nothing is written yet: 1 new, 2 already tracked, 2 rejected." in page
    for text in (
        "@GRACE is already tracked.",
        "is not a profile on github.com",
        "Duplicate of row 1.",
        "backfill must",
    ):
        assert text in page
    assert Person.objects.count() == 1
    assert not LogEntry.objects.exists()


def test_the_confirmation_tracks_the_rows_of_the_preview(admin_client: Client) -> None:
    page = upload(admin_client, "username,pipedrive_id,backfill\nada,7,2026-01-31\nbad name,,\nBen,,\n")

    after = confirm(admin_client, page)

    assert "2 people are tracked now." in after
    people = Person.objects.values_list("github_username", "pipedrive_id", "backfill")
    assert set(people) == {("Ben", None, ""), ("ada", 7, "2026-01-31")}
    entries = LogEntry.objects.filter(action_flag=ADDITION)
    assert {entry.get_change_message() for entry in entries} == {"Added by a CSV import."}
    assert entries.count() == 2


def test_a_person_added_between_preview_and_confirmation_is_no_error(admin_client: Client) -> None:
    page = upload(admin_client, "username\nada\nben\n")
    create_person("ADA")

    after = confirm(admin_client, page)
    again = confirm(admin_client, page)

    assert "1 person is tracked now. 1 person was tracked already." in after
    assert "0 people are tracked now. 2 people were tracked already." in again
    assert Person.objects.count() == 2


BAD_FILES: dict[str, tuple[str | bytes, str]] = {
    "empty": ("", "The submitted file is empty."),
    "only a header": ("username\n", "The CSV has no rows after its first line."),
    "no header": ("ada\nben\n", "first line must be username[,pipedrive_id][,backfill]."),
    "semicolons": ("username;backfill\nada;10\n", "first line must be username[,pipedrive_id][,backfill]."),
    "another encoding": ("username\nadä\n".encode("latin-1"), "The CSV is not UTF-8 (byte 11)."),
    "UTF-16": ("username\nada\n".encode("utf-16"), "The CSV is not UTF-8 (byte 0)."),
    "a spreadsheet": (b"PK\x03\x04\x00\xff", "The CSV is not UTF-8"),
    "a NUL byte": ("username\na\0da\n", "The CSV contains a NUL byte."),
    "an open quote": ('username\n"ada\n', "The CSV is broken at line"),
    "too many rows": ("username\n" + "ada\n" * (MAX_ROWS + 1), f"Too many rows. At most {MAX_ROWS} are allowed."),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_file_that_cannot_be_read_is_an_error_of_the_form(name: str, admin_client: Client) -> None:
    content, message = BAD_FILES[name]

    page = upload(admin_client, content)

    assert message in page
    assert 'name="rows"' not in page


def test_a_missing_file_is_an_error_of_the_form(admin_client: Client) -> None:
    assert "This field is required." in admin_client.post(URL).content.decode()


def test_a_file_without_new_people_has_nothing_to_confirm(admin_client: Client) -> None:
    page = upload(admin_client, f"username\n{EVIL}\n")

    assert 'name="rows"' not in page
    assert EVIL not in page


@pytest.mark.slow("imports 5,000 people")
def test_a_full_file_is_imported(admin_client: Client) -> None:
    page = upload(admin_client, "username\n" + "".join(f"person-{number}\n" for number in range(MAX_ROWS)))

    after = confirm(admin_client, page)

    assert "and 4800 more" in page
    assert f"{MAX_ROWS} people are tracked now." in after
    assert Person.objects.count() == LogEntry.objects.count() == MAX_ROWS


def change(rows: str) -> str:
    return rows[:-1] + ("A" if rows[-1] != "A" else "B")


def sign_for_another_user(rows: str) -> str:
    return signing.dumps([{"username": "mallory"}], salt=f"people.admin.csv_import:{User.objects.latest('pk').pk + 1}")


@pytest.mark.parametrize("forge", [change, sign_for_another_user, lambda rows: "", lambda rows: "x"])
def test_only_what_was_shown_to_this_user_can_be_confirmed(forge: Any, admin_client: Client) -> None:
    rows = get_signed_rows(upload(admin_client, "username\nada\n"))

    page = admin_client.post(URL, {"rows": forge(rows)}, follow=True).content.decode()

    assert "The preview has expired. Upload the file again." in page
    assert not Person.objects.exists()


def test_an_old_preview_cannot_be_confirmed(admin_client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    page = upload(admin_client, "username\nada\n")
    later = (datetime.now() + timedelta(hours=2)).timestamp()
    monkeypatch.setattr("django.core.signing.time.time", lambda: later)

    admin_client.post(URL, {"rows": get_signed_rows(page)})

    assert not Person.objects.exists()


@pytest.mark.parametrize("data", [{}, {"rows": "x"}])
def test_importing_needs_the_permission_to_add(data: dict[str, str], client: Client) -> None:
    client.force_login(create_staff("view_person", "change_person", "delete_person"))

    assert client.get(URL).status_code == client.post(URL, data).status_code == 403


def test_a_confirmation_needs_a_csrf_token(admin_client: Client) -> None:
    rows = get_signed_rows(upload(admin_client, "username\nada\n"))
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = admin_client.cookies

    assert strict.post(URL, {"rows": rows}).status_code == 403
    assert not Person.objects.exists()
