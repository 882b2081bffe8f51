"""Accounts whose owners asked not to be tracked, as hashes of their GitHub ids and logins.

GitHub's ids are small numbers and logins are public, so a plain hash could be reversed in seconds. These are scrypt
hashes with one random salt, which is in this database because the web service and the jobs share no other secret.
Whoever has the database can still test one account in a millisecond, and all 200 million ids in about two days of one
core: the rows are pseudonyms, not anonymous. A slower hash would make a list of 5,000 people too slow to check.
"""

import hashlib
import secrets
from collections.abc import Iterable
from dataclasses import dataclass

from django.db import models

from people.models.github_names import LOGIN, login_key

SCRYPT_COST, SCRYPT_BLOCK_SIZE = 256, 8  # 0.25 MiB and 0.7 ms for a hash
BATCH_SIZE = 500  # digests in one statement


class SuppressionSalt(models.Model):
    """The salt of all hashes. One row, which is created with the first hash and never changes."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1, editable=False)
    salt = models.CharField(max_length=64)

    def __str__(self) -> str:
        return "the salt"

    @classmethod
    def get(cls) -> bytes:
        """Of several processes that create it, all get the one that was stored first."""
        row, _ = cls.objects.get_or_create(pk=1, defaults={"salt": secrets.token_hex(32)})
        return bytes.fromhex(row.salt)


@dataclass(frozen=True)
class SuppressedAccounts:
    """The suppressed GitHub ids, for threads that may not use the database."""

    salt: bytes = b""
    digests: frozenset[str] = frozenset()

    def has_github_id(self, github_id: int) -> bool:
        """Takes a millisecond if there are any."""
        return bool(self.digests) and _digest(Suppressed.Kind.GITHUB_ID, str(github_id), self.salt) in self.digests


class SuppressedQuerySet(models.QuerySet["Suppressed"]):
    def find_logins(self, logins: Iterable[str]) -> set[str]:
        """Those of these logins that are suppressed, in lower case. Takes a millisecond for each login."""
        return self._find(Suppressed.Kind.LOGIN, {login_key(login) for login in logins})

    def has_login(self, login: str) -> bool:
        return bool(self.find_logins([login]))

    def has_github_id(self, github_id: int) -> bool:
        return bool(self.find_github_ids([github_id]))

    def find_github_ids(self, github_ids: Iterable[int]) -> set[int]:
        """Those of these ids that are suppressed. Takes a millisecond for each id."""
        return {int(text) for text in self._find(Suppressed.Kind.GITHUB_ID, {str(number) for number in github_ids})}

    def accounts(self) -> SuppressedAccounts:
        digests = frozenset(self.filter(kind=Suppressed.Kind.GITHUB_ID).values_list("digest", flat=True))
        return SuppressedAccounts(SuppressionSalt.get(), digests) if digests else SuppressedAccounts()

    def _find(self, kind: "Suppressed.Kind", values: set[str]) -> set[str]:
        if not values or not self.exists():  # Most databases have none, and need no hashes.
            return set()
        salt = SuppressionSalt.get()
        value_of = {_digest(kind, value, salt): value for value in values}
        digests = list(value_of)
        found: set[str] = set()
        for start in range(0, len(digests), BATCH_SIZE):
            found.update(self.filter(digest__in=digests[start : start + BATCH_SIZE]).values_list("digest", flat=True))
        return {value_of[digest] for digest in found}

    def suppress(self, *, logins: Iterable[str] = (), github_ids: Iterable[int] = (), by: str) -> None:
        """Refuse these accounts from now on. `by`: who requested it. What is suppressed already keeps its row."""
        salt = SuppressionSalt.get()
        values = [(Suppressed.Kind.LOGIN, login_key(login)) for login in logins if LOGIN.fullmatch(login)]
        values += [(Suppressed.Kind.GITHUB_ID, str(number)) for number in github_ids]
        digests = [(kind, _digest(kind, value, salt)) for kind, value in values]
        rows = [Suppressed(kind=kind, digest=digest, requested_by=by[:150]) for kind, digest in digests]
        self.bulk_create(rows, ignore_conflicts=True)

    def matching(self, text: str) -> "SuppressedQuerySet":
        """The rows of this login, or of this GitHub id."""
        if not self.exists():
            return self.none()
        salt = SuppressionSalt.get()
        return self.filter(digest__in=[_digest(kind, login_key(text), salt) for kind in Suppressed.Kind])


class Suppressed(models.Model):
    """An account that is not tracked again: its GitHub id, or its login, as a hash."""

    class Kind(models.TextChoices):
        GITHUB_ID = "github_id"
        LOGIN = "login"

    kind = models.CharField(max_length=10, choices=Kind.choices, help_text="of what the hash is")
    digest = models.CharField(max_length=64, unique=True, help_text="the salted hash")
    created_at = models.DateTimeField(auto_now_add=True, help_text="since when the account is not tracked")
    requested_by = models.CharField(max_length=150, blank=True, help_text="the consumer, user or run that requested it")

    objects = SuppressedQuerySet.as_manager()

    class Meta:
        verbose_name = "suppressed account"
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.kind} since {self.created_at:%Y-%m-%d %H:%M} UTC"


def suppressed_reason(login: str) -> str:
    """Why a login is refused. Reveals nothing else."""
    return f"@{login} asked not to be tracked."


def _digest(kind: str, value: str, salt: bytes) -> str:
    text = f"{kind}:{value}".encode()
    return hashlib.scrypt(text, salt=salt, n=SCRYPT_COST, r=SCRYPT_BLOCK_SIZE, p=1, dklen=32).hex()
