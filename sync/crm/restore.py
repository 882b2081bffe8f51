"""Notice that the database is older than what it has made, as after a restored backup, before anything is pushed.

Once a run, the newest activities of Pipedrive are read back to the newest one that the database knows. An activity of a
gist that the database would push again shows that the database was restored. Such activities are kept as KnownActivity
until their gist is stored, whichever person they are filed under, and the activities of all people are compared again.
"""

from collections.abc import Collection
from dataclasses import dataclass, field

from django.utils.translation import ngettext

from people.models import Gist, KnownActivity, Person
from people.tracking import compare_again
from sync.clients.pipedrive import PipedriveClient
from sync.crm.lists import check_known
from sync.crm.recognition import page_of_gist_in

MAX_ACTIVITIES_IF_EMPTY = 5000  # looked at if the database has pushed nothing yet: there may be millions of others
MAX_ACTIVITIES = 50_000  # looked at otherwise; with more, all people are compared
State = Gist.PushState


@dataclass
class NewerActivities:
    """What was read of the list of all activities, newest first."""

    ids: set[int] = field(default_factory=set)
    found: dict[str, int] = field(default_factory=dict)  # activity ids by gist id, newer than the newest known
    oldest: int = 0  # the id at which reading ended; 0 if the list was read to its end
    has_too_many: bool = False


def read_newer(pipedrive: PipedriveClient, newest_known: int, known: Collection[int]) -> NewerActivities:
    """A step: the activities after this one. `known`: some that must be among all. Raises what the client raises."""
    read = NewerActivities()
    limit = MAX_ACTIVITIES if newest_known else MAX_ACTIVITIES_IF_EMPTY
    for activity in pipedrive.iter_last_activities():
        read.ids.add(activity.id)
        if activity.id <= newest_known or len(read.ids) > limit:
            read.oldest = activity.id
            read.has_too_many = activity.id > newest_known > 0
            break
        gist_id = page_of_gist_in(activity.note)
        if gist_id:
            read.found[gist_id] = activity.id
    check_known(pipedrive, read.ids, [number for number in known if number >= read.oldest])
    return read


def store_newer(read: NewerActivities) -> int:
    """Keep the activities that the database does not know, in a transaction. Returns how many there are."""
    unknown = _find_unknown(read) if read.found else {}
    if unknown or read.has_too_many:
        compare_again(Person.objects.all())
        KnownActivity.objects.store(unknown)
    return len(unknown)


def describe_newer(read: NewerActivities, unknown: int) -> str:
    """The problem: the database is older than what Pipedrive has."""
    gists = ngettext("%d gist", "%d gists", unknown) % unknown
    what = f"more than {MAX_ACTIVITIES} activities" if read.has_too_many else f"activities of {gists}"
    return (
        f"Pipedrive has {what} that this database has not pushed (a restored backup?): all people are compared with "
        "Pipedrive before they are pushed."
    )


def _find_unknown(read: NewerActivities) -> dict[str, int]:
    """The activities of gists that are not pushed, nor sent with unknown outcome, by the gist's id.

    Those of gists that were deleted while their POST was sent are its outcome.
    """
    known = Gist.objects.filter(push_state__in=[State.PUSHED, State.STARTED], github_id__in=list(read.found))
    unknown = read.found.keys() - set(known.values_list("github_id", flat=True))
    deleted = KnownActivity.objects.find(unknown)
    for gist_id, row in deleted.items():
        KnownActivity.objects.filter(pk=row.pk, activity_id=None).settle(read.found[gist_id])
    return {gist_id: read.found[gist_id] for gist_id in unknown - deleted.keys()}
