"""The address of a client, for the limits of requests and of failed logins, and for the log."""

import re
from ipaddress import IPv4Address, IPv6Address, ip_address

from django.conf import settings
from django.http import HttpRequest

NETWORK_BITS = 64  # of an IPv6 address, which identify a customer; the others are chosen by the client
UNKNOWN_ADDRESS = "0.0.0.0"  # noqa: S104  # not bound: clients whose address is not readable share one limit
BRACKETED = re.compile(r"\[(?P<host>[^\]]+)\](?::[0-9]{1,5})?")
WITH_PORT = re.compile(r"(?P<host>[^:]+):[0-9]{1,5}")


def get_client_address(request: HttpRequest) -> str:
    """Return the client's IP address; text that is no address is returned as it is.

    Each trusted proxy appends one entry to X-Forwarded-For. Entries before those come from the client and are ignored.
    """
    entry = _find_entry(request)
    address = parse_address(entry)
    return str(address) if address else entry


def get_limited_address(request: HttpRequest) -> str:
    """Return the address under which requests and failed logins are counted.

    Of an IPv6 address it is the first one of its /64 network.
    """
    address = parse_address(_find_entry(request))
    if isinstance(address, IPv6Address):
        host_bits = 128 - NETWORK_BITS
        return str(IPv6Address(int(address) >> host_bits << host_bits))
    return str(address) if address else UNKNOWN_ADDRESS


def parse_address(entry: str) -> IPv4Address | IPv6Address | None:
    """Return the address in 192.0.2.7, 192.0.2.7:5678, 2001:db8::1, [2001:db8::1] or [2001:db8::1]:443.

    Some proxies add the client's port. An IPv4 address that is mapped to IPv6 is returned as IPv4.
    """
    text = entry.strip().strip('"')
    match = BRACKETED.fullmatch(text) or WITH_PORT.fullmatch(text)
    try:
        address = ip_address(match["host"] if match else text)
    except ValueError:
        return None
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address


def _find_entry(request: HttpRequest) -> str:
    hops = [hop.strip() for hop in request.headers.get("X-Forwarded-For", "").split(",") if hop.strip()]
    if settings.TRUSTED_PROXY_COUNT and hops:
        return hops[-min(settings.TRUSTED_PROXY_COUNT, len(hops))]
    return str(request.META.get("REMOTE_ADDR", ""))
