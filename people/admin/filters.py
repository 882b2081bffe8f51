"""Filters of the lists. Each uses an index; see Person.Meta and Gist.Meta."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any, cast

from django.contrib import admin
from django.contrib.admin.options import IncorrectLookupParameters
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone

from people.models import Gist, Person, PersonQuerySet


def _has_rejected(people: PersonQuerySet) -> PersonQuerySet:
    return people.filter(pk__in=Gist.objects.filter(push_state=Gist.PushState.REJECTED).order_by().values("person"))


CONDITIONS: dict[str, tuple[str, Callable[[PersonQuerySet], PersonQuerySet]]] = {
    # The states are named so that the index on state and polled_at is used.
    "never_polled": ("never polled", lambda people: people.filter(state__in=Person.State.values, polled_at=None)),
    "stale": ("stale: not polled for too long", PersonQuerySet.stale),
    "has_rejected": ("has rejected gists", _has_rejected),
    "not_linked": ("not linked to Pipedrive", lambda people: people.filter(pipedrive_id=None)),
    "in_backoff": ("in backoff after failures", PersonQuerySet.in_backoff),
}


class StrictListFilter(admin.SimpleListFilter):
    """Rejects a value that it does not offer; Django's filter shows all rows then."""

    def value(self) -> str | None:
        value = super().value()
        if value is not None and value not in {str(choice) for choice, _ in self.lookup_choices}:
            raise IncorrectLookupParameters(f"{self.parameter_name}: {value}")
        return value


class ConditionFilter(StrictListFilter):
    title = "condition"
    parameter_name = "condition"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(name, label) for name, (label, _) in CONDITIONS.items()]

    def queryset(self, request: HttpRequest, people: QuerySet[Any]) -> QuerySet[Any]:
        condition = self.value()
        return CONDITIONS[condition][1](cast(PersonQuerySet, people)) if condition else people


class StoredFilter(StrictListFilter):
    title = "stored"
    parameter_name = "stored"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("1", "in the last 24 hours"), ("7", "in the last 7 days"), ("30", "in the last 30 days")]

    def queryset(self, request: HttpRequest, gists: QuerySet[Any]) -> QuerySet[Any]:
        days = self.value()
        return gists.filter(created_at__gte=timezone.now() - timedelta(days=int(days))) if days else gists
