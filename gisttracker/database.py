"""What MySQL's client library does not see to by itself."""

from typing import Any

from django.db.utils import OperationalError


def refuse_plain_text(connection: Any, **_: Any) -> None:
    """End a connection that is not encrypted: the library only asks for encryption, and goes on without.

    For Django's signal `connection_created`.
    """
    with connection.cursor() as cursor:
        cursor.execute("SHOW STATUS LIKE 'Ssl_cipher'")
        (_, cipher) = cursor.fetchone()
    if not cipher:
        connection.close()
        raise OperationalError("DATABASE_TLS is true, but the MySQL server offers no encryption (SSL).")
