"""A restored backup: the database is older than what it has made. Nothing may be doubled, whatever was forgotten."""

from datetime import timedelta
from typing import Any

import pytest
from django.core.management import call_command
from django.utils import timezone

from people import tracking
from people.models import Gist, KnownActivity, Person
from sync.models import SyncRun
from tests.conftest import Sync
from tests.factories import create_run, track
from tests.standins import GitHubStandIn, PipedriveStandIn, respond

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both]


class Backup:
    """The rows of people, gists and runs at one moment."""

    def __init__(self) -> None:
        self.rows: list[list[Any]] = [list(Person.objects.all()), list(Gist.objects.all()), list(SyncRun.objects.all())]

    def restore(self) -> None:
        for table in (SyncRun.objects, Gist.objects, Person.objects, KnownActivity.objects):
            table.all().delete()
        for rows in self.rows:
            type(rows[0]).objects.bulk_create(rows)


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


def test_after_restore_frees_the_people_of_runs_in_the_backup(capsys: pytest.CaptureFixture[str]) -> None:
    run = create_run()
    now = timezone.now()
    Person.objects.create(
        github_username="ada",
        pipedrive_matched_at=now,
        lease_holder=f"{run.token}-poll",
        leased_until=now + timedelta(days=1),
    )

    call_command("after_restore")

    ada = Person.objects.get()
    assert (ada.pipedrive_matched_at, ada.lease_holder, SyncRun.objects.get().outcome) == (None, "", "crashed")
    assert "the gists of 1 person are compared" in capsys.readouterr().out
