"""Who is tracked, what they wrote, and what each consumer has been shown."""

from people.models.consumer import ApiKey, RequestCount, Visit
from people.models.gist import Gist, GistQuerySet
from people.models.person import Person, PersonQuerySet, SearchTerm

__all__ = ["ApiKey", "Gist", "GistQuerySet", "Person", "PersonQuerySet", "RequestCount", "SearchTerm", "Visit"]
