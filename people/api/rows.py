"""The rows that the API works on: found, locked, changed, and as a list shows them."""

from typing import Any

from django.db.models import Count, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from rest_framework.exceptions import NotFound

from people.api.serializers import PersonSerializer
from people.models import Gist, Person


def change(person: Person, changes: dict[str, Any]) -> None:
    """Apply what a PATCH asks for to a locked person."""
    if "pipedrive_id" in changes:
        person.relink(changes["pipedrive_id"])
    if "backfill" in changes:
        person.backfill = changes["backfill"]
        person.gists.widen_backfill(person.backfill)
    person.save()
    if "state" in changes:
        row = Person.objects.filter(pk=person.pk)
        row.pause() if changes["state"] == Person.State.PAUSED else row.resume()


def tracked(username: str) -> Person:
    person = Person.objects.named(username).first()
    if person is None:
        raise not_tracked(username)
    return person


def locked(person: Person) -> Person:
    row = Person.objects.select_for_update().filter(pk=person.pk).first()
    if row is None:
        raise not_tracked(person.github_username)
    return row


def not_tracked(username: str) -> NotFound:
    return NotFound(f"Nobody named {username[:40]} is tracked; POST /api/v1/people tracks somebody.")


def shown(person: Person) -> Any:
    """A person as a list shows it, fresh from the database."""
    fresh = with_counts(Person.objects.filter(pk=person.pk)).first()
    if fresh is None:
        raise not_tracked(person.github_username)
    return PersonSerializer(fresh).data


def with_counts(people: QuerySet[Person]) -> QuerySet[Person]:
    """People with what a list shows of their gists."""
    return people.annotate(
        gist_count=count_gists(),
        pending_count=count_gists(push_state__in=[Gist.PushState.PENDING, Gist.PushState.STARTED]),
        rejected_count=count_gists(push_state=Gist.PushState.REJECTED),
    )


def count_gists(**which: Any) -> Coalesce:
    """Per listed person, the number of such gists; only the rows of the page are counted."""
    gists = Gist.objects.filter(person=OuterRef("pk"), **which).order_by().values("person")
    return Coalesce(Subquery(gists.annotate(number=Count("pk")).values("number")), 0)
