"""People, their gists, and the consumers of the API."""

from people.models.consumer import ANONYMOUS, ApiKey, Consumer, Visit
from people.models.gist import Gist, GistQuerySet
from people.models.known_activity import KnownActivity
from people.models.person import Person, PersonQuerySet
from people.models.suppressed import Suppressed, SuppressedQuerySet, SuppressionSalt

__all__ = [
    "ANONYMOUS",
    "ApiKey",
    "Consumer",
    "Gist",
    "GistQuerySet",
    "KnownActivity",
    "Person",
    "PersonQuerySet",
    "Suppressed",
    "SuppressedQuerySet",
    "SuppressionSalt",
    "Visit",
]
