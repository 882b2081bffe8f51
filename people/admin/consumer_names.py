"""The names of the API's consumers: key:PREFIX, user:ID or anonymous; see people.api.authentication."""

from collections.abc import Iterable

from django.contrib.auth.models import User

from people.models import ApiKey


def get_consumer_names(consumers: Iterable[str]) -> dict[str, str]:
    """Return the name of each consumer. Two queries."""
    consumers = set(consumers)
    prefixes = {consumer.removeprefix("key:") for consumer in consumers if consumer.startswith("key:")}
    ids = {text for consumer in consumers if (text := consumer.removeprefix("user:")).isdecimal()}
    keys = ApiKey.objects.filter(prefix__in=prefixes).values_list("prefix", "name")
    users = User.objects.filter(pk__in=ids).values_list("pk", "username")
    names = {f"key:{prefix}": f"{name} (key {prefix})" for prefix, name in keys}
    names |= {f"user:{pk}": f"{username} (staff)" for pk, username in users}
    return {consumer: names.get(consumer, consumer) for consumer in consumers}
