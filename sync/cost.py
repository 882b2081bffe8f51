"""What pushes cost at Pipedrive: activities, API tokens and days. An estimate, known before the first push."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.db.models import Count, Q

from people.models import Gist, Person
from sync.clients.pipedrive import TOKENS

# Of a whole run: the activity types, the fields of persons, the newest persons (two pages) and activities.
RUN_TOKENS = TOKENS["get_activity_types"] + 4 * TOKENS["list"]
# To find or create the Pipedrive person of a new person: by GitHub id, e-mail and name.
LINK_TOKENS = 3 * TOKENS["search"] + TOKENS["create"]
# To compare the activities of a given Pipedrive person with its gists.
MATCH_TOKENS = TOKENS["list"] + 2 * TOKENS["get"]


@dataclass(frozen=True)
class Cost:
    """`days` at most PIPEDRIVE_DAILY_ACTIVITIES a day; 1 if that is unlimited, 0 if there is nothing to create."""

    activities: int
    api_tokens: int
    days: int

    def as_dict(self) -> dict[str, int]:
        return dict(vars(self))

    def __str__(self) -> str:
        activities = "1 activity" if self.activities == 1 else f"{self.activities} activities"
        days = f", {self.days} days" if self.days > 1 else ""
        return f"{activities}, about {self.api_tokens} tokens of Pipedrive's daily API budget{days}"


def estimate_costs(new: Mapping[int, int], people: Q, daily_limit: int) -> dict[str, Cost]:
    """What a run will cost: for new gists (their number by person), for the backlog of these people, and together."""
    backlog = count_backlog(people)
    parts = {"new gists": new, "backlog": backlog, "total": Counter(new) + Counter(backlog)}
    return {name: estimate(activities, daily_limit) for name, activities in parts.items()}


def estimate(activities: Mapping[int, int], daily_limit: int) -> Cost:
    """The cost of pushing this many gists of these people, by their primary keys."""
    people = {pk: number for pk, number in activities.items() if number}
    total = sum(people.values())
    if not total:
        return Cost(0, 0, 0)
    linked = compared = 0
    for start in range(0, len(people), 500):
        rows = Person.objects.filter(pk__in=list(people)[start : start + 500])
        linked += rows.filter(pipedrive_id__isnull=False).count()
        compared += rows.filter(pipedrive_id__isnull=False, pipedrive_matched_at__isnull=False).count()
    tokens = RUN_TOKENS + total * TOKENS["create"]
    tokens += (len(people) - linked) * LINK_TOKENS + (linked - compared) * MATCH_TOKENS
    return Cost(total, tokens, -(-total // daily_limit) if daily_limit else 1)


def count_backlog(people: Q) -> dict[int, int]:
    """How many stored gists of these people wait for their activity, by person."""
    backlog: Any = Gist.objects.unfinished().filter(person__in=Person.objects.filter(people)).order_by()
    return dict(backlog.values_list("person").annotate(Count("pk")))
