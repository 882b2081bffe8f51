"""What a run would do, found out by reading only: nothing is claimed, written or sent."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from django.db.models import Q
from django.utils import timezone

from people.backfill import select
from people.models import Gist, Person
from sync.clients.errors import CircuitOpenError, RunStoppedError, SyncError
from sync.clients.github import GitHubClient
from sync.poll import Poll, poll_person
from sync.steps import Steps, drive


def preview(
    due: Q, github: GitHubClient, *, backfill: str, concurrency: int, full: bool, say: Callable[[str], None]
) -> list[str]:
    """Poll everybody who is due and say, a line each, what a run would store and push; what went wrong is returned."""
    problems: list[str] = []

    def story(person: Person) -> Steps[None]:
        try:
            poll = yield from poll_person(person, github, now=timezone.now(), full=full, stop=lambda: None)
        except (CircuitOpenError, RunStoppedError):
            return
        except SyncError as error:
            problems.append(f"{person}: {error}")
        else:
            say(f"{person}: {_forecast(poll, backfill)}")

    people = Person.objects.filter(due).order_by("attempted_at", "pk").iterator(chunk_size=100)
    with ThreadPoolExecutor(concurrency, "sync") as pool:
        drive((story(person) for person in people if not github.api.ended), pool, concurrency, lambda: None)
    if github.api.ended:
        problems.append(str(github.api.ended))
    return problems


def _forecast(poll: Poll, backfill: str) -> str:
    person = poll.person
    if poll.state != Person.State.ACTIVE:
        return poll.reason
    known = set(
        Gist.objects.filter(github_id__in=[gist.id for gist in poll.gists[:500]]).values_list("github_id", flat=True)
    )
    new = [gist for gist in poll.gists if gist.id not in known]
    choice = (person.backfill or backfill) if person.polled_at is None else "all"
    push = sum(select(choice, [gist.created_at for gist in new]))
    waiting = Gist.objects.unfinished().filter(person=person).count()
    return f"would store {len(new)} new gists and make {push + waiting} activities"
