"""People, their gists, and the consumers of the API."""

from people.models.consumer import ApiKey, RequestCount, Visit
from people.models.gist import Gist, GistQuerySet
from people.models.person import Person, PersonQuerySet, SearchTerm
from people.models.suppressed import Suppressed, SuppressedQuerySet, SuppressionSalt

__all__ = [
    "ApiKey",
    "Gist",
    "GistQuerySet",
    "Person",
    "PersonQuerySet",
    "RequestCount",
    "SearchTerm",
    "Suppressed",
    "SuppressedQuerySet",
    "SuppressionSalt",
    "Visit",
]
