"""Changes on GitHub: renamed, deleted and restored accounts, reused logins, edited, deleted and published gists."""

from datetime import timedelta

import pytest
from pytest_django import Settings

from people.models import Gist, Person
from tests.conftest import Sync
from tests.factories import create_person, let_time_pass
from tests.standins import GitHubStandIn, PipedriveStandIn, respond

pytestmark = pytest.mark.django_db


def move_back(time: timedelta) -> None:
    """Move the stored times of all people back."""
    for person in Person.objects.all():
        for name in ("attempted_at", "polled_at", "full_read_at"):
            moment = getattr(person, name)
            setattr(person, name, moment and moment - time)
        person.save()


def test_a_gone_account_is_checked_once_a_day_and_can_come_back(ada: Person, github: GitHubStandIn, sync: Sync) -> None:
    github.publish("ada")
    sync()
    account = github.delete_account("ada")
    sync()
    let_time_pass(timedelta(hours=1))
    gone = sync()
    github.clear_requests()
    sync()
    requests_same_day = len(github.requests)
    github.restore_account(account)
    github.publish("ada")
    move_back(timedelta(hours=25))

    sync()

    ada.refresh_from_db()
    assert (gone.counts["people_gone"], requests_same_day) == (1, 0)
    assert "GitHub does not know this account any more" in gone.problems[0]
    assert (ada.state, ada.last_error, ada.gists.count()) == ("active", "", 2)


def test_an_account_tracked_under_two_logins_is_a_conflict_until_one_is_deleted(
    ada: Person, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync
) -> None:
    github.publish("ada")
    sync()
    github.rename("ada", "countess")
    create_person("countess")

    sync()
    let_time_pass(timedelta(hours=1))
    sync()
    states = dict(Person.objects.values_list("github_username", "state"))
    error = Person.objects.get(github_username="countess").last_error
    Person.objects.get(github_username="countess").delete()
    sync("--person", "ada")

    assert states == {"ada": "conflict", "countess": "conflict"}
    assert f"the id {ada.pk}:" in error
    assert Person.objects.get().github_username == "countess"
    assert len(pipedrive.activities) == 1


def test_an_organisation_is_recognised(github: GitHubStandIn, sync: Sync, db: None) -> None:
    github.add_account("acme", type="Organization")
    create_person("acme")

    summary = sync()

    assert summary.code == 0
    assert Person.objects.get().last_error == "The account is an organisation; organisations have no gists."


def test_a_successful_poll_resets_the_failures(ada: Person, github: GitHubStandIn, sync: Sync) -> None:
    sync()
    github.fail("gists", respond(200, "null"))
    sync()
    ada.refresh_from_db()
    assert (ada.failures, ada.last_error[:6]) == (1, "GitHub")

    sync()

    ada.refresh_from_db()
    assert (ada.failures, ada.last_error) == (0, "")


def test_a_deleted_gist_is_marked_only_after_the_whole_list_was_read(
    ada: Person, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync
) -> None:
    Person.objects.update(backfill="none")
    ids = [github.publish("ada", f"Gist {number}") for number in range(120)]
    sync()
    github.remove("ada", ids[0])
    github.remove("ada", ids[119])

    partial = sync()  # All gists of the first page are stored, so the second page is not read.
    full = sync("--full")

    assert (partial.counts["gists_removed"], full.counts["gists_removed"]) == (0, 2)
    assert set(Gist.objects.exclude(removed_at=None).values_list("github_id", flat=True)) == {ids[0], ids[119]}


def test_a_secret_gist_made_public_is_found_by_the_weekly_full_read(
    ada: Person, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync
) -> None:
    old = github.publish("ada", "Old and secret", public=False)
    Person.objects.update(backfill="none")
    for number in range(110):
        github.publish("ada", f"Gist {number}")
    sync()
    github.edit("ada", old, public=True)
    sync()
    before = Gist.objects.filter(github_id=old).exists()
    move_back(timedelta(days=8))

    sync()

    assert (before, Gist.objects.filter(github_id=old).exists()) == (False, True)


@pytest.mark.slow("stores 3,000 gists")
def test_a_list_truncated_at_3000_gists_is_reported(ada: Person, github: GitHubStandIn, sync: Sync) -> None:
    Person.objects.update(backfill="none")
    for number in range(3005):
        github.publish("ada", f"Gist {number}")
    sync()
    github.publish("ada", "Newest, so that the oldest is no longer listed")

    summary = sync("--full")

    ada.refresh_from_db()
    assert (ada.state, ada.last_error[:39]) == ("active", "GitHub lists only the newest 3000 gists")
    assert (summary.counts["gists_removed"], ada.gists.count()) == (0, 3001)


def test_push_edits_updates_the_activity_of_an_edited_gist(
    ada: Person, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync, configured: Settings
) -> None:
    gist_id = github.publish("ada", "Draft")
    sync()
    github.edit("ada", gist_id, description="Final")
    without_setting = sync()
    configured.PUSH_EDITS = True

    summary = sync()

    (activity,) = pipedrive.activities.values()
    assert without_setting.counts["activities_edited"] == 0
    assert summary.counts["activities_edited"] == 1
    assert (activity["subject"], "Final" in activity["note"]) == ("Final", True)
    assert sync().counts["activities_edited"] == 0


def test_an_edit_does_not_recreate_a_deleted_activity(
    ada: Person, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync, configured: Settings
) -> None:
    configured.PUSH_EDITS = True
    gist_id = github.publish("ada", "Draft")
    sync()
    pipedrive.delete_activity(Gist.objects.get().pipedrive_activity_id or 0)
    github.edit("ada", gist_id, description="Final")

    summary = sync()

    assert (summary.code, pipedrive.gist_ids()) == (0, [])
    assert "not created again" in Gist.objects.get().push_error
