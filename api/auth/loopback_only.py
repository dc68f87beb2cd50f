"""The single-user mode: who brings no credential is the one person, so that nobody else may reach the address."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv6Address, ip_address
from typing import Any

from retinue.errors import InvalidArguments, NotAllowed

_NAMES = frozenset({"localhost"})


def is_loopback(host: str) -> bool:
    """Whether only programs of this machine reach that address. Names are not looked up."""
    try:
        address = ip_address(host.strip("[]"))
    except ValueError:
        return host.lower() in _NAMES
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return (mapped or address).is_loopback


def check_address(host: str) -> None:
    """Before the start.

    Raises:
        InvalidArguments: Others could reach it.
    """
    if not is_loopback(host):
        raise InvalidArguments(
            f"RETINUE_HOST={host} would let everybody in the network act as the one person of this installation",
            hint="tell people apart by RETINUE_OIDC_ISSUER or RETINUE_USER_HEADER, listen on 127.0.0.1, or say "
            "RETINUE_PRIVATE_ADDRESS=true where nobody else reaches the address, as in a container whose port is "
            "published on 127.0.0.1 alone",
        )


def check_arrival(scope: Mapping[str, Any]) -> None:
    """At each request: whoever starts the application in a server of their own chooses the address there.

    A socket of the file system has a path for an address, and is for this machine alone.

    Raises:
        NotAllowed: It came to an address that others reach.
    """
    server = scope.get("server")
    if server is not None and not server[0].startswith("/") and not is_loopback(server[0]):
        raise NotAllowed(
            "this installation tells nobody apart, so it answers on loopback only",
            hint="set RETINUE_OIDC_ISSUER, or RETINUE_PRIVATE_ADDRESS=true where nobody else reaches this address",
        )
