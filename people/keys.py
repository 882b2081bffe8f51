"""API keys and their consumers, for the commands and the admin."""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone

from gisttracker.common.database import retried
from gisttracker.common.prepared import Parameter, PreparedQuery
from people.models import ANONYMOUS, ApiKey, Consumer

MAX_NAME = 50  # characters; keys have the name of their consumer
DEFAULT_OVERLAP = timedelta(days=7)
MAX_OVERLAP = timedelta(days=365)
KEY_COLUMNS = [field.attname for field in ApiKey._meta.concrete_fields]
CONSUMER_COLUMNS = [f"consumer__{field.attname}" for field in Consumer._meta.concrete_fields]
STAFF_NAME = re.compile(r"\(staff \d+\)$", re.IGNORECASE)


@dataclass(frozen=True)
class CreatedKey:
    """A new key. `secret` is the whole key, which is shown once and not stored."""

    consumer: Consumer
    key: ApiKey
    secret: str
    replaced: tuple[ApiKey, ...] = ()  # keys that end because of it


def parse_consumer_name(text: str) -> str:
    """Raises ValueError with the rule."""
    name = " ".join(text.split())
    if not 1 <= len(name) <= MAX_NAME or not name.isprintable():
        raise ValueError(f"The name must have 1 to {MAX_NAME} characters.")
    if name.lower() == ANONYMOUS or STAFF_NAME.search(name):
        raise ValueError(f"The name {name} is reserved.")
    return name


@retried
def create_key(name: str, *, read_only: bool = False, expires_at: datetime | None = None) -> CreatedKey:
    """Create a key of the consumer with this name, which is created if there is none. Other keys stay as they are.

    Raises ValueError if the name belongs to another consumer: MySQL ignores upper and lower case, and accents.
    """
    with transaction.atomic():
        consumer, _ = Consumer.objects.get_or_create(name=name)
        if consumer.name != name or not consumer.has_keys:
            raise ValueError(f"The name {name} is taken, or too similar to that of the consumer {consumer}.")
        return _create(consumer, read_only=read_only, expires_at=expires_at)


@retried
def rotate_key(consumer: Consumer, overlap: timedelta, *, expires_at: datetime | None = None) -> CreatedKey:
    """Replace the valid keys of a consumer by a new one with the same access. They are valid for the overlap.

    If all of them have an end, the new one has the latest of these, unless another is given.
    Raises ValueError if there is no valid key, or if the keys differ in what they may do.
    """
    with transaction.atomic():
        # Of two rotations at the same time, the second one also replaces the key of the first.
        Consumer.objects.select_for_update().get(pk=consumer.pk)
        replaced = list(ApiKey.objects.filter(consumer=consumer).valid().order_by("created"))
        if not replaced:
            raise ValueError(f"{consumer} has no valid key. Create one with create_api_key.")
        if len({key.read_only for key in replaced}) > 1:
            raise ValueError(
                f"{consumer} has read-only keys and others. Create a key with create_api_key, then revoke the old one."
            )
        ends = [key.expiry_date for key in replaced if key.expiry_date]
        if expires_at is None and len(ends) == len(replaced):
            expires_at = max(ends)
        created = _create(consumer, read_only=replaced[0].read_only, expires_at=expires_at)
        for key in replaced:
            _end(key, timezone.now() + overlap)
        return CreatedKey(consumer, created.key, created.secret, tuple(replaced))


def _end(key: ApiKey, moment: datetime) -> None:
    if key.expiry_date is None or key.expiry_date > moment:
        key.expiry_date = moment
        key.save(update_fields=["expiry_date"])


def revoke(key: ApiKey) -> None:
    key.revoked = True
    key.save(update_fields=["revoked"])


def find_consumer(name: str) -> Consumer | None:
    """Return the consumer with keys and this name. Upper and lower case are different, also on MySQL."""
    found = [consumer for consumer in Consumer.objects.filter(name=name) if consumer.name == name]
    return found[0] if found and found[0].has_keys else None


def _create(consumer: Consumer, *, read_only: bool, expires_at: datetime | None) -> CreatedKey:
    name = consumer.name[:MAX_NAME]
    key, secret = ApiKey.objects.create_key(name=name, consumer=consumer, read_only=read_only, expiry_date=expires_at)
    return CreatedKey(consumer, key, secret)


def _select_key() -> Any:
    return ApiKey.objects.filter(prefix=Parameter("prefix"), revoked=False).values(*KEY_COLUMNS, *CONSUMER_COLUMNS)


_find_key = PreparedQuery(_select_key)


def find_key(secret: str) -> ApiKey | None:
    """Return the key, with its consumer, if it was not revoked. It may have expired. One statement."""
    for row in _find_key(prefix=secret.partition(".")[0]):
        key = ApiKey.from_db(None, KEY_COLUMNS, [row[name] for name in KEY_COLUMNS])
        columns = [name.removeprefix("consumer__") for name in CONSUMER_COLUMNS]
        key.consumer = Consumer.from_db(None, columns, [row[name] for name in CONSUMER_COLUMNS])
        if key.is_valid(secret):
            return key
    return None


def get_user_consumer(user: User) -> Consumer:
    """Return the consumer of a staff member, which is created at the first request."""
    return Consumer.objects.get_or_create(user=user, defaults={"name": f"{user.username} (staff {user.pk})"})[0]


def get_anonymous_consumer() -> Consumer:
    """Return the consumer of all requests without a key, which is created with the first one."""
    return Consumer.objects.get_or_create(name=ANONYMOUS)[0]
