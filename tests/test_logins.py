"""Logins to the admin: limits per name and per address, before a password is hashed; the log; the locked page."""

import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from axes.models import AccessAttempt
from django.contrib.auth.hashers import MD5PasswordHasher
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connection
from django.http import HttpResponse
from django.test import Client, RequestFactory
from django.utils import timezone
from pytest_django import Settings

from gisttracker.desk.login_limits import MAX_FAILURES_OF_ADDRESS, MAX_LOGGED
from gisttracker.desk.logins import MAX_LOGINS
from gisttracker.web.client_address import UNKNOWN_ADDRESS, get_limited_address
from tests.conftest import wait_until

pytestmark = pytest.mark.django_db
RIGHT = "Analytical-7"
WRONG = "a-wrong-secret"
MAX_FAILURES_OF_NAME = 10


@pytest.fixture
def grace(db: None) -> User:
    return User.objects.create_superuser("grace", password=RIGHT)


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The passwords that were hashed."""
    passwords: list[str] = []
    encode = MD5PasswordHasher.encode

    def record(self: MD5PasswordHasher, password: str, salt: str) -> str:
        passwords.append(password)
        return encode(self, password, salt)

    monkeypatch.setattr(MD5PasswordHasher, "encode", record)
    return passwords


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """The lines that logins have written to the log."""
    caplog.set_level(logging.INFO)
    loggers = ("gisttracker", "axes")
    return lambda: [record.getMessage() for record in caplog.records if record.name.startswith(loggers)]


def log_in(name: str, password: str = WRONG, address: str = "192.0.2.7") -> Any:
    return Client(REMOTE_ADDR=address).post("/admin/login/", {"username": name, "password": password})


def create_failures(count: int, *, name: str = "ada", address: str = "192.0.2.7", minutes_ago: float = 0) -> None:
    row = AccessAttempt.objects.create(username=name, ip_address=address, failures_since_start=count)
    AccessAttempt.objects.filter(pk=row.pk).update(attempt_time=timezone.now() - timedelta(minutes=minutes_ago))


# --- limits ---
@pytest.mark.parametrize("name", ["grace", "unknown"])
def test_a_name_is_locked_for_its_address_after_ten_failures(name: str, grace: User, hashed: list[str]) -> None:
    statuses = [log_in(name).status_code for _ in range(12)]

    assert statuses == [200] * 9 + [429] * 3
    assert len(hashed) == MAX_FAILURES_OF_NAME


def test_an_address_is_locked_after_failures_of_many_names(grace: User, hashed: list[str]) -> None:
    statuses = [log_in(f"name-{number}").status_code for number in range(33)]

    assert statuses == [200] * 29 + [429] * 4
    assert len(hashed) == MAX_FAILURES_OF_ADDRESS
    assert log_in("grace", RIGHT).status_code == 429


@pytest.mark.parametrize(
    ("failures", "name", "address", "status"),
    [
        ({"count": 10, "name": "grace"}, "grace", "192.0.2.7", 429),
        ({"count": 10, "name": "grace"}, "grace", "192.0.2.8", 302),
        ({"count": 10, "name": "ada"}, "grace", "192.0.2.7", 302),
        ({"count": 29, "name": "ada"}, "grace", "192.0.2.7", 302),
        ({"count": 30, "name": "ada"}, "grace", "192.0.2.7", 429),
        ({"count": 30, "name": "ada", "minutes_ago": 16}, "grace", "192.0.2.7", 302),
        ({"count": 30, "address": "2001:db8:1:2::"}, "grace", "2001:db8:1:2:ffff::9", 429),
        ({"count": 30, "address": "2001:db8:1:2::"}, "grace", "2001:db8:1:3::9", 302),
        ({"count": 30, "address": "192.0.2.7"}, "grace", "::ffff:192.0.2.7", 429),
    ],
)
def test_who_may_log_in_after_failures(
    failures: dict[str, Any], name: str, address: str, status: int, grace: User, hashed: list[str]
) -> None:
    create_failures(**failures)

    response = log_in(name, RIGHT, address)

    assert (response.status_code, bool(hashed)) == (status, status == 302)


@pytest.mark.parametrize(
    ("address", "limited"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("fe80::1%eth0", "fe80::"),
        ("192.0.2.7:5678", "192.0.2.7"),
        ("[2001:db8:1:2::9]:443", "2001:db8:1:2::"),
        ("[2001:db8:1:2::9]", "2001:db8:1:2::"),
        ("[::ffff:192.0.2.7]:80", "192.0.2.7"),
        ("::ffff:c000:207", "192.0.2.7"),
        ('"[2001:db8:1:2::9]:443"', "2001:db8:1:2::"),
        ("192.0.2.7:", UNKNOWN_ADDRESS),
        ("192.0.2.7:port", UNKNOWN_ADDRESS),
        ("192.0.2.007", UNKNOWN_ADDRESS),
        ("[192.0.2.7", UNKNOWN_ADDRESS),
        ("_hidden", UNKNOWN_ADDRESS),
        ("\u0663.1.1.1", UNKNOWN_ADDRESS),
        ("", UNKNOWN_ADDRESS),
        ("unknown", UNKNOWN_ADDRESS),
        ("\x00" * 300, UNKNOWN_ADDRESS),
    ],
)
def test_the_address_of_a_limit(address: str, limited: str, settings: Settings) -> None:
    assert get_limited_address(RequestFactory(REMOTE_ADDR=address).get("/")) == limited

    settings.TRUSTED_PROXY_COUNT = 1
    forwarded = {"X-Forwarded-For": f"203.0.113.1, {address}" if address else "unknown"}
    assert get_limited_address(RequestFactory(REMOTE_ADDR="10.0.0.1").get("/", headers=forwarded)) == limited


@pytest.mark.parametrize("address", ["", "unknown", "x" * 300])
def test_clients_without_a_readable_address_are_limited_together(address: str, hashed: list[str]) -> None:
    create_failures(29, address=UNKNOWN_ADDRESS)

    statuses = [log_in(name, address=address).status_code for name in ("grace", "ben")]

    assert (statuses, len(hashed)) == ([429, 429], 1)


@pytest.mark.slow("dozens of logins")
def test_a_forged_header_does_not_evade_the_limit(hashed: list[str]) -> None:
    for number in range(40):
        Client(REMOTE_ADDR="192.0.2.7").post(
            "/admin/login/",
            {"username": f"name-{number}", "password": WRONG},
            headers={"X-Forwarded-For": f"10.0.0.{number}", "User-Agent": f"browser {number}"},
        )

    assert len(hashed) == MAX_FAILURES_OF_ADDRESS


def test_attempts_do_not_extend_a_lock(grace: User) -> None:
    create_failures(10, name="grace", minutes_ago=14)

    locked = log_in("grace", RIGHT).status_code
    AccessAttempt.objects.update(attempt_time=timezone.now() - timedelta(minutes=15, seconds=1))

    assert (locked, AccessAttempt.objects.get().failures_since_start) == (429, 10)
    assert log_in("grace", RIGHT).status_code == 302


@pytest.mark.parametrize(("is_staff", "is_active"), [(False, True), (True, False)])
def test_the_right_password_of_an_account_without_access_is_a_failure(is_staff: bool, is_active: bool) -> None:
    User.objects.create_user("mallory", password=RIGHT, is_staff=is_staff, is_active=is_active)

    statuses = [log_in("mallory", RIGHT).status_code for _ in range(11)]

    assert statuses == [200] * 9 + [429] * 2


@pytest.mark.parametrize(
    "arguments", [["axes_reset"], ["axes_reset_ip", "192.0.2.7"], ["axes_reset_username", "grace"]]
)
def test_an_operator_can_unlock(arguments: list[str], grace: User) -> None:
    create_failures(10, name="grace")

    call_command(*arguments)

    assert log_in("grace", RIGHT).status_code == 302


# --- many logins at once ---
@pytest.fixture
def may_end(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Hashes end after this event."""
    event, encode = threading.Event(), MD5PasswordHasher.encode

    def wait(self: MD5PasswordHasher, password: str, salt: str) -> str:
        event.wait(60)
        return encode(self, password, salt)

    monkeypatch.setattr(MD5PasswordHasher, "encode", wait)
    return event


@contextmanager
def parallel_logins(count: int, may_end: threading.Event) -> Iterator[list[Future[Any]]]:
    """Logins of different names at once. In the block, all slots are in use; after it, all logins have ended."""

    def run(number: int) -> Any:
        try:
            return log_in(f"name-{number}")
        finally:
            connection.close()

    with ThreadPoolExecutor(count) as pool:
        logins = [pool.submit(run, number) for number in range(count)]
        try:
            wait_until(lambda: sum(login.done() for login in logins) == count - MAX_LOGINS)
            yield logins
        finally:
            may_end.set()


@pytest.mark.django_db(transaction=True)
def test_some_threads_always_serve_the_api(may_end: threading.Event) -> None:
    with parallel_logins(8, may_end) as logins:
        refused = [login.result() for login in logins if login.done()]
        status_of_api = Client().get("/api/v1/people").status_code

    assert {(response.status_code, response["Retry-After"]) for response in refused} == {(429, "5")}
    assert b"Your password was not" in refused[0].content
    assert sorted(login.result().status_code for login in logins) == [200] * MAX_LOGINS + [429] * (8 - MAX_LOGINS)
    assert status_of_api == 200
    assert log_in("name-9").status_code == 200  # the slots are free again


@pytest.mark.both
@pytest.mark.django_db(transaction=True)
def test_parallel_logins_do_not_exceed_the_limit_of_an_address(may_end: threading.Event, hashed: list[str]) -> None:
    create_failures(MAX_FAILURES_OF_ADDRESS - 1)

    with parallel_logins(8, may_end) as logins:
        pass

    assert {login.result().status_code for login in logins} == {429}
    assert len(hashed) == 1


@pytest.mark.django_db(transaction=True)
def test_locked_logins_take_no_slot(may_end: threading.Event) -> None:
    create_failures(10, name="locked")

    with parallel_logins(MAX_LOGINS + 1, may_end):
        response = log_in("locked")

    assert (response.status_code, b"Login locked" in response.content) == (429, True)


# --- the locked page ---
@pytest.mark.parametrize(
    ("failures", "scope", "wait"),
    [
        ([(10, "grace", 3)], "this name from this address", "in 12 minutes."),
        ([(10, "grace", 0)], "this name from this address", "in 15 minutes."),
        ([(10, "grace", 14.5)], "this name from this address", "in 1 minute."),
        ([(30, "ada", 3)], "all names from this address", "in 12 minutes."),
        ([(10, "grace", 3), (20, "ada", 8)], "this name from this address", "in 12 minutes."),
        ([(10, "grace", 13), (20, "ada", 1)], "this name from this address", "in 2 minutes."),
        ([(10, "grace", 13), (30, "ada", 1)], "all names from this address", "in 14 minutes."),
        ([(10, "ada", 13), (15, "ben", 5), (6, "cleo", 1)], "all names from this address", "in 2 minutes."),
    ],
)
def test_the_locked_page_says_what_is_locked_and_for_how_long(
    failures: list[tuple[int, str, float]], scope: str, wait: str
) -> None:
    for count, name, minutes_ago in failures:
        create_failures(count, name=name, minutes_ago=minutes_ago)

    response = log_in("grace")

    text, seconds = response.content.decode(), int(response["Retry-After"])
    assert (response.status_code, scope in text, f"Try again {wait}" in text) == (429, True, True)
    assert 0 <= int(wait.split()[1]) * 60 - seconds < 60


def test_the_locked_page_does_not_show_whether_a_name_exists(grace: User) -> None:
    def lock(name: str) -> HttpResponse:
        create_failures(10, name=name)
        response: HttpResponse = log_in(name, RIGHT)
        return response

    pages = [lock(name) for name in ("grace", "unknown")]

    assert pages[0].content == pages[1].content


# --- the log ---
@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("ada", "'ada'"),
        ("a\nWARNING forged", r"'a\nWARNING forged'"),
        ("\x1b[2Jada\u202e", r"'\x1b[2Jada\u202e'"),
        ("Ada Lovelace \u00e9", "'Ada Lovelace \u00e9'"),
        ("x" * 150, f"'{'x' * MAX_LOGGED}'"),
    ],
)
def test_a_failed_login_is_one_line(name: str, shown: str, lines: Callable[[], list[str]]) -> None:
    log_in(name, address="2001:db8:1:2:3:4:5:6")

    assert lines() == [f"The login of {shown} from '2001:db8:1:2:3:4:5:6' failed."]


@pytest.mark.parametrize(("count", "locked"), [(9, "'grace' from '192.0.2.7'"), (29, "all names from '192.0.2.7'")])
def test_a_lock_is_one_more_line(count: int, locked: str, lines: Callable[[], list[str]]) -> None:
    create_failures(count, name="grace" if count == 9 else "ada")

    log_in("grace")
    log_in("grace")

    failed, lock, refused = lines()
    assert failed == "The login of 'grace' from '192.0.2.7' failed."
    assert lock.startswith(f"Logins of {locked} are locked until 20")
    assert "'grace' from '192.0.2.7' was refused without a check" in refused


def test_a_successful_login_is_one_line(grace: User, lines: Callable[[], list[str]]) -> None:
    log_in("grace", RIGHT)

    assert lines() == ["'grace' logged in from '192.0.2.7'."]


def test_no_line_and_no_row_has_the_password(
    grace: User, lines: Callable[[], list[str]], caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(12):
        log_in("grace")
    log_in("grace", RIGHT, address="192.0.2.8")

    assert len(lines()) == 14
    assert [word for word in (WRONG, RIGHT) if word in caplog.text] == []
    assert WRONG not in str(list(AccessAttempt.objects.values()))


def test_a_request_with_a_session_is_no_login(client: Client, grace: User, lines: Callable[[], list[str]]) -> None:
    client.force_login(grace)
    before = len(lines())

    client.get("/api/v1/people")
    client.get("/admin/")

    assert len(lines()) == before


@pytest.mark.parametrize(
    ("origin", "status"),
    [("https://localhost", 302), ("http://localhost", 302), ("https://evil.test", 403), ("https://localhost:444", 403)],
)
def test_behind_a_proxy_that_ends_tls_a_form_is_accepted_from_the_service_s_own_host(
    origin: str, status: int, grace: User
) -> None:
    client = Client(enforce_csrf_checks=True, HTTP_HOST="localhost")
    client.get("/admin/login/")
    form = {"username": "grace", "password": RIGHT, "csrfmiddlewaretoken": client.cookies["csrftoken"].value}

    assert client.post("/admin/login/?next=/admin/", form, HTTP_ORIGIN=origin).status_code == status
