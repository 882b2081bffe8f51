"""The searches of gists and visits, by indexes: with a million gists, "contains" takes seconds."""

import re
from typing import Any

from people.models import GistQuerySet, Person
from people.models.github_names import login_key, parse_login

GIST_ID = re.compile(r"[0-9a-f]{20,64}")


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
