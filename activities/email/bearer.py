"""Signing in to a mail server with an access token: OAUTHBEARER (RFC 7628) and XOAUTH2. Pure."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass

from activities.email.servers import MailServer
from retinue.errors import ServiceRefused


@dataclass(frozen=True)
class Mechanism:
    """What is said by one SASL mechanism, before it is encoded.

    Attributes:
        name: In capital letters.
        initial: The client's first and only message.
        farewell: The answer to the challenge that describes an error; the refusal itself follows it.
    """

    name: str
    initial: bytes
    farewell: bytes


def mechanism(server: MailServer, offered: Container[str]) -> Mechanism:
    """Return the mechanism to sign in by: OAUTHBEARER where the server offers it, else XOAUTH2.

    Args:
        server: Where, and as whom; its password is the token.
        offered: Names of the mechanisms that the server offers, in capital letters.

    Raises:
        ServiceRefused: It offers neither, or the account's name or token cannot be written.
    """
    if not server.password.isascii() or not (server.username + server.password).isprintable():
        raise ServiceRefused(f"{server.name} cannot be told this account's name or token")
    bearer = f"auth=Bearer {server.password}\1\1"
    if "OAUTHBEARER" in offered:
        name = server.username.replace("=", "=3D").replace(",", "=2C")
        said = f"n,a={name},\1host={server.host}\1port={server.port}\1{bearer}"
        return Mechanism("OAUTHBEARER", said.encode(), b"\1")
    if "XOAUTH2" in offered:
        return Mechanism("XOAUTH2", f"user={server.username}\1{bearer}".encode(), b"")
    raise ServiceRefused(f"{server.name} offers no way to sign in with a token (OAUTHBEARER or XOAUTH2)")
