"""The searches of the lists, by indexes: with a million gists, "contains" takes seconds."""

import re
from typing import Any

from people.github_names import login_key, parse_login
from people.models import GistQuerySet, Person, PersonQuerySet, SearchTerm
from people.search import MAX_TERM_LENGTH

MAX_WORDS = 8
MAX_NUMBER_MATCHES = 1000  # people whose words begin with a number, which may also be a GitHub id
MAX_ID_DIGITS = 18
GIST_ID = re.compile(r"[0-9a-f]{20,64}")


def search_people(people: PersonQuerySet, text: str) -> PersonQuerySet:
    """People where each word begins a word of the login, name or e-mail address, or is the GitHub id."""
    for word in text.replace("\0", "").split()[:MAX_WORDS]:
        term = word.removeprefix("@").lower()[:MAX_TERM_LENGTH]
        found = SearchTerm.objects.filter(term__istartswith=term).values("person")
        if term.isdecimal() and len(term) <= MAX_ID_DIGITS:
            # As a list, because MySQL uses no index for "in a subquery, or equal to".
            ids = list(Person.objects.filter(github_id=int(term)).values_list("pk", flat=True))
            people = people.filter(pk__in=[*ids, *found.values_list("person", flat=True)[:MAX_NUMBER_MATCHES]])
        else:
            people = people.filter(pk__in=found)
    return people


def search_gists(gists: GistQuerySet, text: str) -> Any:
    """The gists of the person with this login, or those whose id begins so; also by the URL of a gist or profile."""
    text = text.replace("\0", "").strip()
    if not text:
        return gists
    gist_ids = GIST_ID.findall(text.lower())
    if gist_ids:
        return gists.filter(github_id=gist_ids[-1])
    # Not "startswith": MySQL compares that byte by byte, without the index.
    owner = find_person(text)
    return gists.filter(person=owner) if owner else gists.filter(github_id__istartswith=text.lower()[:64])


def search_visits(visits: Any, text: str) -> Any:
    """The visits to the person with this login."""
    return visits.filter(person=find_person(text)) if text.strip() else visits


def find_person(text: str) -> int | None:
    """The key of the person with this login, @login or profile URL."""
    try:
        key = login_key(parse_login(text))
    except ValueError:
        return None
    return Person.objects.filter(username_key=key).values_list("pk", flat=True).first()
