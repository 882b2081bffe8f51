"""Lists and their filters, many people at once, and the acts on one person or gist."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries
from rest_framework.test import APIClient

from people.models import Gist, Person
from tests.factories import publish

pytestmark = pytest.mark.django_db(transaction=True)


def names(api: APIClient, query: str) -> list[str]:
    answer = api.get(f"/api/v1/people?{query}")
    assert answer.status_code == 200, answer.content
    return sorted(row["github_username"] for row in answer.json()["results"])


def post_csv(api: APIClient, text: str | bytes) -> Any:
    return api.post("/api/v1/people/bulk", text, content_type="text/csv")


def results(answer: Any) -> list[str]:
    return [row["result"] for row in answer.json()["results"]]


# --- people ---
def test_people_are_filtered(api: APIClient) -> None:
    ada = Person.objects.create(github_username="ada", state="active", polled_at=timezone.now())
    Person.objects.create(github_username="ben", state="gone")
    Person.objects.create(github_username="cleo")
    publish(ada, 1, push_state="rejected")
    yesterday = (timezone.now() - timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%SZ")

    assert names(api, "state=active") == ["ada"]
    assert names(api, "state=active&state=gone") == ["ada", "ben"]
    assert names(api, "has_rejected=true") == names(api, "has_unvisited=true") == ["ada"]
    assert names(api, "has_rejected=false") == names(api, "has_unvisited=false") == ["ben", "cleo"]
    assert names(api, f"polled_after={yesterday}") == ["ada"]
    assert names(api, f"added_before={yesterday}") == []
    api.get("/api/v1/people/ada")
    assert names(api, "has_unvisited=true") == []


@pytest.mark.parametrize("term", ["love", "ADA", "ada@ex", "example.com", "ada love", "augusta-ada", "Ä"])
def test_people_are_found_by_beginnings_of_words(api: APIClient, term: str) -> None:
    Person.objects.create(github_username="Augusta-Ada", name="Ada Lovelace Ärger", email="ada@example.com")
    Person.objects.create(github_username="ben", name="Ben", email="ben@test.org")

    assert names(api, f"search={term}") == ["Augusta-Ada"]


def test_a_new_name_is_found_and_the_old_one_no_more(api: APIClient) -> None:
    person = Person.objects.create(github_username="ada", name="Ada Byron")
    person.name = "Ada Lovelace"
    person.save()

    assert (names(api, "search=lovelace"), names(api, "search=byron"), names(api, "search=lovelace byron")) == (
        ["ada"],
        [],
        [],
    )


def test_pages_are_linked_in_the_header_too(api: APIClient) -> None:
    for number in range(3):
        Person.objects.create(github_username=f"person-{number}")

    answer = api.get("/api/v1/people?page=2&page_size=1")

    assert answer["Link"] == (
        '<http://testserver/api/v1/people?page=3&page_size=1>; rel="next", '
        '<http://testserver/api/v1/people?page_size=1>; rel="prev"'
    )


def test_people_as_csv_hold_no_formula(api: APIClient) -> None:
    Person.objects.create(github_username="ada", name="=HYPERLINK(1)")
    Person.objects.create(github_username="ben", state="gone")

    answer = api.get("/api/v1/people?format=csv&state=new")
    lines = b"".join(answer.streaming_content).decode().splitlines()  # type: ignore[attr-defined]

    assert answer["Content-Type"] == "text/csv; charset=utf-8"
    assert lines[0].startswith("github_username,name,email,state,")
    assert [line[:21] for line in lines[1:]] == ["ada,'=HYPERLINK(1),,n"]


# --- one person ---
def test_a_paused_person_is_kept_and_can_go_on(api: APIClient) -> None:
    Person.objects.create(github_username="ada", github_id=1, state="active")

    paused = api.patch("/api/v1/people/ada", {"state": "paused"}, format="json").json()["state"]
    refused = api.post("/api/v1/people/ada/sync")
    resumed = api.patch("/api/v1/people/ada", {"state": "active"}, format="json").json()["state"]

    assert (paused, resumed) == ("paused", "active")
    assert (refused.status_code, refused.json()["detail"]) == (
        400,
        "@ada is paused; PATCH its state to active first.",
    )


def test_another_pipedrive_person_is_compared_anew(api: APIClient) -> None:
    Person.objects.create(github_username="ada", pipedrive_id=1, pipedrive_matched_at=timezone.now())

    answer = api.patch("/api/v1/people/ada", {"pipedrive_id": 7}, format="json")

    person = Person.objects.get()
    assert (answer.status_code, person.pipedrive_id, person.pipedrive_matched_at) == (200, 7, None)


def test_a_wider_backfill_puts_skipped_gists_back(api: APIClient) -> None:
    person = Person.objects.create(github_username="ada", backfill="none")
    publish(person, 3, push_state="skipped")
    publish(person, 1, push_state="pushed")

    api.patch("/api/v1/people/ada", {"backfill": 2}, format="json")
    some = Gist.objects.filter(push_state="pending").count()
    api.patch("/api/v1/people/ada", {"backfill": "all"}, format="json")

    assert some == 2
    assert Gist.objects.filter(push_state="pending").count() == 3


def test_a_sync_is_asked_for(api: APIClient) -> None:
    Person.objects.create(github_username="ada")

    answer = api.post("/api/v1/people/ADA/sync/")

    assert (answer.status_code, bool(answer.json()["sync_requested_at"])) == (202, True)


def test_somebody_called_bulk_is_a_person_like_others(api: APIClient) -> None:
    api.post("/api/v1/people/bulk", ["bulk"], format="json")

    assert api.get("/api/v1/people/bulk").json()["github_username"] == "bulk"
    assert api.delete("/api/v1/people/bulk").status_code == 204


# --- gists ---
def test_gists_are_listed_and_filtered_without_a_visit(
    api: APIClient, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    person = Person.objects.create(github_username="ada")
    publish(person, 12)
    publish(person, 1, push_state="rejected", removed_at=timezone.now())

    with django_assert_max_num_queries(3):
        page = api.get("/api/v1/people/ada/gists?page_size=10").json()

    assert (page["count"], len(page["results"])) == (13, 10)
    assert api.get("/api/v1/people/ada/gists?push_state=rejected").json()["count"] == 1
    assert api.get("/api/v1/people/ada/gists?removed=true").json()["count"] == 1
    assert api.get("/api/v1/people/ada/gists?removed=false&ordering=-id").json()["count"] == 12
    assert len(api.get("/api/v1/people/ada").json()["gists"]) == 13
    assert api.get("/api/v1/people/ben/gists").status_code == 404


@pytest.mark.parametrize(
    ("state", "status"), [("rejected", 202), ("skipped", 202), ("pushed", 409), ("started", 409), ("pending", 409)]
)
def test_only_a_rejected_or_skipped_gist_is_pushed_again(api: APIClient, state: str, status: int) -> None:
    (gist,) = publish(Person.objects.create(github_username="ada"), 1, push_state=state)

    answer = api.post(f"/api/v1/people/ada/gists/{gist.github_id}/push")

    assert answer.status_code == status
    assert Gist.objects.get().push_state == ("pending" if status == 202 else state)


def test_a_gist_of_somebody_else_is_not_pushed(api: APIClient) -> None:
    Person.objects.create(github_username="ada")
    (gist,) = publish(Person.objects.create(github_username="ben"), 1, push_state="rejected")

    assert api.post(f"/api/v1/people/ada/gists/{gist.github_id}/push").status_code == 404


# --- many people ---
def test_good_rows_are_kept_whatever_the_others_are(api: APIClient) -> None:
    Person.objects.create(github_username="Grace")
    rows = ["ada", {"username": "@grace"}, {"username": "ben", "pipedrive_id": 7, "backfill": 10}, "-", "ADA", 7]
    rows += [{"username": "x", "pipedrive_id": True}, {"username": "x", "backfill": "some"}, {"user": "x"}, None]

    answer = api.post("/api/v1/people/bulk", rows, format="json")

    assert answer.status_code == 200
    assert results(answer) == ["created", "already_tracked", "created", "refused", "already_tracked", *["refused"] * 5]
    assert {name: answer.json()[name] for name in ("created", "already_tracked", "refused")} == {
        "created": 2,
        "already_tracked": 2,
        "refused": 6,
    }
    assert all(row["reason"] for row in answer.json()["results"] if row["result"] != "created")
    ben = Person.objects.get(github_username="ben")
    assert (ben.pipedrive_id, ben.backfill, Person.objects.count()) == (7, "10", 3)
    assert names(api, "search=ben") == ["ben"]


@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"], ids=["plain", "BOM"])
def test_people_come_as_csv(api: APIClient, bom: bytes) -> None:
    text = 'username,pipedrive_id,backfill\r\nada,,\r\n"@ben",7,none\r\ncleo,x,\r\ntoo,many,fields,here\r\nshort\r\n'

    answer = post_csv(api, bom + text.encode())

    assert results(answer) == ["created", "created", "refused", "refused", "created"]
    assert answer.json()["results"][3]["username"] == "too"
    assert Person.objects.get(github_username="ben").pipedrive_id == 7


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"name\nada\n",
        b"username,username\nada,ada\n",
        b"username\n\xff\xfe\n",
        b"username\nada\0\n",
        b'username\n"ada\n',
        "username\n".encode("utf-16"),
        b"username\n" + b"ada\n" * 5001,
    ],
    ids=["empty", "header", "twice", "latin-1", "NUL", "quote", "utf-16", "5001 rows"],
)
def test_a_broken_csv_is_refused_as_a_whole(api: APIClient, text: bytes) -> None:
    answer = post_csv(api, text)

    assert (answer.status_code, bool(answer.json()["detail"])) == (400, True)
    assert not Person.objects.exists()


def test_a_broken_csv_names_its_line(api: APIClient) -> None:
    assert "broken at line 3:" in post_csv(api, 'username,backfill\nada,1\n"ben"x,2\n').json()["detail"]


def test_5000_people_come_at_once_with_few_statements(
    api: APIClient, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    rows = [f"person-{number}" for number in range(5000)]

    with django_assert_max_num_queries(260):  # SQLite takes few values in a statement.
        answer = api.post("/api/v1/people/bulk", rows, format="json")

    assert answer.json()["created"] == Person.objects.count() == 5000


def test_people_are_imported_from_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "people.csv").write_text("username\nada\n-\n", "utf-8-sig")
    (tmp_path / "people.json").write_text(json.dumps(["ada", "ben"]))

    with pytest.raises(SystemExit) as end:
        call_command("import_people", str(tmp_path / "people.csv"))
    call_command("import_people", str(tmp_path / "people.json"))

    said = capsys.readouterr().out.splitlines()
    assert end.value.code == 3
    assert said[0].startswith("row 2 (-): A GitHub user name")
    assert said[1:] == [
        "1 created, 0 already tracked, 1 refused.",
        "1 created, 1 already tracked, 0 refused.",
    ]


@pytest.mark.parametrize("name", ["missing.csv", "broken.json"])
def test_a_file_that_cannot_be_read_is_told(tmp_path: Path, name: str) -> None:
    (tmp_path / "broken.json").write_text("[")

    with pytest.raises(CommandError, match=name):
        call_command("import_people", str(tmp_path / name))


# --- bad input ---
@pytest.mark.parametrize(
    "query",
    [
        *("page=0", "page=-1", "page=x", "page=99999999999999999999", "page_size=0", "page_size=501", "page_size=x"),
        *("state=odd", "added_after=soon", "has_rejected=perhaps", "ordering=password", "ordering=", "format=xml"),
        *(
            "search=%00",
            "search=a+b+c+d+e+f+g+h+i",
            "stat=new",
            "getAllGists=true",
            "state=",
            "format=csv&page=1",
            "page=1&page=2",
        ),
    ],
)
def test_a_bad_query_is_refused_with_a_reason(api: APIClient, query: str) -> None:
    answer = api.get(f"/api/v1/people?{query}")

    assert answer.status_code in (400, 404)
    assert answer.json()


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"{", "application/json"),
        (b"[]", "application/json"),
        (b"null", "application/json"),
        (b'"ada"', "application/json"),
        (b'{"username": NaN}', "application/json"),
        (b'{"username": {"a": 1}}', "application/json"),
        (b'{"username": "ada", "state": "gone"}', "application/json"),
        (b'{"username": "ad\\u0000a"}', "application/json"),
        (b'{"username": "' + b"a" * 1_000_000 + b'"}', "application/json"),
        (b'{"username": "\xff"}', "application/json"),
        (b"[" * 100_000, "application/json"),
        (b"username=ada%00", "application/x-www-form-urlencoded"),
        (b"user=ada", "application/x-www-form-urlencoded"),
        (b"garbage", "multipart/form-data; boundary=x"),
        (b"<ada/>", "application/xml"),
        (b"\xff\xfe", "text/plain"),
    ],
    ids=lambda value: repr(value)[:30],
)
@pytest.mark.parametrize("address", ["people", "people/bulk"])
def test_a_bad_body_is_refused_with_a_reason(api: APIClient, address: str, body: bytes, kind: str) -> None:
    answer = api.post(f"/api/v1/{address}", body, content_type=kind)

    if (address, body) == ("people/bulk", b"[]"):
        assert answer.status_code == 200  # A list of nobody is a list.
    else:
        assert 400 <= answer.status_code < 500
        assert answer.json()
    assert not Person.objects.exists()


def test_a_body_over_five_megabytes_is_refused_unread(api: APIClient) -> None:
    answer = api.post("/api/v1/people", b"x" * (5 * 1024 * 1024 + 1), content_type="application/json")

    assert (answer.status_code, "5 MB are allowed" in answer.json()["detail"]) == (413, True)


def test_an_address_that_is_not_there_is_told_in_json(api: APIClient) -> None:
    answer = api.get("/api/v1/nothing")

    assert (answer.status_code, "documentation" in answer.json()["detail"]) == (404, True)
