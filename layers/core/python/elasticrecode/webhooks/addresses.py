"""Which addresses a webhook may lead to: public ones, and the networks that the deployment allows.

IP addresses are checked, after the name was resolved. An IPv6 address that carries an IPv4 address is checked as that.
"""

import ipaddress
import re
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import NamedTuple
from urllib.parse import urlsplit

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

URL_LENGTH = 2048
_HOST = re.compile(r"[0-9A-Za-z_]([0-9A-Za-z_.-]{0,251}[0-9A-Za-z_.])?", re.ASCII)
_PORTS = {"https": 443, "http": 80}

_NAT64 = IPv6Network("64:ff9b::/96")
_REFUSED: tuple[Network, ...] = (
    # Versions of Python differ on these, or call them public.
    IPv4Network("192.0.0.0/24"),  # protocol assignments
    IPv4Network("192.88.99.0/24"),  # relays of 6to4
    IPv6Network("::/96"),  # the obsolete IPv4-compatible form
    IPv6Network("64:ff9b:1::/48"),  # NAT64 of a local network
    IPv6Network("2001::/23"),  # protocol assignments, tunnels by Teredo among them
    IPv6Network("3fff::/20"),  # documentation
    IPv6Network("5f00::/16"),  # segment routing
    IPv6Network("fec0::/10"),  # site-local
)


class Target(NamedTuple):
    """The parts of a URL: `host` is a name or an IP address, `path` includes the query."""

    secure: bool
    host: str
    port: int
    path: str


def parse(url: str) -> Target:
    """The parts of an http or https URL.

    Raises ValueError with the predicate of a sentence whose subject is the URL, such as "must name a host".
    """
    if len(url) > URL_LENGTH:
        raise ValueError(f"has {len(url)} characters; the limit is {URL_LENGTH}")
    if not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        raise ValueError("must be printable ASCII without spaces and backslashes")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
        literal = ipaddress.ip_address(host) if "[" in parts.netloc else None
    except ValueError:
        raise ValueError("is not a valid URL") from None
    if parts.scheme not in _PORTS:
        raise ValueError("must begin with https://")
    if "@" in parts.netloc:
        raise ValueError("must not hold credentials")
    if "#" in url:
        raise ValueError("must not have a fragment")
    if (literal is None and not _HOST.fullmatch(host)) or "%" in host:
        raise ValueError("must name a host")
    if port == 0:
        raise ValueError("must not name port 0")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(parts.scheme == "https", host, port or _PORTS[parts.scheme], path)


def networks(entries: Iterable[str]) -> list[Network]:
    """Networks from CIDR notation. Raises ValueError for an entry that is none."""
    return [ipaddress.ip_network(entry) for entry in entries]


def is_within(address: str, allowed: Sequence[Network]) -> bool:
    """Whether an address, or the IPv4 address it carries, is in one of the networks."""
    given = _read(address)
    return any(form in network for form in (given, _carried(given)) for network in allowed)


def is_public(address: str) -> bool:
    """Whether an address is on the internet: not loopback, private, link-local, multicast or metadata."""
    given = _carried(_read(address))
    return (
        given.is_global
        and not (given.is_multicast or given.is_reserved or given.is_unspecified)
        and not any(given in network for network in _REFUSED)
    )


def _read(address: str) -> Address:
    """An address, without a zone such as `%eth0`."""
    return ipaddress.ip_address(address.partition("%")[0])


def _carried(address: Address) -> Address:
    """The IPv4 address that an IPv6 address carries, mapped or by 6to4 or NAT64; else the address itself."""
    if isinstance(address, IPv6Address):
        if address in _NAT64:
            return IPv4Address(int(address) & 0xFFFFFFFF)
        return address.ipv4_mapped or address.sixtofour or address
    return address
