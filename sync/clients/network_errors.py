"""What happened to a request that got no response, in words that say what to do."""

import socket
import ssl
from collections.abc import Iterator
from urllib.parse import urlsplit

import requests
import urllib3

PROXY_ERRORS = (requests.exceptions.ProxyError, urllib3.exceptions.ProxyError)
# The first that applies, from the specific to the general. {server} may be the proxy.
DESCRIPTIONS: tuple[tuple[tuple[type[BaseException], ...], str], ...] = (
    ((socket.gaierror, urllib3.exceptions.NameResolutionError), "the host name of {server} was not found (DNS)"),
    ((ConnectionRefusedError,), "{server} refused the connection"),
    (
        (requests.ConnectTimeout, urllib3.exceptions.ConnectTimeoutError),
        "{server} did not accept the connection in time",
    ),
    ((requests.Timeout, urllib3.exceptions.TimeoutError, TimeoutError), "{host} did not respond in time"),
    ((ssl.SSLError,), "no encrypted connection to {server} could be established"),
    ((ConnectionResetError, BrokenPipeError), "{server} closed the connection"),
)


def describe(error: Exception, url: str) -> str:
    """For example "the host name of api.example.com was not found (DNS)". Never contains the login of a proxy."""
    host = urlsplit(url).netloc.rpartition("@")[2]
    causes = list(_causes(error))
    is_proxy = any(isinstance(cause, PROXY_ERRORS) for cause in causes)
    if is_proxy and any("407" in str(cause) for cause in causes):
        return "the proxy asks for a user name and a password (see HTTPS_PROXY)"
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            reason = cause.verify_message or "unknown reason"
            return f"the certificate of {host} is not trusted: {reason} (see REQUESTS_CA_BUNDLE)"
    server = "the proxy (see HTTPS_PROXY)" if is_proxy else host
    for kinds, description in DESCRIPTIONS:
        if any(isinstance(cause, kinds) for cause in causes):
            return description.format(host=host, server=server)
    reasons = [cause.strerror for cause in causes if isinstance(cause, OSError) and cause.strerror]
    return f"{server} sent no complete response ({reasons[0] if reasons else type(error).__name__})"


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and everything that it wraps: as argument, `reason`, cause or context."""
    seen: set[int] = set()
    pending: list[object] = [error]
    while pending:
        item = pending.pop(0)
        if isinstance(item, BaseException) and id(item) not in seen:
            seen.add(id(item))
            yield item
            pending += [*item.args, getattr(item, "reason", None), item.__cause__, item.__context__]
