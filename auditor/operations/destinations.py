"""Which addresses a webhook may reach.

A project's admin chooses the URL, and the service sends to it from inside its own network: only public addresses are
accepted, and the address that was checked is the one that is connected to, so that a name that resolves to something
else a moment later gains nothing.
"""

import socket
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address

import httpx

from auditor.operations.errors import Unacceptable

Resolve = Callable[[str, int], list[str]]

_HOSTS_6 = IPv6Network("2000::/3")
_CLOSED = (
    IPv4Network("168.63.129.16/32"),  # the platform behind every machine of Azure
    IPv4Network("192.0.0.0/24"),  # protocols' own, a cloud's metadata among them
    IPv4Network("192.88.99.0/24"),  # relays of 6to4
    IPv6Network("2001::/23"),  # protocols' own, with Teredo, which carries IPv4 addresses
    IPv6Network("2002::/16"),  # 6to4, which carries them too
    IPv6Network("3fff::/20"),  # documentation
)


@dataclass(frozen=True)
class Destination:
    """Where to connect to. address: an IP address of the URL's host."""

    url: httpx.URL
    address: str


def system_resolver(host: str, port: int) -> list[str]:
    """The addresses of a name, best first. Raises OSError."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(entry[4][0]) for entry in found]


def destination(url: str, networks: str, resolve: Resolve = system_resolver) -> Destination:
    """Where a webhook's URL leads. networks: as `Settings.webhook_networks`.

    Raises Unacceptable for a URL that is no URL or that leads where webhooks may not go: unless networks is `any`,
    that is anything but https on port 443, or from 1024, of a host whose addresses are all public.
    """
    parsed = _parsed(url, networks)
    host = parsed.raw_host.decode("ascii")
    try:
        addresses = resolve(host, parsed.port or (443 if parsed.scheme == "https" else 80))
    except (OSError, UnicodeError) as error:
        raise Unacceptable(f"the webhook's host {host} cannot be resolved: {error}") from error
    if networks != "any" and not all(map(is_public, addresses)):
        raise Unacceptable(f"the webhook's host {host} has an address that is not public; webhooks go to public ones")
    return Destination(parsed, addresses[0])


def is_public(text: str) -> bool:
    """Whether an IP address is that of a single host on the open internet."""
    address = ip_address(text)
    if any(address in network for network in _CLOSED if network.version == address.version):
        return False
    if isinstance(address, IPv6Address) and address not in _HOSTS_6:  # IPv4 in disguise lies outside: mapped, NAT64
        return False
    return address.is_global and not address.is_multicast


def _parsed(url: str, networks: str) -> httpx.URL:
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise Unacceptable(f"the webhook's URL is not understood: {error}") from error
    schemes = ("http", "https") if networks == "any" else ("https",)
    if parsed.scheme not in schemes or not parsed.host:
        raise Unacceptable(f"a webhook's URL begins with {' or '.join(f'{scheme}://' for scheme in schemes)}HOST")
    if parsed.userinfo:
        raise Unacceptable("a webhook's URL holds no user and password; check the signature of the message instead")
    if networks != "any" and parsed.port is not None and parsed.port < 1024:  # httpx gives None for 443
        raise Unacceptable(f"webhooks do not go to port {parsed.port}; use 443 or one from 1024")
    if parsed.port is not None and parsed.port > 65535:
        raise Unacceptable(f"there is no port {parsed.port}")
    return parsed
