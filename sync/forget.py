"""Erase what is held about a forgotten person without a reference to the person's row: found activities."""

from typing import Any

from django.db.models import Max

from people.models import Gist
from sync.models import FoundActivity

FORGOTTEN_GIST = "-"  # no gist has this id
BATCH_SIZE = 500  # rows in one statement


def erase_found_activities(gists: list[Gist], **_: Any) -> None:
    """Receiver of `person_forgotten`: in its transaction."""
    ids = [gist.github_id for gist in gists]
    for start in range(0, len(ids), BATCH_SIZE):
        FoundActivity.objects.filter(gist_id__in=ids[start : start + BATCH_SIZE]).delete()
    newest = max((gist.pipedrive_activity_id or 0 for gist in gists), default=0)
    if newest:
        _keep_newest_activity(newest)


def _keep_newest_activity(activity_id: int) -> None:
    """Without this, the next run would take the person's newest activities for those of a restored backup."""
    pushed = Gist.objects.aggregate(newest=Max("pipedrive_activity_id"))["newest"]
    found = FoundActivity.objects.aggregate(newest=Max("activity_id"))["newest"]
    if activity_id > max(pushed or 0, found or 0):
        FoundActivity.objects.update_or_create(gist_id=FORGOTTEN_GIST, defaults={"activity_id": activity_id})
