"""Parsers of settings.

Each returns the typed value, or raises ValueError with a phrase that follows the setting's name.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit

from gisttracker.common.numbers import parse_whole_number

HOST = r"(?:[a-z0-9_](?:[a-z0-9_.-]*[a-z0-9_])?|\[[0-9a-f:.]+\])"
ORIGIN = re.compile(rf"(?P<scheme>https?)://(?P<host>{HOST})(?::(?P<port>[0-9]{{1,5}}))?")
HOST_NAME = re.compile(rf"\.?{HOST}")  # a dot at its beginning: with all subdomains
BARE_IPV6 = re.compile(r"[0-9a-f]*:[0-9a-f]*:[0-9a-f:.]*")
DEFAULT_PORTS = {"http": "80", "https": "443"}


def text(value: str) -> str:
    return value


def boolean(value: str) -> bool:
    """Parse true/false, yes/no, on/off or 1/0."""
    values = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
    if value.lower() not in values:
        raise ValueError("must be true or false")
    return values[value.lower()]


@dataclass(frozen=True)
class WholeNumber:
    """A parser for whole numbers from `minimum` to `maximum`."""

    minimum: int
    maximum: int

    def __call__(self, value: str) -> int:
        return parse_whole_number(value, self.minimum, self.maximum)


def one_of(*allowed: str) -> Callable[[str], str]:
    """Return a parser that accepts these values only."""

    def parse(value: str) -> str:
        if value not in allowed:
            raise ValueError(f"must be one of: {', '.join(allowed)}")
        return value

    return parse


def owner(value: str) -> str:
    """Parse who owns activities: token, person, or the id of a Pipedrive user."""
    if value not in ("token", "person") and not re.fullmatch(r"[1-9][0-9]{0,17}", value):
        raise ValueError("must be token, person or the id of a Pipedrive user")
    return value


def comma_separated(value: str) -> list[str]:
    return [item.strip() for item in value.split(",") if item.strip()]


def origins(value: str) -> list[str]:
    """Parse a list of origins.

    An origin is compared with the header `Origin` of browsers, which is in lower case, without a default port.
    """
    return [_origin(item) for item in comma_separated(value)]


def _origin(item: str) -> str:
    match = ORIGIN.fullmatch(item.lower())
    if not match or not 0 < int(match["port"] or 1) < 65536:
        raise ValueError("must be a list of origins such as https://app.example.com: scheme and host, without a path")
    (scheme, host, port) = match["scheme"], match["host"], match["port"]
    return f"{scheme}://{host}" + (f":{port}" if port and port != DEFAULT_PORTS[scheme] else "")


def host_names(value: str) -> list[str]:
    """Parse a list of host names, as Django's ALLOWED_HOSTS has them: without scheme, port and path."""
    # Kubernetes has the addresses of pods without the brackets that are usual in a Host header.
    names = [f"[{name}]" if BARE_IPV6.fullmatch(name) else name for name in comma_separated(value.lower())]
    if not all(name == "*" or HOST_NAME.fullmatch(name) for name in names):
        raise ValueError("must be a list of host names such as gists.example.com, without scheme, port or path")
    return names


def http_url(value: str) -> str:
    """Parse an http(s) URL of a host. A path is rejected, because the clients append the paths of the API."""
    if urlsplit(url_with_path(value)).path:
        raise ValueError("must have no path: the paths of the API are appended to the host")
    return value.rstrip("/")


def url_with_path(value: str) -> str:
    """Parse an http(s) URL that may have a path, as GitHub Enterprise Server's API has."""
    try:
        parts = urlsplit(value)
        is_url = parts.scheme in ("http", "https") and parts.hostname and (parts.port is None or parts.port > 0)
    except ValueError:
        is_url = False
    if not is_url or parts.query or parts.fragment or re.search(r"[\s\\]", value):
        raise ValueError("must be a URL such as https://api.example.com")
    if parts.username is not None or parts.password is not None:
        raise ValueError("must not contain a user name or password")
    return value.rstrip("/")


def webhook_url(value: str) -> str:
    """Parse the secret http(s) URL of a webhook, which may have a path and a query."""
    url_with_path(value.partition("?")[0])
    if "#" in value or re.search(r"[\s\\]", value):
        raise ValueError("must be a URL such as https://hooks.example.com/T000/secret")
    return value


def is_plain_http(url: str) -> bool:
    """Would a token sent to this URL be readable on the network? Not on the loopback interface."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    try:
        is_loopback = ip_address(host).is_loopback
    except ValueError:
        is_loopback = host == "localhost" or host.endswith(".localhost")
    return parts.scheme == "http" and not is_loopback


def token(value: str) -> str:
    """Parse a secret that is sent in an HTTP header."""
    if not re.fullmatch(r"[\x21-\x7e]+", value):
        raise ValueError("must be one word of plain ASCII characters, without spaces or line breaks")
    return value
