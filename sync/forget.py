"""Erase what the tables of the sync hold about a forgotten person: lines of runs and alarms, and found activities."""

import re
from typing import Any

from django.db.models import Max

from people.forget import ERASED, Traces
from people.models import Gist, Suppressed
from sync.models import Alarm, ApiState, FoundActivity, SyncRun

FORGOTTEN_GIST = "-"  # no gist has this id
ERASED_LINE = f"(A line about {ERASED} was removed.)"
REMOVED = "asked not to be tracked, so it was removed."
LOGIN = re.compile(r"(?:@|/users/)([A-Za-z0-9_-]{1,39})")
GITHUB_ID = re.compile(r"/user/(\d{1,18})")
BATCH_SIZE = 500  # rows in one statement


def erase_traces(traces: Traces, **_: Any) -> None:
    """Receiver of `person_forgotten`: in its transaction."""
    for run in _lock_runs():
        if _erase_lines(run, traces):
            run.save(update_fields=["errors", "limits"])
    for alarm in Alarm.objects.all():
        if traces.are_in(alarm.message):
            Alarm.objects.filter(pk=alarm.pk).update(message=_without_lines(alarm.message, traces))
    for state in ApiState.objects.all():
        if traces.are_in(state.message):
            ApiState.objects.filter(pk=state.pk).update(message=ERASED_LINE)
    gists = list(traces.gists.values())
    for start in range(0, len(gists), BATCH_SIZE):
        FoundActivity.objects.filter(gist_id__in=gists[start : start + BATCH_SIZE]).delete()
    if traces.newest_activity_id:
        _keep_newest_activity(traces.newest_activity_id)


def _lock_runs() -> list[SyncRun]:
    """Runs with texts. The running ones are locked, so that they store theirs before this, or after the commit.

    In the second case they erase the lines themselves, see `erase_suppressed_lines`.
    """
    running = SyncRun.objects.select_for_update().filter(outcome=SyncRun.Outcome.RUNNING).order_by("pk")
    list(running.values_list("pk", flat=True))
    return list(SyncRun.objects.exclude(errors="", limits={}).order_by("pk").only("pk", "errors", "limits"))


def erase_suppressed_lines(run: SyncRun) -> None:
    """Erase what a run has just stored about people who were forgotten while it ran, or that it has removed."""
    text = run.errors + _stops(run)
    logins = Suppressed.objects.find_logins(LOGIN.findall(text))
    github_ids = Suppressed.objects.find_github_ids(map(int, GITHUB_ID.findall(text)))
    if (logins or github_ids) and _erase_lines(run, Traces(frozenset(logins), frozenset(github_ids))):
        run.save(update_fields=["errors", "limits"])


def _erase_lines(run: SyncRun, traces: Traces) -> bool:
    """Returns whether the run had lines about the person. Does not save."""
    if not traces.are_in(run.errors + _stops(run)):
        return False
    run.errors = _without_lines(run.errors, traces)
    for limits in run.limits.values():
        if traces.are_in(str(limits.get("stopped", ""))):
            limits["stopped"] = ERASED_LINE
    return True


def _without_lines(text: str, traces: Traces) -> str:
    return "\n".join(_erased(line) if traces.are_in(line) else line for line in text.splitlines())


def _erased(line: str) -> str:
    return f"A person {REMOVED}" if line.endswith(REMOVED) else ERASED_LINE


def _stops(run: SyncRun) -> str:
    """Why the run stopped calling each API."""
    return "\n" + "\n".join(str(limits.get("stopped", "")) for limits in run.limits.values())


def _keep_newest_activity(activity_id: int) -> None:
    """Without this, the next run would take the person's newest activities for those of a restored backup."""
    pushed = Gist.objects.aggregate(newest=Max("pipedrive_activity_id"))["newest"]
    found = FoundActivity.objects.aggregate(newest=Max("activity_id"))["newest"]
    if activity_id > max(pushed or 0, found or 0):
        FoundActivity.objects.update_or_create(gist_id=FORGOTTEN_GIST, defaults={"activity_id": activity_id})
