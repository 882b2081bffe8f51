"""Rules for the MySQL connection that the client library does not enforce."""

from typing import Any

from django.db.utils import OperationalError


def require_encryption(connection: Any, **_: Any) -> None:
    """Close a connection that is not encrypted and raise OperationalError. Receiver of `connection_created`.

    The client library only requests encryption: when the server offers none, it continues in plain text.
    """
    with connection.cursor() as cursor:
        cursor.execute("SHOW STATUS LIKE 'Ssl_cipher'")
        (_, cipher) = cursor.fetchone()
    if not cipher:
        connection.close()
        raise OperationalError("DATABASE_TLS is true, but the MySQL server offers no encryption (SSL).")
