"""A service as an operator finds it after some weeks: for screenshots and browser tests."""

import random
from datetime import datetime, timedelta

from django.utils import timezone

from gisttracker import __version__
from people.keys import create_key
from people.models import Gist, Person, Visit
from sync.models import Alarm, ApiState, PushAttempt, StreamState, SyncRun
from tests.factories import create_gist, create_person, create_run

NAMES = {
    "ada": "Ada Lovelace",
    "grace": "Grace Hopper",
    "linus": "Linus Example",
    "margaret": "Margaret Hamilton",
    "ken": "Ken Thompson",
    "barbara": "Barbara Liskov",
    "dennis": "Dennis Ritchie",
    "frances": "Frances Allen",
    "guido": "Guido Example",
    "radia": "Radia Perlman",
}
REFUSAL = "Pipedrive POST /api/v2/activities returned 400: deal_id is required"
LOST = "The Pipedrive person was deleted. Set another pipedrive_id, or clear it, so that a person is found or created."


def fill() -> None:
    rng, now = random.Random(7), timezone.now()  # noqa: S311  # not used for secrets
    runs = _create_runs(rng, now)
    people = [_create_active(login, name, number, now) for number, (login, name) in enumerate(NAMES.items())]
    for person in people:
        for _ in range(rng.randint(2, 9)):
            _create_pushed(person, rng, now, runs[-1])
    _create_trouble(people, now, runs[-1])
    create_person("cleo", state="gone", last_error="GitHub does not know this account any more.", github_id=77)
    create_person("newcomer")
    create_person("dora", state="paused", github_id=78, polled_at=now - timedelta(days=12))
    consumer = create_key("sales-dashboard").consumer
    create_key("reports", read_only=True, expires_at=now + timedelta(days=20))
    Visit.objects.create(
        person=people[0],
        consumer=consumer,
        cursor=3,
        visited_at=now - timedelta(hours=4),
    )
    tokens = {"day": f"{now:%Y-%m-%d}", "remaining": 148_127, "limit": 150_000}
    for api, left in (("GitHub", {"remaining": 4873.0}), ("Pipedrive", {"daily_tokens": tokens})):
        limit = {**left, "requests": 13, "stopped": "", "resets_at": None}
        ApiState.objects.create(api=api, run_id=runs[-1].pk, limit=limit)
    read = dict.fromkeys(("attempted_at", "read_at", "newest_at"), now - timedelta(seconds=50))
    StreamState.objects.create(pk=1, first_read_at=now - timedelta(days=30), **read)


def _create_runs(rng: random.Random, now: datetime) -> list[SyncRun]:
    runs = []
    for number in range(40, 0, -1):
        started = now - timedelta(hours=3 * number - 1)
        outcome = {25: "failed", 12: "rate_limited", 31: "crashed"}.get(number, "succeeded")
        counts = {"people_polled": 13, "people_unchanged": 9, "gists_new": rng.randint(0, 14)}
        counts["gists_pushed"] = counts["gists_new"]
        counts["people_failed"] = 6 if outcome == "failed" else 0
        runs.append(
            create_run(
                trigger="schedule",
                outcome=outcome,
                started_at=started,
                heartbeat_at=started,
                finished_at=started + timedelta(seconds=rng.randint(20, 400)),
                counts=counts,
                problem="GitHub failed 5 times in a row; last error: returned 502" if outcome == "failed" else "",
                version=__version__,
            )
        )
    return runs


def _create_active(login: str, name: str, number: int, now: datetime) -> Person:
    polled = now - timedelta(hours=2, minutes=number)
    return create_person(
        login,
        name=name,
        email=f"{login}@example.com",
        state="active",
        github_id=1000 + number,
        pipedrive_id=500 + number,
        pipedrive_linked_at=polled,
        polled_at=polled,
        attempted_at=polled,
        backfill="all",
    )


def _create_pushed(person: Person, rng: random.Random, now: datetime, run: SyncRun) -> Gist:
    stored = now - timedelta(days=rng.randint(0, 28), hours=rng.randint(1, 20))
    published = stored - timedelta(seconds=rng.randint(40, 110))
    subject = rng.choice(["Notes on compilers", "Parser for CSV", "Dotfiles", "Matrix sketch", "Bench of hash maps"])
    gist = create_gist(
        person, description=subject, push_state="pushed", pipedrive_activity_id=rng.randint(10**5, 10**6)
    )
    Gist.objects.filter(pk=gist.pk).update(
        github_created_at=published, created_at=stored, pushed_at=stored, discovery="stream"
    )
    _add_attempt(gist, run, stored, "succeeded", activity_id=gist.pipedrive_activity_id)
    return gist


def _create_trouble(people: list[Person], now: datetime, run: SyncRun) -> None:
    """Ken's contact was deleted; Barbara's gists were rejected; Radia's account cannot be read."""
    ken, barbara, radia = people[4], people[5], people[9]
    for _ in range(3):
        gist = create_gist(ken, description="Regular expressions")
        Gist.objects.filter(pk=gist.pk).update(pending_since=now - timedelta(hours=9))
    trouble = {"push_error": LOST, "push_failures": 4, "push_failing_since": now - timedelta(hours=9)}
    Person.objects.filter(pk=ken.pk).update(**trouble, push_attempted_at=now - timedelta(hours=2))
    for _ in range(2):
        gist = create_gist(barbara, description="Abstract types", push_state="rejected", push_error=REFUSAL)
        _add_attempt(gist, run, now - timedelta(hours=2), "refused", status=400, message=REFUSAL)
    failure = "GitHub GET /users/{login}/gists returned 500: <html>"
    Person.objects.filter(pk=radia.pk).update(
        failures=3,
        failing_since=now - timedelta(hours=8),
        last_error=failure,
        polled_at=now - timedelta(hours=11),
        next_attempt_at=now + timedelta(hours=4),
    )
    Alarm.objects.create(
        code="gists_failing",
        open_code="gists_failing",
        severity="ticket",
        message=f"3 gists have waited for an activity for more than 6 h 30 min.\n- {LOST}",
        raised_at=now - timedelta(hours=2),
    )


def _add_attempt(gist: Gist, run: SyncRun, moment: datetime, outcome: str, **fields: object) -> None:
    columns = {"gist": gist, "run_id": run.pk, "attempted_at": moment, "outcome": outcome, "duration": 0.2}
    PushAttempt.objects.create(**columns, **fields)
