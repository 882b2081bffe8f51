"""Factories of rows, and of tracked people with an account at the GitHub stand-in.

Ada has gists, Ben has none, Cleo's account is gone, Dora was renamed.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

from django.db.models import DateTimeField, F
from django.utils import timezone

from people.keys import create_key as create_api_key
from people.models import ApiKey, Gist, KnownActivity, Person
from sync.models import (
    Alarm,
    ApiState,
    GitHubIdField,
    Problem,
    PushAttempt,
    StreamGap,
    StreamState,
    Suspicion,
    SyncRun,
)
from tests.standins import GitHubStandIn


def track(github: GitHubStandIn, username: str, *, gists: int = 0, **fields: Any) -> Person:
    """Track a person who has a GitHub account with this many gists; `fields` are columns of the person."""
    github.add_account(username)
    for number in range(gists):
        github.publish(username, f"Gist {number} of {username}")
    return create_person(username, **fields)


def track_people(github: GitHubStandIn, count: int, *, gists: int = 0) -> list[Person]:
    """Track person-0, person-1 and so on, each with an account and this many gists."""
    return [track(github, f"person-{number}", gists=gists) for number in range(count)]


def create_people(count: int, **fields: Any) -> list[Person]:
    """Create tracked people without GitHub accounts: person-0, person-1 and so on."""
    return [create_person(f"person-{number}", **fields) for number in range(count)]


def create_person(username: str = "ada", **fields: Any) -> Person:
    """Create a tracked person."""
    return Person.objects.create(github_username=username, **fields)


def create_gists(person: Person, count: int, **fields: Any) -> list[Gist]:
    """Create gists of a person, in the order of their ids."""
    return [create_gist(person, **fields) for _ in range(count)]


def create_gist(person: Person, **fields: Any) -> Gist:
    gist_id = f"{person.pk:x}a{Gist.objects.count():x}"
    return Gist.objects.create(
        person=person,
        html_url=f"https://gist.github.com/{person.github_username}/{gist_id}",
        pull_url=f"https://gist.github.com/{gist_id}.git",
        files=[{"name": "notes.md", "raw_url": "https://x.test/notes.md", "language": "Markdown", "size": 7}],
        github_updated_at=datetime(2026, 1, 1, tzinfo=UTC),
        **{
            "github_id": gist_id,
            "github_created_at": datetime(2026, 1, 1, tzinfo=UTC),
            **fields,
        },
    )


def create_run(problem: str = "", **fields: Any) -> SyncRun:
    """Create the row of a running run, with a problem of the run as a whole if one is given."""
    now = timezone.now()
    defaults = {
        "started_at": now,
        "heartbeat_at": now,
        "host": "test-host",
    }
    run = SyncRun.objects.create(**{**defaults, **fields})
    if problem:
        create_problem(run, problem)
    return run


def create_problem(run: SyncRun, reason: str, person: Person | None = None, **fields: Any) -> Problem:
    """Create a problem of a run: of its own, or the failed poll of a person."""
    code = Problem.Code.POLL if person else Problem.Code.RUN
    return Problem.objects.create(**{"run": run, "person": person, "code": code, "reason": reason, **fields})


def let_time_pass(time: timedelta) -> None:
    """Move all that is stored into the past, as if this time had passed; not the times that GitHub shows."""
    ours = (SyncRun, PushAttempt, ApiState, Alarm, Suspicion, StreamState, StreamGap)
    for table in (Person, Gist, KnownActivity, *ours):
        columns = [column.name for column in table._meta.get_fields() if isinstance(column, DateTimeField)]
        times = [name for name in columns if not name.startswith("github_") and name != "token_expires_at"]
        table.objects.update(**{name: F(name) - time for name in times})


def publish_now(github: GitHubStandIn, login: str, *, ago: timedelta = timedelta(0), **fields: Any) -> str:
    """Publish a gist at this moment, as the stream of all public gists needs it; see GitHubStandIn.publish."""
    moment = f"{timezone.now() - ago:%Y-%m-%dT%H:%M:%SZ}"
    return github.publish(login, **{"created_at": moment, "updated_at": moment, **fields})


def end_pauses() -> None:
    """As if the time was over for which Pipedrive has blocked us."""
    ApiState.objects.update(paused_until=None)


def lose_database() -> None:
    """Delete what a run has stored, as if the service began with an empty database."""
    for table in (Person, SyncRun, GitHubIdField, KnownActivity):  # Gists and attempts go with their people.
        table.objects.all().delete()


def create_key(name: str = "Team", **fields: Any) -> str:
    """Create an API key and return it as a consumer sends it."""
    created = create_api_key(name)
    ApiKey.objects.filter(pk=created.key.pk).update(**fields)
    return created.secret
