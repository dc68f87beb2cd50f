"""The single-user mode: a caller without a credential is the user, so only they may reach the address."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv6Address, ip_address
from typing import Any

from retinue.errors import InvalidArguments, NotAllowed

_NAMES = frozenset({"localhost"})


def is_loopback(host: str) -> bool:
    """Return whether the address is loopback. Names are not resolved."""
    try:
        address = ip_address(host.strip("[]"))
    except ValueError:
        return host.lower() in _NAMES
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return (mapped or address).is_loopback


def check_address(host: str) -> None:
    """Check the listen address before the start.

    Raises:
        InvalidArguments: Others could reach it.
    """
    if not is_loopback(host):
        raise InvalidArguments(
            f"RETINUE_HOST={host} would let everyone in the network act as the user of this single-user installation",
            hint="set RETINUE_OIDC_ISSUER or RETINUE_USER_HEADER, listen on 127.0.0.1, or set "
            "RETINUE_PRIVATE_ADDRESS=true where nobody else reaches the address, as in a container whose port is "
            "published on 127.0.0.1 alone",
        )


def check_arrival(scope: Mapping[str, Any]) -> None:
    """Check the address of each request: another server may serve the application elsewhere.

    A Unix socket has a path as its address and is local.

    Raises:
        NotAllowed: It came to an address that others can reach.
    """
    server = scope.get("server")
    if server is not None and not server[0].startswith("/") and not is_loopback(server[0]):
        raise NotAllowed(
            "this is a single-user installation, so it answers on loopback only",
            hint="set RETINUE_OIDC_ISSUER, or RETINUE_PRIVATE_ADDRESS=true where nobody else reaches this address",
        )
