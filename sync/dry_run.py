"""What a run would do, found out by reading only: nothing is claimed, written or sent to Pipedrive."""

from collections.abc import Iterator
from dataclasses import dataclass

from django.db.models import Q
from django.utils import timezone

from people.backfill import includes
from people.models import Gist, Person
from sync.clients.errors import CircuitOpenError, RunStoppedError, SyncError
from sync.clients.github import GitHubClient
from sync.poll import Poll, SuppressedError, poll_person
from sync.workers import map_unordered


@dataclass(frozen=True)
class Forecast:
    """What a run would do for one person, or the problem that prevents it."""

    line: str
    is_problem: bool = False
    person: Person | None = None
    new_activities: int = 0  # of gists that are not stored yet


def forecast_run(due: Q, github: GitHubClient, *, backfill: str, concurrency: int, full: bool) -> Iterator[Forecast]:
    """Poll everyone who is due; yields one forecast for each person, and one for an API that cannot be called."""

    def forecast_person(person: Person) -> Forecast | None:
        try:
            poll = poll_person(person, github, now=timezone.now(), full=full)
        except (CircuitOpenError, RunStoppedError):
            return None
        except SuppressedError:
            return Forecast(f"{person}: asked not to be tracked, so it would be removed", person=person)
        except SyncError as error:
            return Forecast(f"{person}: {error}", is_problem=True)
        return _forecast(poll, backfill)

    people = Person.objects.filter(due).order_by("attempted_at", "pk").iterator(chunk_size=100)
    possible = (person for person in people if not github.api.circuit.error)
    yield from (row for row in map_unordered("dry-run", concurrency, forecast_person, possible) if row)
    if github.api.circuit.error:
        yield Forecast(str(github.api.circuit.error), is_problem=True)


def _forecast(poll: Poll, backfill: str) -> Forecast:
    person = poll.person
    if poll.state != Person.State.ACTIVE:
        return Forecast(f"{person}: {poll.reason}", person=person)
    listed = [gist.id for gist in poll.gists[:500]]
    known = set(Gist.objects.filter(github_id__in=listed).values_list("github_id", flat=True))
    new = [gist for gist in poll.gists if gist.id not in known]
    choice = person.backfill or backfill
    pending = sum(includes(choice, gist.created_at, person.created_at) for gist in new)
    activities = pending + Gist.objects.unfinished().filter(person=person).count()
    line = (
        f"{person}: would store {len(new)} new {'gist' if len(new) == 1 else 'gists'} "
        f"and create {activities} {'activity' if activities == 1 else 'activities'}"
    )
    return Forecast(line, person=person, new_activities=pending)
