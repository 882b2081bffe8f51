"""People, their gists, and the consumers of the API."""

from people.models.consumer import ApiKey, RequestCount, Visit
from people.models.gist import Gist, GistQuerySet
from people.models.person import Person, PersonQuerySet, SearchTerm

__all__ = ["ApiKey", "Gist", "GistQuerySet", "Person", "PersonQuerySet", "RequestCount", "SearchTerm", "Visit"]
