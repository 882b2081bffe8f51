"""The names of the consumers of visits."""

from collections.abc import Iterable

from people.models import Consumer


def get_consumer_names(identifiers: Iterable[str]) -> dict[str, str]:
    """Return the name of each consumer. One query. A deleted consumer is named by its identifier."""
    identifiers = set(identifiers)
    names = dict(Consumer.objects.filter(identifier__in=identifiers).values_list("identifier", "name"))
    return {identifier: names.get(identifier, identifier) for identifier in identifiers}
