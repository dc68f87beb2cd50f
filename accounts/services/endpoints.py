"""Where an account's servers may be: encrypted, and on public addresses and usual ports unless the operator allows others."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from retinue.accounts.connection import Provider
from retinue.errors import InvalidArguments, NotAllowed
from retinue.network.egress import look_up, public

_NEEDED = {Provider.CALDAV: ("caldav",), Provider.CARDDAV: ("carddav",), Provider.IMAP: ("imap", "smtp")}
_SCHEMES = {
    "caldav": {"https": 443},
    "carddav": {"https": 443},
    "imap": {"imaps": 993, "imap": 143},  # without TLS from the start: STARTTLS is required before signing in
    "smtp": {"smtps": 465, "smtp": 587},
}
_PORTS = {"https": (443, 8443), "imaps": (993,), "imap": (143,), "smtps": (465,), "smtp": (587,)}
"""The ports of servers on public addresses, so that nobody learns here which other ports of a machine are open."""
_LOCAL = ("127.0.0.1", "localhost", "::1")


async def check(provider: Provider, endpoints: Mapping[str, str], *, private: bool) -> None:
    """Check the endpoints that a person gave, or that discovery found.

    Args:
        provider: By which protocol.
        endpoints: By name.
        private: Whether addresses that are not public, and other ports, are allowed.

    Raises:
        InvalidArguments: One is missing, unknown, or no address of an encrypted server.
        NotAllowed: One is on a private address.
    """
    needed = _NEEDED[provider]
    if missing := [name for name in needed if not endpoints.get(name)]:
        raise InvalidArguments(f"the address of the {' and '.join(missing)} server is needed")
    for name, url in endpoints.items():
        if name not in needed:
            raise InvalidArguments(f"{provider} has no server {name[:20]!r}")
        await _check_one(name, url, private=private)


async def _check_one(name: str, url: str, *, private: bool) -> None:
    schemes = _SCHEMES[name]
    try:
        place = urlsplit(url)
        host, port = place.hostname or "", place.port
    except ValueError:
        host, port, place = "", None, urlsplit("")
    local = private and host in _LOCAL
    known = schemes | ({"http": 80} if local and "https" in schemes else {})
    if not host or place.scheme not in known or place.username or place.password:
        raise InvalidArguments(
            f"the {name} address must look like {next(iter(schemes))}://host, without a password in it"
        )
    if not private and port not in (None, *_PORTS[place.scheme]):
        ports = " or ".join(map(str, _PORTS[place.scheme]))
        raise InvalidArguments(
            f"the port of the {name} server must be {ports} with {place.scheme}",
            hint="the operator can set ACCOUNTS_PRIVATE_HOSTS",
        )
    if not private and not all(public(address) for address in await look_up(host, port or known[place.scheme])):
        raise NotAllowed(
            f"the {name} server is on a private address", hint="the operator can set ACCOUNTS_PRIVATE_HOSTS"
        )
