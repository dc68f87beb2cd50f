"""The mail servers that settings name: where they are, how the way there is secured, and who asks."""

from __future__ import annotations

import ipaddress
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from retinue.accounts.hosts import public_addresses
from retinue.errors import RetinueError, ServiceRefused, ServiceUnavailable
from retinue.network.connection_errors import unreachable
from retinue.network.egress import Resolver


class Security(StrEnum):
    """How a connection is kept from being read."""

    TLS = "tls"
    STARTTLS = "starttls"
    PLAIN = "plain"


class SignInRefused(ServiceRefused):
    """The server does not let this account in; nothing else was asked of it."""


@dataclass(frozen=True)
class MailServer:
    """One server and one account there.

    Attributes:
        bearer: Whether the password is an access token.
        account: What its person calls the account; empty: the settings name the server.
        account_id: Of the account.
        resolve: Resolves its name, whose addresses must be public; None: any address counts.
    """

    name: str
    host: str
    port: int
    security: Security
    username: str = ""
    password: str = field(default="", repr=False)
    bearer: bool = False
    account: str = ""
    account_id: str = ""
    resolve: Resolver | None = field(default=None, repr=False)

    async def addresses(self) -> list[str]:
        """Return the checked addresses to connect to; empty: the name itself, unchecked.

        Raises:
            NotAllowed: One of them is private.
            ServiceUnavailable: The name cannot be looked up.
        """
        return await public_addresses(self.host, self.port, self.resolve) if self.resolve else []

    def unreachable(self, error: BaseException) -> RetinueError:
        """Say why there is no connection, in a person's words: nothing has been asked of the server yet."""
        if isinstance(error, TimeoutError):
            return ServiceUnavailable(f"{self.name} did not answer in time", hint=self._about_port())
        return unreachable(error, self.name, hint=f"check {self.setting}")

    def silent_at_first(self) -> ServiceUnavailable:
        """It did not greet as a server of its kind does."""
        return ServiceUnavailable(
            f"what answers at the address of {self.name} does not speak {self.protocol}", hint=self._about_port()
        )

    def wrong_password(self) -> SignInRefused:
        """It does not let this account in."""
        return SignInRefused(
            f"{self.name} does not accept the user name or password",
            hint=f"check {self.setting}; some providers want an app password",
        )

    def no_encryption(self) -> ServiceRefused:
        """Return the error that the server offers no STARTTLS, so that nothing was sent to it."""
        return ServiceRefused(
            f"{self.name} does not offer a secure connection (STARTTLS), and without one it gets no password",
            hint=f"{self.setting} may begin with {self.protocol.lower()}s:// instead; ?starttls=false at its end allows "
            "plain text, on this machine (127.0.0.1) only",
        )

    def wants_encryption(self) -> ServiceRefused:
        """It takes a password over a secure connection only."""
        return ServiceRefused(
            f"{self.name} takes passwords over a secure connection only",
            hint=f"leave ?starttls=false out of {self.setting}, or let it begin with {self.protocol.lower()}s://",
        )

    @property
    def protocol(self) -> str:
        """As people call it."""
        return "IMAP" if "IMAP" in self.name else "SMTP"

    @property
    def setting(self) -> str:
        """The variable that names it, or the account that does."""
        return f"the server of the account {self.account!r}" if self.account else f"EMAIL_{self.protocol}_URL"

    def _about_port(self) -> str:
        if self.security is Security.TLS:
            return f"check host and port in {self.setting}"
        scheme = self.protocol.lower()
        return f"check host and port in {self.setting}; a port that speaks TLS at once needs {scheme}s://"


Renew = Callable[[MailServer], Awaitable[MailServer]]
"""Gives the same server with another secret, where it refused one; raises `AccountDisconnected` where there is none."""


async def instead_of(server: MailServer, refused: SignInRefused, renew: Renew | None) -> MailServer:
    """Return the server with another secret after it refused to let the account in.

    Raises:
        ServiceRefused: The secret comes from the settings.
        AccountDisconnected: There is no other secret.
        ServiceUnavailable: No other secret can be obtained at the moment.
    """
    if renew is None:
        raise ServiceRefused(refused.message, hint=refused.hint) from None
    return await renew(server)


Kinds = dict[str, tuple[Security, int]]
SMTP: Final[Kinds] = {"smtp": (Security.STARTTLS, 587), "smtps": (Security.TLS, 465)}
IMAP: Final[Kinds] = {"imap": (Security.STARTTLS, 143), "imaps": (Security.TLS, 993)}
_NAMES: Final = {"smtp": "the outgoing mail server (SMTP)", "imap": "the mailbox server (IMAP)"}
_TURNED_OFF: Final = ["false"]


def parse_server(url: str, kinds: Kinds) -> MailServer:
    """Read `smtp://user:password@host:587` and its like; `?starttls=false` counts for this very machine only.

    Raises:
        ValueError: It is no such address. The message does not repeat it, since it holds a password.
    """
    parts = _split(url)
    if parts.scheme not in kinds or not parts.hostname or parts.path not in ("", "/") or parts.fragment:
        raise ValueError(f"must look like {next(iter(kinds))}://user:password@host or {list(kinds)[1]}://...")
    security, port = kinds[parts.scheme]
    return MailServer(
        name=_NAMES[next(iter(kinds))],
        host=parts.hostname,
        port=_port(parts) or port,
        security=_secured(parts, security),
        username=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
    )


def trusted(ca_file: Path | None) -> ssl.SSLContext:
    """TLS as both servers must offer it: certificates are checked, against a private authority too if one is named.

    Raises:
        ServiceRefused: The file holds no certificates.
    """
    context = ssl.create_default_context()
    if ca_file is not None:
        try:
            context.load_verify_locations(cafile=ca_file)
        except (OSError, ssl.SSLError) as error:
            raise ServiceRefused(f"EMAIL_CA_FILE cannot be used: {type(error).__name__}") from None
    return context


def _split(url: str) -> SplitResult:
    try:
        return urlsplit(url.strip())
    except ValueError:  # its words may repeat the password
        raise ValueError("is not an address") from None


def _port(parts: SplitResult) -> int | None:
    try:
        return parts.port
    except ValueError:
        raise ValueError("the port must be a number up to 65535") from None


def _secured(parts: SplitResult, security: Security) -> Security:
    options = parse_qs(parts.query, keep_blank_values=True)
    if not options:
        return security
    if options != {"starttls": _TURNED_OFF} or security is Security.TLS:
        raise ValueError("the only option is ?starttls=false, and only without the s of TLS")
    if not _is_this_machine(parts.hostname or ""):
        raise ValueError("?starttls=false would show the password to the network; it is for 127.0.0.1 only")
    return Security.PLAIN


def _is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
