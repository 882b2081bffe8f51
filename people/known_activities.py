"""What protects a push in flight outlives its person: rows of KnownActivity, from a deletion until the gist is stored.

`leave` is a part of each deletion, `adopt` of each storing, and `settle` of the end of a POST whose gist was deleted.
Each runs in the transaction of its caller.
"""

from datetime import datetime, timedelta

from people.models import Gist, KnownActivity, Person
from people.models.gist import pushed_columns

# After that, Pipedrive's search finds a person that was created, so its creation need not be remembered.
MAX_CREATION_AGE = timedelta(days=1)
State = Gist.PushState


def leave(people: list[Person]) -> list[Gist]:
    """Keep what Pipedrive has, or may have, of these people, who are locked and about to be deleted.

    Returns their gists, locked: a push that ends now has written its outcome before this, or finds no gist.
    """
    locked = Gist.objects.select_for_update().filter(person__in=people).order_by("pk")
    gists = list(locked.defer("description", "files"))
    started = {person.pk: person.pipedrive_create_started_at for person in people}
    KnownActivity.objects.leave(gists, {key: moment for key, moment in started.items() if moment})
    return gists


def adopt(gists: list[Gist], now: datetime) -> int:
    """Give these gists, which are not inserted yet, what is known of them. Returns how many have their activity."""
    known = KnownActivity.objects.select_for_update().find(gist.github_id for gist in gists)
    creating = {}
    for gist in gists:
        if row := known.get(gist.github_id):
            for name, value in row.gist_columns(gist, now).items():
                setattr(gist, name, value)
            if row.person_started_at and row.person_started_at > now - MAX_CREATION_AGE:
                creating[gist.person_id] = row.person_started_at
    for key, started_at in creating.items():
        Person.objects.filter(pk=key, pipedrive_id=None).update(pipedrive_create_started_at=started_at)
    KnownActivity.objects.drop(known.values())
    return sum(row.activity_id is not None for row in known.values())


def settle(github_id: str, started_at: datetime, activity_id: int | None, *, certain: bool, now: datetime) -> None:
    """Write the outcome of the POST that began then, after its gist was deleted: stored again, or not.

    Without an `activity_id` it is `certain` that none was created, or nothing is known.
    """
    if not activity_id and not certain:
        return
    row = KnownActivity.objects.of(github_id).filter(started_at=started_at)
    stored = Gist.objects.filter(github_id=github_id, push_state=State.STARTED, push_started_at=started_at)
    if activity_id:
        if not row.settle(activity_id):
            stored.update(**pushed_columns(activity_id, now))
    elif not row.delete()[0]:
        stored.update(push_state=State.PENDING, updated_at=now)
