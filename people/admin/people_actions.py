"""The actions for tracked people."""

from django.db.models import Q

from people import tracking
from people.admin.actions import RowAction
from people.models import Gist, Person, PersonQuerySet

PushState = Gist.PushState
PAUSED = Q(state=Person.State.PAUSED)


def _has_gists(state: PushState) -> Q:
    return Q(pk__in=Gist.objects.filter(push_state=state).order_by().values("person"))


def _push_gists(people: PersonQuerySet, state: PushState) -> int:
    return Gist.objects.filter(person__in=people, push_state=state).push_again()


ROW_ACTIONS = (
    RowAction(
        name="request_sync",
        label="Sync soon",
        permission="change",
        selects=~PAUSED,
        apply=lambda people, user: tracking.sync_soon(people),
        done=("%d person comes first in the next run.", "%d people come first in the next run."),
        left=(
            "%d person is paused and was not changed: resume it first.",
            "%d people are paused and were not changed: resume them first.",
        ),
        history="Requested a sync.",
    ),
    RowAction(
        name="pause",
        label="Pause (stop polling)",
        permission="change",
        selects=~PAUSED,
        apply=lambda people, user: tracking.pause(people),
        done=("%d person is paused.", "%d people are paused."),
        left=("%d person was paused already.", "%d people were paused already."),
        history="Paused.",
    ),
    RowAction(
        name="resume",
        label="Resume (poll again)",
        permission="change",
        selects=PAUSED,
        apply=lambda people, user: tracking.resume(people),
        done=("%d person is resumed.", "%d people are resumed."),
        left=("%d person was not paused.", "%d people were not paused."),
        history="Resumed.",
    ),
    RowAction(
        name="push_rejected",
        label="Push rejected gists again",
        permission="push",
        selects=_has_gists(PushState.REJECTED),
        apply=lambda people, user: _push_gists(people, PushState.REJECTED),
        done=("The next run pushes %d rejected gist again.", "The next run pushes %d rejected gists again."),
        left=("%d person has no rejected gists.", "%d people have no rejected gists."),
        history="Pushed the rejected gists again.",
    ),
    RowAction(
        name="push_skipped",
        label="Push skipped gists",
        permission="push",
        selects=_has_gists(PushState.SKIPPED),
        apply=lambda people, user: _push_gists(people, PushState.SKIPPED),
        done=("The next run pushes %d skipped gist.", "The next run pushes %d skipped gists."),
        left=("%d person has no skipped gists.", "%d people have no skipped gists."),
        history="Pushed the skipped gists.",
    ),
)
