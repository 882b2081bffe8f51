"""Does GitHub answer, whose token is it, and is the stream as documented?"""

import threading
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from urllib.parse import urlsplit

from django.conf import settings
from django.utils import timezone
from django.utils.translation import ngettext

from sync.clients.errors import RejectedError
from sync.clients.github import GitHubClient, RateLimit, StreamEntry
from sync.doctor.findings import TIMING, Advice, Finding, ok, problem, warning
from sync.health.judge import TOKEN_TICKET
from sync.reasons import format_time
from sync.run.preconditions import find_plain_text_problem
from sync.stream import MAX_PAGES_WITHOUT_TOKEN, OVERLAP, read_stream

NEW = "Create a token without scopes at https://github.com/settings/tokens, and set GITHUB_TOKEN"
ADVICE = Advice(
    "Check GITHUB_API_URL (https://api.github.com, or https://HOST/api/v3 of a GitHub Enterprise Server), the network "
    "and HTTPS_PROXY",
    NEW,
)
STREAM_ADVICE = "If this lasts, set GITHUB_STREAM=false: polls find every gist, but later"
WEBSITES = {"github.com", "www.github.com", "gist.github.com"}
KINDS = {
    "ghp_": "a classic token",
    "github_pat_": "a fine-grained token",
    "gho_": "a token of an OAuth app",
    "ghu_": "a token of a GitHub App for a user",
}


def new_client(stopping: threading.Event) -> GitHubClient:
    return GitHubClient(settings.GITHUB_API_URL, settings.GITHUB_TOKEN, stopping=stopping, timing=TIMING)


def check_github(stopping: threading.Event) -> Iterator[Finding]:
    url = settings.GITHUB_API_URL
    if urlsplit(url).hostname in WEBSITES:
        yield problem(f"GITHUB_API_URL is {url}, GitHub's website", "Set it to https://api.github.com")
        return
    if unencrypted := find_plain_text_problem("GITHUB"):
        yield problem(unencrypted)
        return
    if not settings.GITHUB_TOKEN:
        yield warning("without GITHUB_TOKEN it allows 60 requests an hour, and shows no e-mail addresses", NEW)
    github = new_client(stopping)
    try:
        yield _check_limit(github.get_rate_limit())
    except RejectedError as error:
        if error.status not in (400, 410):
            raise
        yield problem(f"it does not support our API version ({error})", "Upgrade gisttracker, or this GitHub server")
        return
    if github.deprecation:
        yield warning(github.deprecation)
    if github.has_token:
        yield from _check_token(github)
    github.check_service()
    yield ok(f"{url} answers, and shows accounts")


def _check_token(github: GitHubClient) -> Iterator[Finding]:
    try:
        account, scopes = github.get_own_account()
    except RejectedError as error:
        if error.status != 403:
            raise
        advice = f"A token of a GitHub App ends within an hour. {NEW}"
        yield warning(f"GITHUB_TOKEN is accepted, but is not one of a user ({error})", advice)
        return
    kind = next((kind for prefix, kind in KINDS.items() if settings.GITHUB_TOKEN.startswith(prefix)), "a token")
    yield ok(f"GITHUB_TOKEN is {kind} of {account.login}")
    if scopes:
        yield warning(f"GITHUB_TOKEN has scopes that are not needed ({scopes})", NEW)
    end = github.token_expires_at
    text = f"GITHUB_TOKEN is valid until {format_time(end)}" if end else "GitHub names no end of GITHUB_TOKEN"
    yield warning(text, NEW) if end and end < timezone.now() + TOKEN_TICKET else ok(text)


def _check_limit(limit: RateLimit | None) -> Finding:
    if limit is None:
        return ok("it has no rate limit")
    resets_at = format_time(datetime.fromtimestamp(limit.reset, UTC))
    text = f"{limit.remaining:,} of {limit.limit:,} requests are left until {resets_at}"
    has_enough = limit.remaining * 10 >= limit.limit
    return ok(text) if has_enough else warning(text, "Find out which other software uses the limit of this account")


def check_stream(stopping: threading.Event) -> Iterator[Finding]:
    if not settings.GITHUB_STREAM:
        yield ok("GITHUB_STREAM is false: gists are found by polls only")
        return
    github, now = new_client(stopping), timezone.now()
    since = (now - OVERLAP).replace(microsecond=0)
    reading = read_stream(github, since, now, MAX_PAGES_WITHOUT_TOKEN)
    recent = [entry for entry in reading.entries if entry.updated_at >= since]
    if reading.problem:
        yield warning(reading.problem, STREAM_ADVICE)
    elif not recent and not github.is_of_one_company:
        yield warning("it has no gist of the last ten minutes, in which GitHub's users publish dozens", STREAM_ADVICE)
    else:
        ages = [max((now - entry.updated_at).total_seconds(), 0) for entry in recent]
        newest = f", the newest {min(ages):.0f} s ago" if ages else ""
        gists = ngettext("%d gist", "%d gists", len(recent)) % len(recent)
        yield ok(f"{'at least ' if reading.is_full else ''}{gists} in the last ten minutes{newest}")
    if len(recent) < len(reading.entries):
        count = f"{len(reading.entries) - len(recent)} of {len(reading.entries)} gists"
        yield warning(f"{count} are older than asked for (`since`), so reading costs more requests", STREAM_ADVICE)
    if not _is_newest_first(reading.entries):
        yield warning("its gists are not in the documented order, the newest first", STREAM_ADVICE)


def _is_newest_first(entries: Sequence[StreamEntry]) -> bool:
    """By the creation, as recorded, or by the last update, as documented."""
    created = [entry.created_at or entry.updated_at for entry in entries]
    updated = [entry.updated_at for entry in entries]
    return any(times == sorted(times, reverse=True) for times in (created, updated))
