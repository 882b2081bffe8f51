"""Forget people: erase all that is held about them, and keep hashes so that they are not tracked again.

One transaction per person: it ends with all of this done, or with nothing. Rows that refer to the person or to a gist
go with them, and no other row names the person. Pipedrive keeps its records; which activities the gists have there is
kept under hashes, as for deleted people.
"""

from collections.abc import Iterator
from typing import Any

from django.contrib.admin.models import LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db import transaction
from django.db.models import Q, QuerySet

from gisttracker.common.database import retried
from people.known_activities import leave
from people.models import Gist, Person, PersonQuerySet, Suppressed
from people.tracking import sync_soon

ERASED = "a person who asked not to be tracked"  # the name in the admin's log
BATCH_SIZE = 500  # keys in one statement


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
            _erase_admin_log(LogEntry.objects.filter(_is_named(login)))


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
        gists = leave([person])
        ids = [person.github_id] if person.github_id else []
        Suppressed.objects.suppress(logins=[person.github_username], github_ids=ids, by=by)
        for entries in find_admin_log(person, gists):
            _erase_admin_log(entries)
        person.delete()
        sync_soon(Person.objects.filter(state=Person.State.CONFLICT))  # One may be the same account's second row.
    return True


def _erase_admin_log(entries: QuerySet[LogEntry]) -> None:
    """Who did what and when stays; of what is erased."""
    entries.update(object_repr=ERASED, object_id=None, change_message="")


def find_admin_log(person: Person, gists: list[Gist]) -> Iterator[QuerySet[LogEntry]]:
    """The entries about the person, also those of an earlier row with this login, and about the gists."""
    yield LogEntry.objects.filter(_is_named(person.github_username) | _is_about(Person, [person.pk]))
    keys = [gist.pk for gist in gists]
    for start in range(0, len(keys), BATCH_SIZE):
        yield LogEntry.objects.filter(_is_about(Gist, keys[start : start + BATCH_SIZE]))


def _is_named(login: str) -> Q:
    return Q(object_repr__iexact=f"@{login}")


def _is_about(model: type[Any], keys: list[int]) -> Q:
    return Q(content_type=ContentType.objects.get_for_model(model), object_id__in=list(map(str, keys)))
