"""What the domain name system says of a domain's servers: SRV (RFC 2782, 6186, 6764, 8314), MX, and TXT for a path.

Answers of DNS are not signed as a rule. So they only propose; the person agrees, and TLS proves the host.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import dns.asyncresolver
import dns.exception
import dns.name
import dns.rdatatype

_MOST = 10
_PATIENCE = 4.0


class Place(NamedTuple):
    """A host and a port."""

    host: str
    port: int


class Names(Protocol):
    """Looks up a domain's servers; what does not exist or cannot be looked up is an empty answer."""

    async def services(self, name: str) -> Sequence[Place]:
        """Return the places of a service such as `_imaps._tcp.example.com`, best first."""

    async def mail_hosts(self, domain: str) -> Sequence[str]:
        """Return the hosts that take a domain's mail, best first."""

    async def path(self, name: str) -> str:
        """Return the path that a service's TXT record names (RFC 6764), else empty."""


class DnsNames:
    """Asks this machine's name servers.

    Args:
        resolver: Another one, for tests.
    """

    def __init__(self, resolver: dns.asyncresolver.Resolver | None = None) -> None:
        self._resolver = resolver

    async def services(self, name: str) -> Sequence[Place]:
        """Return the places of a service, best first; a target of '.' means that there is none."""
        found = sorted(await self._records(name, dns.rdatatype.SRV), key=lambda each: (each.priority, -each.weight))
        places = [Place(_host(each.target), each.port) for each in found]
        return [place for place in places if place.host][:_MOST]

    async def mail_hosts(self, domain: str) -> Sequence[str]:
        """Return the hosts that take a domain's mail, best first."""
        found = sorted(await self._records(domain, dns.rdatatype.MX), key=lambda each: each.preference)
        return [host for each in found if (host := _host(each.exchange))][:_MOST]

    async def path(self, name: str) -> str:
        """Return the path that a service's TXT record names, else empty."""
        for each in await self._records(name, dns.rdatatype.TXT):
            for text in each.strings:
                if text.startswith(b"path=/"):
                    return str(text[5:].decode("ascii", "replace"))
        return ""

    async def _records(self, name: str, kind: dns.rdatatype.RdataType) -> list[Any]:
        try:
            resolver = self._resolver or dns.asyncresolver.get_default_resolver()
            return list(await resolver.resolve(f"{name}.", kind, lifetime=_PATIENCE))
        except (dns.exception.DNSException, OSError, ValueError):
            return []


def _host(name: dns.name.Name) -> str:
    return str(name.to_text(omit_final_dot=True).casefold().removesuffix("."))
