"""A restored backup: the database is older than what it has made.

Nothing may be doubled, whatever was forgotten, and consumers that keep cursors miss nothing.
"""

from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection
from django.utils import timezone
from rest_framework.test import APIClient

from gisttracker.common.row_ids import last_id, set_next_id
from people import tracking
from people.models import Gist, KnownActivity, Person
from sync.models import SyncRun
from tests.conftest import Sync
from tests.factories import create_gist, create_gists, create_person, track
from tests.standins import GitHubStandIn, PipedriveStandIn, respond

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both]


class Backup:
    """The rows of people, gists and runs at one moment, and the next gist's id."""

    def __init__(self) -> None:
        self.rows: list[list[Any]] = [list(Person.objects.all()), list(Gist.objects.all()), list(SyncRun.objects.all())]
        self.last_id = last_id(Gist)

    def restore(self) -> None:
        for table in (SyncRun.objects, Gist.objects, Person.objects, KnownActivity.objects):
            table.all().delete()
        for rows in filter(None, self.rows):
            type(rows[0]).objects.bulk_create(rows)
        set_next_id(Gist, self.last_id + 1)


@pytest.fixture
def pushed_after_backup(github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync) -> Backup:
    """Of three people, two gists each are older than the backup. Gists pushed after it: known ones and new ones."""
    for login in ("ada", "ben", "cleo"):
        track(github, login, gists=2)
    sync("--max-activities", "3")
    backup = Backup()
    for login in ("ada", "ben", "cleo"):
        github.publish(login, "After the backup")
    sync()
    assert len(pipedrive.activities) == 9
    return backup


@pytest.mark.parametrize("step", ["forgotten", "done"])
def test_nothing_is_doubled_after_a_restore(
    step: str, pushed_after_backup: Backup, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync
) -> None:
    pushed_after_backup.restore()
    if step == "done":
        call_command("after_restore")
    new = github.publish("ada", "After the restore")

    first = sync("--max-people", "1")  # The others are stored and pushed in a later run.
    sync()

    assert len(pipedrive.activities) == len(set(pipedrive.gist_ids())) == 10
    assert new in pipedrive.gist_ids()
    assert set(Gist.objects.values_list("push_state", flat=True)) == {"pushed"}
    assert any("a restored backup" in problem for problem in first.problems)


def test_a_person_relinked_after_the_backup_is_not_doubled(
    pushed_after_backup: Backup, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync
) -> None:
    chosen = pipedrive.add_person("Chosen after the backup")
    ada = Person.objects.get(github_username="ada")
    tracking.relink(ada, chosen)
    ada.save()
    github.publish("ada", "Pushed to the chosen one")
    sync()
    assert len(pipedrive.activities_of(chosen)) == 1
    pushed_after_backup.restore()

    for _ in range(2):
        sync()

    assert len(pipedrive.activities) == len(set(pipedrive.gist_ids())) == 10


def test_nothing_is_pushed_while_the_comparison_fails(
    pushed_after_backup: Backup, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync
) -> None:
    pushed_after_backup.restore()
    pipedrive.fail("list_activities", respond(500, "{}"), times=1000)

    during = sync()
    pipedrive.heal()
    sync()

    assert during.counts["gists_pushed"] == 0
    assert len(pipedrive.activities) == 9


def test_a_restore_is_reported_once(
    pushed_after_backup: Backup, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync
) -> None:
    pushed_after_backup.restore()
    sync()
    for _ in range(2):
        github.publish("ada")

        assert sync().problems == []
    assert not KnownActivity.objects.exists()


NOTES = [
    None,
    "",
    "called",
    '<a href="https://example.com/report">a</a>',
    '<a href="https://github.com/ada/abc123">a</a>',
    '<a href="https://example.com/?x=gist.github.com/ada/abc123">a</a>',
]


def test_other_activities_are_no_sign_of_a_restore(
    github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync
) -> None:
    track(github, "ada", gists=1)
    sync()
    (first,) = pipedrive.activities.values()
    pipedrive.activities.update(
        {number: {**first, "id": number, "note": note} for number, note in enumerate(NOTES, 1000)}
    )
    github.publish("ada")

    summary = sync()

    assert (summary.problems, summary.counts["gists_pushed"]) == ([], 1)


def test_after_restore_compares_all_people_again(capsys: pytest.CaptureFixture[str]) -> None:
    create_person("ada", pipedrive_matched_at=timezone.now())

    call_command("after_restore")

    assert Person.objects.get().pipedrive_matched_at is None
    assert "the gists of 1 person are compared" in capsys.readouterr().out


# --- consumers ---
@pytest.mark.parametrize("gists_in_backup", [0, 2])
def test_a_consumer_that_kept_its_cursor_gets_each_gist_that_is_stored_after_a_restore(
    gists_in_backup: int, api: APIClient
) -> None:
    ada = create_person("ada")
    create_gists(ada, gists_in_backup)
    backup = Backup()
    create_gists(ada, 3)  # They are lost, and stored again.
    visited = api.get("/api/v1/people/ada").json()["cursor"]
    received = api.get("/api/v1/gists").json()["cursor"]

    backup.restore()
    call_command("after_restore")
    acknowledged = api.post("/api/v1/feed/ack", {"cursor": received})
    later = [gist.pk for gist in create_gists(ada, 4)]

    since = api.get(f"/api/v1/people/ada?since={visited}").json()["gists"]
    assert [row["id"] for row in since] == later
    assert [row["id"] for row in api.get(f"/api/v1/gists?after={received}").json()["results"]] == later
    assert acknowledged.json() == {"cursor": received}
    assert [row["id"] for row in api.get("/api/v1/gists").json()["results"]] == later


def test_after_restore_leaves_a_gap_of_ten_million_ids() -> None:
    ada = create_person("ada")
    before = create_gist(ada).pk

    call_command("after_restore")

    assert last_id(Gist) >= before + 9_999_999
    assert create_gist(ada).pk >= before + 10_000_000


def test_the_last_id_is_that_of_the_newest_row_also_when_it_is_deleted() -> None:
    gists = create_gists(create_person("ada"), 3)
    assert last_id(Gist) == gists[-1].pk

    Gist.objects.all().delete()

    assert last_id(Gist) == gists[-1].pk


def test_an_empty_database_leaves_the_gap_too() -> None:
    if connection.vendor == "sqlite":
        connection.cursor().execute("DELETE FROM sqlite_sequence")  # as after `migrate`

    call_command("after_restore")

    assert create_gist(create_person("ada")).pk >= 10_000_000
