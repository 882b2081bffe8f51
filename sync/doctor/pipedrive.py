"""Does Pipedrive answer, whose token is it, and is there what pushes need? Asked without writing anything."""

import threading
from collections.abc import Iterator
from urllib.parse import urlsplit

from django.conf import settings
from django.db import DatabaseError, InterfaceError
from django.utils import timezone

from sync.clients.errors import RejectedError
from sync.clients.pipedrive import PipedriveClient
from sync.clients.pipedrive_limits import DailyTokens
from sync.clients.pipedrive_records import CurrentUser
from sync.crm.github_field import NAME, OFF, get_row, known_field, look_up_field
from sync.doctor.database import is_there
from sync.doctor.findings import TIMING, Advice, Finding, ok, problem, warning
from sync.models import GitHubIdField
from sync.run.preconditions import find_plain_text_problem

WHERE = (
    "Set PIPEDRIVE_TOKEN to the token of a user, from Personal preferences > API in Pipedrive: "
    "https://support.pipedrive.com/en/article/how-can-i-find-my-personal-api-key"
)
ADVICE = Advice(
    "Check PIPEDRIVE_API_URL (https://YOURCOMPANY.pipedrive.com), the permissions of the token's user, the network and "
    "HTTPS_PROXY",
    WHERE,
)
TEXT_TYPES = ("varchar", "varchar_auto", "text")
DOMAIN = ".pipedrive.com"


def new_client(stopping: threading.Event) -> PipedriveClient:
    return PipedriveClient(settings.PIPEDRIVE_API_URL, settings.PIPEDRIVE_TOKEN, stopping=stopping, timing=TIMING)


def check_pipedrive(stopping: threading.Event) -> Iterator[Finding]:
    if not settings.PIPEDRIVE_TOKEN:
        yield problem("PIPEDRIVE_TOKEN is not set", WHERE)
        return
    if unencrypted := find_plain_text_problem("PIPEDRIVE"):
        yield problem(unencrypted)
        return
    pipedrive = new_client(stopping)
    user = pipedrive.get_current_user()
    yield ok(f"PIPEDRIVE_TOKEN is {user.name or 'a user'}'s, of the company {user.company_name or 'without a name'}")
    yield from _check_host(user)
    if pipedrive.daily_tokens:
        yield _check_daily_tokens(pipedrive.daily_tokens)


def _check_daily_tokens(tokens: DailyTokens) -> Finding:
    text = f"{tokens.describe(timezone.now())} are left"
    has_enough = tokens.limit is None or tokens.remaining * 10 >= tokens.limit
    return ok(text) if has_enough else warning(text, "Find out which other software uses the tokens of this company")


def _check_host(user: CurrentUser) -> Iterator[Finding]:
    """Every company has an address of its own; a token is of one company."""
    host, wanted = urlsplit(settings.PIPEDRIVE_API_URL).hostname or "", f"{user.company_domain}{DOMAIN}"
    advice = f"Set PIPEDRIVE_API_URL to https://{wanted}"
    if not user.company_domain or not host.endswith(DOMAIN) or host == wanted:
        return
    if host == f"api{DOMAIN}":
        yield ok(f"{host} works for every company; {wanted} is faster, and lets the admin link to people", advice)
    else:
        yield warning(f"{host} is not the address of the token's company, {wanted}", advice)


def check_permission(stopping: threading.Event) -> Iterator[Finding]:
    """To create persons. For activities Pipedrive has none."""
    may_add = _get_permissions(new_client(stopping)).get("can_add_people")
    if may_add is False:
        advice = "Let an administrator allow it in the user's permission set, or use another user's token"
        yield problem("the user may not add persons, so people who are not in Pipedrive yet cannot be pushed", advice)
    else:
        known = "the user may add persons" if may_add else "Pipedrive does not say whether the user may add persons"
        yield ok(f"{known}; whether it may add activities shows only when the first one is created")


def _get_permissions(pipedrive: PipedriveClient) -> dict[str, bool]:
    """Empty if Pipedrive does not show them to this user."""
    try:
        return pipedrive.get_permissions(pipedrive.get_current_user().id)
    except RejectedError:
        return {}


def check_activity_type(stopping: threading.Event) -> Iterator[Finding]:
    wanted, types = settings.PIPEDRIVE_ACTIVITY_TYPE, new_client(stopping).get_activity_types()
    if wanted in types:
        yield ok(f"PIPEDRIVE_ACTIVITY_TYPE is {wanted}, which exists")
    else:
        text = f"PIPEDRIVE_ACTIVITY_TYPE is {wanted!r}, which does not exist at Pipedrive or is not active"
        yield problem(text, f"Set it to one of: {', '.join(sorted(types))}")


def check_field(stopping: threading.Event) -> Iterator[Finding]:
    """The field for the GitHub id."""
    pipedrive, row, wanted = new_client(stopping), _get_row(), settings.PIPEDRIVE_GITHUB_FIELD
    if wanted == OFF:
        yield ok("PIPEDRIVE_GITHUB_FIELD is none: people are found by e-mail and name only")
        return
    field = known_field(row, wanted, timezone.now()) or look_up_field(pipedrive, row.key, wanted)
    if field.must_be_created:
        yield _check_creation(pipedrive)
    elif not field.key:
        yield warning(f"people are found by e-mail and name only: {field.problem}")
    else:
        kinds = {row.field_code: row.field_type for row in pipedrive.get_person_fields()}
        kind, name = kinds.get(field.key), wanted or NAME
        if kind and kind not in TEXT_TYPES:
            advice = "Create a text field of persons in Pipedrive, and set PIPEDRIVE_GITHUB_FIELD to its name"
            yield problem(f"the field {name!r} of persons has the type {kind}, which holds no text", advice)
        else:
            yield ok(f"{name!r} is a text field of persons")


def _get_row() -> GitHubIdField:
    """What runs know of the field."""
    if not is_there():
        return GitHubIdField()
    try:
        return get_row()
    except (DatabaseError, InterfaceError):  # which has a check of its own
        return GitHubIdField()


def _check_creation(pipedrive: PipedriveClient) -> Finding:
    may_add = _get_permissions(pipedrive).get("can_add_custom_fields")
    if may_add is not False:
        return ok(f"the first run creates the field {NAME!r} of persons")
    advice = f"Let an administrator create a text field {NAME!r} of persons, or set PIPEDRIVE_GITHUB_FIELD=none"
    return warning(f"the user may not add the field {NAME!r}, so people are found by e-mail and name only", advice)
