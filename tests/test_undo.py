"""`manage.py undo_run` takes back what a run has created, and nothing that a colleague has changed since."""

import subprocess
import sys
from collections.abc import Callable

import pytest
from django.core.management import CommandError, call_command
from pytest_django import Settings

from people.models import Gist, Person
from sync.models import PushAttempt, SyncRun
from tests.conftest import PIPEDRIVE_TOKEN, ROOT, Sync, wait_until
from tests.factories import track
from tests.standins import Fault, GitHubStandIn, PipedriveStandIn, reset, respond

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both]
Undo = Callable[..., tuple[int, str]]


@pytest.fixture
def undo(configured: Settings, capsys: pytest.CaptureFixture[str]) -> Undo:
    """Run `undo_run`. Returns the exit code and the output."""

    def run(*arguments: str) -> tuple[int, str]:
        capsys.readouterr()
        code = 0
        try:
            call_command("undo_run", *arguments)
        except SystemExit as error:
            code = int(error.code or 0)
        captured = capsys.readouterr()
        return code, captured.out + captured.err

    return run


@pytest.fixture
def runs(ada: Person, github: GitHubStandIn, sync: Sync) -> tuple[str, str]:
    """Two runs with two activities each."""
    ids = []
    for name in ("First", "Second"):
        for number in range(2):
            github.publish("ada", f"{name} {number}")
        ids.append(str(sync().json["run"]))
    return ids[0], ids[1]


def states() -> dict[str, str]:
    return dict(Gist.objects.values_list("description", "push_state"))


def remaining(pipedrive: PipedriveStandIn) -> set[str]:
    return {row["subject"] for row in pipedrive.activities.values() if not row["is_deleted"]}


def test_the_activities_of_one_run_are_deleted_and_its_gists_skipped(
    runs: tuple[str, str], pipedrive: PipedriveStandIn, undo: Undo
) -> None:
    code, output = undo(runs[1])

    assert (code, output) == (0, f"Run {runs[1]}: 2 activities deleted, 0 kept.\n")
    assert remaining(pipedrive) == {"First 0", "First 1"}
    assert states() == {"First 0": "pushed", "First 1": "pushed", "Second 0": "skipped", "Second 1": "skipped"}
    gist = Gist.objects.latest("id")
    assert gist.pipedrive_activity_id is None
    assert f"of run {runs[1]} was deleted" in gist.push_explanation


def test_a_dry_run_deletes_nothing(runs: tuple[str, str], pipedrive: PipedriveStandIn, undo: Undo) -> None:
    code, output = undo(runs[1], "--dry-run")

    assert code == 0
    assert output.count("would be deleted: @ada, gist") == 2
    assert output.endswith("2 activities would be deleted, 0 kept.\n")
    assert len(remaining(pipedrive)) == 4
    assert set(states().values()) == {"pushed"}


def test_what_a_colleague_has_changed_is_kept_and_listed(
    runs: tuple[str, str], pipedrive: PipedriveStandIn, undo: Undo
) -> None:
    changed = max(pipedrive.activities)
    pipedrive.edit_activity(changed, note="Called him")

    code, output = undo(runs[1])

    assert code == 0
    assert f"activity {changed}: it was changed" in output
    assert output.endswith("1 activity deleted, 1 kept.\n")
    assert "Second 1" in remaining(pipedrive)
    assert states()["Second 1"] == "pushed"


def test_an_activity_that_was_updated_after_an_edit_is_kept(
    # A colleague may have changed it before, which its update time does not show any more.
    runs: tuple[str, str],
    github: GitHubStandIn,
    pipedrive: PipedriveStandIn,
    sync: Sync,
    undo: Undo,
    configured: Settings,
) -> None:
    configured.PUSH_EDITS = True
    gist = Gist.objects.get(description="Second 0")
    github.edit("ada", gist.github_id, description="Edited")
    sync()

    code, output = undo(runs[1])

    assert (code, remaining(pipedrive)) == (0, {"First 0", "First 1", "Edited"})
    assert "kept: @ada" in output


def test_an_undo_can_be_repeated_and_undoes_nothing_twice(
    runs: tuple[str, str], pipedrive: PipedriveStandIn, undo: Undo
) -> None:
    undo(runs[1])
    deleted = pipedrive.counts["delete_activity"]

    assert undo(runs[1]) == (0, f"Run {runs[1]}: 0 activities deleted, 0 kept.\n")
    assert pipedrive.counts["delete_activity"] == deleted == 2


def test_undone_gists_are_not_pushed_again_by_themselves(
    runs: tuple[str, str], github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync, undo: Undo
) -> None:
    undo(runs[0])
    undo(runs[1])

    for _ in range(2):
        assert sync("--full").code == 0
    assert remaining(pipedrive) == set()

    Gist.objects.push_again()
    assert sync().counts["gists_pushed"] == 4
    assert len(remaining(pipedrive)) == 4


@pytest.mark.slow("starts undo_run as a process")
def test_a_killed_undo_is_finished_by_the_next_one(
    ada: Person,
    github: GitHubStandIn,
    pipedrive: PipedriveStandIn,
    sync: Sync,
    undo: Undo,
    database_variables: dict[str, str],
) -> None:
    for number in range(12):
        github.publish("ada", f"Gist {number}")
    run = str(sync().json["run"])
    pipedrive.latency = 0.03
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "manage.py"), "undo_run", run],
        env={**database_variables, "PIPEDRIVE_API_URL": pipedrive.url, "PIPEDRIVE_TOKEN": PIPEDRIVE_TOKEN},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    wait_until(lambda: pipedrive.counts["delete_activity"] >= 4)
    process.kill()
    process.wait()
    pipedrive.latency = 0
    assert 0 < len(remaining(pipedrive)) < 12

    code, _ = undo(run)

    assert (code, remaining(pipedrive), set(states().values())) == (0, set(), {"skipped"})


FAULTS: dict[str, tuple[str, Fault]] = {
    "the response of a DELETE is lost": ("delete_activity", reset(after=True)),
    "a DELETE fails once": ("delete_activity", respond(500)),
    "a GET fails once": ("get_activity", respond(500)),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_passing_fault_is_overcome(
    fault: str, runs: tuple[str, str], pipedrive: PipedriveStandIn, undo: Undo
) -> None:
    pipedrive.fail(*FAULTS[fault])

    code, _ = undo(runs[1])

    assert (code, remaining(pipedrive)) == (0, {"First 0", "First 1"})
    assert Gist.objects.filter(push_state="skipped").count() == 2


LASTING: dict[str, Fault] = {
    "404 of a gateway": respond(404, "<html>", {"content-type": "text/html"}),
    "404 of Pipedrive": respond(404, '{"success": false, "error": "Not found"}'),
    "403": respond(403, '{"success": false, "error": "Scope and URL mismatch"}'),
    "a record without an id": respond(200, '{"success": true, "data": {}}'),
    "null": respond(200, '{"success": true, "data": null}'),
    "HTML": respond(200, "<html>", {"content-type": "text/html"}),
}


@pytest.mark.parametrize("fault", LASTING)
@pytest.mark.parametrize("operation", ["get_activity", "delete_activity"])
def test_nothing_is_marked_as_undone_that_was_not(
    operation: str, fault: str, runs: tuple[str, str], pipedrive: PipedriveStandIn, undo: Undo
) -> None:
    pipedrive.fail(operation, LASTING[fault], times=99)

    code, output = undo(runs[1])

    assert "0 activities deleted" in output or operation == "delete_activity"
    gone = {row["subject"] for row in pipedrive.activities.values() if row["is_deleted"]}
    assert {name for name, state in states().items() if state == "skipped"} <= gone
    pipedrive.heal()
    assert undo(runs[1])[0] == 0
    assert remaining(pipedrive) == {"First 0", "First 1"}
    assert code in (0, 3, 78)


def test_an_activity_that_was_found_later_belongs_to_the_run_that_sent_it(
    ada: Person, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync, undo: Undo
) -> None:
    github.publish("ada")
    pipedrive.fail("create_activity", reset(after=True))
    first = str(sync().json["run"])
    second = str(sync().json["run"])

    assert "0 activities deleted" in undo(second)[1]
    assert "1 activity deleted" in undo(first)[1]


def test_an_undo_keeps_the_pause_after_a_block(runs: tuple[str, str], pipedrive: PipedriveStandIn, undo: Undo) -> None:
    pipedrive.fail("get_activity", respond(403, "<html>blocked", {"content-type": "text/html"}))
    first = undo(runs[1])
    sent = len(pipedrive.requests)
    second = undo(runs[1])

    assert (first[0], second[0], len(pipedrive.requests)) == (3, 3, sent)
    assert "Repeat the command to continue" in second[1]
    assert "not called before" in second[1]


@pytest.mark.parametrize("argument", ["x", "0", "-1", "1.5", ""])
def test_an_invalid_run_is_rejected(argument: str, configured: Settings) -> None:
    with pytest.raises(CommandError, match=r"number of a run|required|expected"):
        call_command("undo_run", argument)


def test_an_unknown_run_is_rejected(configured: Settings) -> None:
    with pytest.raises(CommandError, match="Run 4711 does not exist"):
        call_command("undo_run", "4711")


def test_an_undo_is_recorded_as_attempts(runs: tuple[str, str], undo: Undo) -> None:
    undo(runs[1])

    kinds = PushAttempt.objects.filter(run_id=int(runs[1])).order_by("id").values_list("kind", "outcome")
    assert list(kinds) == [("create", "succeeded")] * 2 + [("delete", "succeeded")] * 2


def test_people_who_are_not_tracked_any_more_are_left_out(
    runs: tuple[str, str], github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync, undo: Undo
) -> None:
    track(github, "ben", gists=1)
    run = str(sync().json["run"])
    Person.objects.get(github_username="ben").delete()

    assert undo(run) == (0, f"Run {run}: 0 activities deleted, 0 kept.\n")
    assert SyncRun.objects.filter(pk=run).exists()
