"""Forget people: erase all that is held about them, and keep hashes so that they are not tracked again.

One transaction per person: it ends with all of this done, or with nothing. What is erased in sync/ is done by the
receivers of `person_forgotten`. Pipedrive keeps its records.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from django.contrib.admin.models import LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db import transaction
from django.db.models import Q, QuerySet
from django.dispatch import Signal

from gisttracker.database import retried
from people.github_names import login_key
from people.models import Gist, Person, PersonQuerySet, Suppressed

ERASED = "a person who asked not to be tracked"  # the name in rows that stay
BATCH_SIZE = 500  # keys in one statement
GIST_OWNER = re.compile(r"https?://[^/]+/(?:gist/)?([A-Za-z0-9_-]{1,39})/[0-9a-zA-Z]+")
GIST_ID = re.compile(r"(?:\bgist |/)([0-9a-zA-Z]{1,64})\b|\b([0-9a-f]{20,64})\b")  # a short one looks like a number

# Sent inside the transaction that erases a person, with `traces`. If a receiver fails, nothing is erased.
person_forgotten = Signal()


@dataclass(frozen=True)
class Traces:
    """What names an erased person in texts and in tables that do not refer to the person's row."""

    logins: frozenset[str]  # the login, and earlier ones in the URLs of the gists, in lower case
    github_ids: frozenset[int] = frozenset()
    person_id: int | None = None
    gists: dict[int, str] = field(default_factory=dict)  # their GitHub ids by primary key
    newest_activity_id: int = 0  # at Pipedrive

    @classmethod
    def of(cls, person: Person, gists: Iterable[Gist]) -> "Traces":
        """The traces of a person with these gists."""
        rows = list(gists)
        owners = {match[1] for gist in rows if (match := GIST_OWNER.match(gist.html_url))}
        return cls(
            logins=frozenset(login_key(login) for login in {person.github_username, *owners}),
            github_ids=frozenset([person.github_id] if person.github_id else []),
            person_id=person.pk,
            gists={gist.pk: gist.github_id for gist in rows},
            newest_activity_id=max((gist.pipedrive_activity_id or 0 for gist in rows), default=0),
        )

    def are_in(self, text: str) -> bool:
        """Does this text name the person, or one of the gists? Bare words do not count: a login may be any word."""
        if self._names.search(text):
            return True
        return any((match[1] or match[2]) in self._gist_ids for match in GIST_ID.finditer(text))

    @property
    def _names(self) -> re.Pattern[str]:
        logins, ids = ("|".join(map(re.escape, sorted(map(str, names)))) for names in (self.logins, self.github_ids))
        by_login = rf"(?:@|/users/|\bnamed |\bgist\.[^/\s]+/)(?:{logins})(?![\w-])"
        by_id = rf"/user/(?:{ids})(?!\d)"
        parts = [*([by_login] if logins else []), *([by_id] if ids else [])]
        return re.compile("|".join(parts), re.IGNORECASE)

    @property
    def _gist_ids(self) -> set[str]:
        return set(self.gists.values())


def forget(people: PersonQuerySet, *, by: str) -> int:
    """Erase these people and refuse their accounts from now on. Returns how many there were.

    `by`: who requested it, without personal data of the people.
    """
    keys = list(people.order_by().values_list("pk", flat=True).distinct())
    return sum(_forget_person(key, by) for key in keys)


def forget_login(login: str, *, by: str) -> None:
    """As `forget`, by login (in any case), tracked or not: an owner may ask before the account is tracked.

    Can be repeated.
    """
    if not forget(Person.objects.named(login), by=by):
        with transaction.atomic():
            Suppressed.objects.suppress(logins=[login], by=by)
            _erase_traces(Traces(frozenset([login_key(login)])))


def forget_suppressed(*, by: str) -> int:
    """Erase tracked people who are suppressed, as after a restored backup. Returns how many there were.

    The id decides. The login counts only for people who were never polled: another account may have it by now.
    """
    if not Suppressed.objects.exists():
        return 0
    by_id = dict(Person.objects.filter(github_id__isnull=False).values_list("github_id", "pk"))
    keys = [by_id[github_id] for github_id in Suppressed.objects.find_github_ids(key for key in by_id if key)]
    by_login = dict(Person.objects.filter(github_id=None).values_list("username_key", "pk"))
    keys += [by_login[login] for login in Suppressed.objects.find_logins(by_login)]
    return sum(_forget_person(key, by) for key in keys)


@retried
def _forget_person(key: int, by: str) -> bool:
    """Returns whether the person existed."""
    with transaction.atomic():
        # The sync takes the same lock, so it adds no rows while these are deleted.
        person = Person.objects.select_for_update().filter(pk=key).first()
        if person is None:
            return False
        # Locked: a push that ends now has recorded its attempt before this, or finds no gist (see sync.attempts).
        gists = Gist.objects.select_for_update().filter(person=person).order_by("pk")
        traces = Traces.of(person, gists.only("pk", "github_id", "html_url", "pipedrive_activity_id"))
        ids = [person.github_id] if person.github_id else []
        Suppressed.objects.suppress(logins=[person.github_username], github_ids=ids, by=by)
        person.delete()
        Person.objects.filter(state=Person.State.CONFLICT).request_sync()  # One may be the same account's second row.
        _erase_traces(traces)
    return True


def _erase_traces(traces: Traces) -> None:
    _erase_admin_log(traces)
    person_forgotten.send(sender=Person, traces=traces)


def _erase_admin_log(traces: Traces) -> None:
    """Who did what and when stays; of what is erased."""
    for entries in find_admin_log(traces):
        entries.update(object_repr=ERASED, object_id=None, change_message="")


def find_admin_log(traces: Traces) -> Iterator[QuerySet[LogEntry]]:
    """The entries about the person and the gists."""
    named = Q()
    for login in traces.logins:
        named |= Q(object_repr__iexact=f"@{login}")
    if traces.person_id:
        named |= _about(Person, [traces.person_id])
    yield LogEntry.objects.filter(named)
    gists = list(traces.gists)
    for start in range(0, len(gists), BATCH_SIZE):
        yield LogEntry.objects.filter(_about(Gist, gists[start : start + BATCH_SIZE]))


def _about(model: type[Any], keys: list[int]) -> Q:
    return Q(content_type=ContentType.objects.get_for_model(model), object_id__in=list(map(str, keys)))
