"""What the page of a person shows above the form: state, polls, pushes, gists and visits, in words."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.core.paginator import Paginator
from django.db.models import Count
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from people.admin.actions import in_number
from people.admin.base import Facts
from people.admin.markup import badge, external_link, in_words, is_web_url, shorten, time_in_words, with_reason
from people.admin.pipedrive_links import activity_link, person_link
from people.models import Gist, Person
from people.models.github_names import profile_url

GISTS_PER_PAGE = 50
MAX_VISITS = 100
MAX_ID_LENGTH = 9  # characters of a gist's id; its own page shows the whole id
STATE_LEVELS = {
    Person.State.NEW: "quiet",
    Person.State.ACTIVE: "ok",
    Person.State.GONE: "error",
    Person.State.CONFLICT: "error",
    Person.State.PAUSED: "warning",
}
PUSH_LEVELS = {
    Gist.PushState.PENDING: "quiet",
    Gist.PushState.STARTED: "warning",
    Gist.PushState.PUSHED: "ok",
    Gist.PushState.REJECTED: "error",
    Gist.PushState.SKIPPED: "quiet",
}


def state_badge(person: Person) -> SafeString:
    """The state; an active person whose polls or pushes fail is not shown as fine."""
    is_failing = person.failures or person.push_failures
    level = STATE_LEVELS[Person.State(person.state)]
    return badge(person.state, "warning" if level == "ok" and is_failing else level)


def push_badge(gist: Gist) -> SafeString:
    return badge(gist.push_state, PUSH_LEVELS[Gist.PushState(gist.push_state)])


def get_reason(person: Person) -> str:
    return " ".join(reason for reason in (person.last_error, person.push_error) if reason)


def github_link(person: Person) -> SafeString:
    url = profile_url(person.github_username)
    return external_link(url, url.removeprefix("https://"))


def gist_link(gist: Gist) -> SafeString:
    """GitHub's own page of the gist, as the beginning of its id. Only an http(s) URL becomes a link."""
    text = shorten(gist.github_id, MAX_ID_LENGTH)
    return external_link(gist.html_url, text) if is_web_url(gist.html_url) else format_html("{}", text)


def get_facts(person: Person) -> Facts:
    facts: Facts = [
        ("State", with_reason(state_badge(person), person.last_error) + _since(person.state_changed_at)),
        ("Next poll", _describe_next_poll(person)),
        ("Last polls", _describe_polls(person)),
        ("Pushes", _describe_pushes(person)),
        ("Gists", _count_gists(person)),
        ("GitHub", _describe_account(person)),
        ("Pipedrive person", _describe_link(person)),
        ("Backfill", person.backfill or "left to the setting BACKFILL"),
        ("Added", time_in_words(person.created_at)),
    ]
    if person.unreadable_gists:
        facts.append(("Unreadable gists", _list_unreadable(person)))
    return facts


def _since(moment: datetime | None) -> SafeString:
    return format_html(" since {}", time_in_words(moment)) if moment else SafeString("")


def _describe_next_poll(person: Person) -> str:
    now = timezone.now()
    if person.state == Person.State.PAUSED:
        return "None: the person is paused."
    if person.sync_requested_at and (not person.attempted_at or person.attempted_at < person.sync_requested_at):
        return "First in the next run: a sync was requested."
    if person.state in (Person.State.GONE, Person.State.CONFLICT):
        return "The account is checked again once a day."
    if person.next_attempt_at and person.next_attempt_at > now:
        words = in_words(person.next_attempt_at)
        return (
            f"In backoff until {person.next_attempt_at:%Y-%m-%d %H:%M} UTC ({words}), after "
            f"{_count_failures(person.failures)}."
        )
    return "In the next run."


def _describe_polls(person: Person) -> SafeString:
    parts = format_html(
        "successful: {} · attempted: {} · all pages: {}",
        time_in_words(person.polled_at, "error" if person.is_stale else ""),
        time_in_words(person.attempted_at),
        time_in_words(person.full_read_at),
    )
    if not person.failures:
        return parts
    return parts + format_html(" · {}{}", _count_failures(person.failures), _since(person.failing_since))


def _count_failures(count: int) -> str:
    return in_number(("%d failure in a row", "%d failures in a row"), count)


def _describe_pushes(person: Person) -> SafeString:
    text = format_html("attempted: {}", time_in_words(person.push_attempted_at))
    if person.push_failures or person.push_error:
        trouble = badge(_count_failures(person.push_failures) if person.push_failures else "problem", "error")
        text += format_html(" · {}{}", with_reason(trouble, person.push_error), _since(person.push_failing_since))
    if person.next_push_at and person.next_push_at > timezone.now():
        text += format_html(" · in backoff until {}", f"{person.next_push_at:%Y-%m-%d %H:%M} UTC")
    return text


def _count_gists(person: Person) -> str:
    counts = dict(person.gists.order_by().values_list("push_state").annotate(Count("pk")))
    parts = [f"{counts[state]} {state}" for state in Gist.PushState.values if state in counts]
    return f"{sum(counts.values())}: {', '.join(parts)}" if parts else "none stored"


def _describe_account(person: Person) -> SafeString:
    github_id = f"GitHub id {person.github_id}" if person.github_id else ""
    details = [person.name, person.email, person.company, person.location, github_id]
    parts = [github_link(person), *[detail for detail in details if detail]]
    return format_html_join(" · ", "{}", [(part,) for part in parts])


def _describe_link(person: Person) -> SafeString:
    if person.pipedrive_id is None:
        return format_html("{}", "Not linked yet: found or created before the first push.")
    origin = "found or created by gisttracker" if person.pipedrive_linked_at else "set by a user"
    confirmed = time_in_words(person.pipedrive_confirmed_at)
    return format_html("{} · {} · last seen at Pipedrive: {}", person_link(person.pipedrive_id), origin, confirmed)


def _list_unreadable(person: Person) -> SafeString:
    rows = [(gist.get("id") or "without id", gist.get("reason", "")) for gist in person.unreadable_gists or []]
    return format_html("<ul>{}</ul>", format_html_join("", "<li>{}: {}</li>", rows))


@dataclass(frozen=True)
class GistRow:
    gist: Gist
    badge: SafeString
    url: str
    link: SafeString
    activity: SafeString
    stored: SafeString
    explanation: str
    attempts: list[SafeString]


def get_page_context(model_admin: Any, request: HttpRequest, person: Person) -> dict[str, Any]:
    """The number of queries does not depend on the gists and visits."""
    gists = Paginator(person.gists.defer("files").order_by("-id"), GISTS_PER_PAGE)
    page = gists.get_page(request.GET.get("gists"))
    rows = list(page.object_list)
    attempts = model_admin.get_attempts(rows)
    return {
        "facts": get_facts(person),
        "gist_page": page,
        "gist_pages": list(gists.get_elided_page_range(page.number)),
        "gist_rows": [_describe_gist(gist, attempts.get(gist.pk, [])) for gist in rows],
        "visits": _get_visits(person),
        "buttons": model_admin.get_buttons(request, person),
        "links": model_admin.get_page_links(request, person),
    }


def _describe_gist(gist: Gist, attempts: list[SafeString]) -> GistRow:
    return GistRow(
        gist=gist,
        badge=push_badge(gist),
        url=reverse("admin:people_gist_change", args=[gist.pk]),
        link=gist_link(gist),
        activity=activity_link(gist.pipedrive_activity_id),
        stored=time_in_words(gist.created_at),
        explanation=gist.push_explanation,
        attempts=attempts,
    )


def _get_visits(person: Person) -> list[tuple[str, SafeString, int]]:
    visits = person.visits.select_related("consumer").order_by("-visited_at")[:MAX_VISITS]
    return [(visit.consumer.name, time_in_words(visit.visited_at), visit.cursor) for visit in visits]
