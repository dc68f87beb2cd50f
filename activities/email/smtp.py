r"""Handing one mail over to a mail server, so that afterwards it is known what happened, or known that it is not.

The server takes a mail over when it has read the final dot of DATA (RFC 5321, 4.2.5). Whatever goes wrong before that
dot means that nothing was sent; so does a refusal after it. Only silence after it leaves the outcome unknown.
"""

from __future__ import annotations

import asyncio
import base64
import re
import socket
import ssl
import time
from collections.abc import Container, Sequence
from contextlib import suppress
from typing import NoReturn

from aiosmtplib import (
    SMTP,
    SMTPAuthenticationError,
    SMTPException,
    SMTPRecipientRefused,
    SMTPResponseException,
    SMTPServerDisconnected,
)
from aiosmtplib.protocol import SMTPProtocol

from activities.email.bearer import mechanism
from activities.email.servers import MailServer, Renew, Security, SignInRefused, instead_of
from retinue.errors import OutcomeUnknown, RetinueError, ServiceBusy, ServiceRefused, ServiceUnavailable
from retinue.ledger import Commit
from retinue.runtime import telemetry

_GO_ON = 354
_WELCOME = 235
_CHALLENGE = 334
_TURNED_OFF = "5.7.139"
"""Of Microsoft: the token is fine, and the mailbox may not be used by SMTP."""
_NO_ROOM = (452, 552)
_WRONG_PASSWORD = (534, 535)
_WANTS_ENCRYPTION = 538
_LOG_IN_FIRST = 530
_PAUSE = 30.0
_LINE_BEGINS_WITH_DOT = re.compile(rb"(?m)^\.")


class Submission:
    """The mail server that takes mails over for sending."""

    def __init__(
        self,
        server: MailServer,
        tls: ssl.SSLContext,
        *,
        before: float = 40,
        after: float = 30,
        settle: float = 40,
        renew: Renew | None = None,
    ) -> None:
        """Configure the server; every mail has its own connection.

        Args:
            server: Where, and as whom.
            tls: The certificates that count.
            before: Seconds for everything before the final dot.
            after: Seconds that the server has to answer it.
            settle: Seconds after which others take a sending for lost; one that was frozen for so long stops.
            renew: Gives another secret where the server refuses one.
        """
        self._server = server
        self._tls = tls
        self._before = before
        self._after = after
        self._settle = settle
        self._renew = renew

    async def hand_over(self, content: bytes, *, sender: str, recipients: Sequence[str], commit: Commit) -> None:
        """Send one mail to all recipients, or to none.

        Args:
            content: ASCII lines that end in CRLF.
            sender: A bare address.
            recipients: Bare addresses.
            commit: Awaited right before the final dot.

        Raises:
            ServiceUnavailable: Nothing was sent; it may work later.
            ServiceBusy: Nothing was sent; the server wants a pause.
            ServiceRefused: Nothing was sent, and will not be.
            OutcomeUnknown: The server had the whole mail and did not say what it did with it.
            AccountDisconnected: The server refuses the account, and another token too; nothing was sent.
        """
        while True:  # ends, since nobody gets more than one other token
            try:
                return await self._hand_over(content, sender, recipients, commit)
            except SignInRefused as refused:
                self._server = await instead_of(self._server, refused, self._renew)

    async def _hand_over(self, content: bytes, sender: str, recipients: Sequence[str], commit: Commit) -> None:
        client = self._client()
        try:
            with telemetry.span("SMTP send", outgoing=True, peer__service="the mail server"):
                protocol = await self._prepared(client, content, sender, recipients)
                await self._committed(protocol, commit)
                await self._finish(protocol)
        finally:
            with suppress(SMTPException):
                if client.protocol is not None:
                    client.protocol.write(b"QUIT\r\n")
            client.close()

    def _client(self) -> SMTP:
        server = self._server
        return SMTP(
            hostname=server.host,
            port=None if server.resolve else server.port,  # a checked socket has one
            use_tls=server.security is Security.TLS,
            start_tls=server.security is Security.STARTTLS,
            tls_context=None if server.security is Security.PLAIN else self._tls,
            local_hostname="[127.0.0.1]",  # the real host name is private and would need a look-up
            timeout=self._before,
        )

    async def _prepared(self, client: SMTP, content: bytes, sender: str, recipients: Sequence[str]) -> SMTPProtocol:
        """Everything up to the final dot, which the server has to wait for."""
        try:
            async with asyncio.timeout(self._before):
                await self._connect(client)
                await self._address(client, content, sender, recipients)
                return await self._write(client, content)
        except SMTPResponseException as error:
            self._refused(error.code)
        except OSError as error:  # aiosmtplib's own for lost connections and time-outs are of this kind too
            raise self._server.unreachable(error) from None
        except SMTPException:
            raise self._server.no_encryption() from None

    async def _checked_socket(self) -> socket.socket | None:
        """Connect to a checked address; None: the name may lead anywhere."""
        failure: OSError | None = None
        for address in await self._server.addresses():
            connecting = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
            connecting.setblocking(False)
            try:
                await asyncio.get_running_loop().sock_connect(connecting, (address, self._server.port))
            except OSError as error:
                connecting.close()
                failure = error
            except BaseException:
                connecting.close()
                raise
            else:
                return connecting
        if failure is not None:
            raise failure
        return None

    async def _connect(self, client: SMTP) -> None:
        await client.connect(sock=await self._checked_socket())
        await client.ehlo()
        if not self._server.username:
            return
        try:
            await self._log_in(client)
        except SMTPAuthenticationError as error:
            if error.code == _WANTS_ENCRYPTION:
                raise self._server.wants_encryption() from None
            if error.code in _WRONG_PASSWORD:
                raise self._server.wrong_password() from None
            raise

    async def _log_in(self, client: SMTP) -> None:
        """One try by one method: trying all of them with a wrong password locks accounts."""
        name, password = self._server.username.encode(), self._server.password.encode()
        offered = client.server_auth_methods
        if self._server.bearer:
            await self._show_token(client, {each.upper() for each in offered})
        elif "plain" in offered:
            await client.auth_plain(name, password)
        elif "login" in offered:
            await client.auth_login(name, password)
        elif "cram-md5" in offered:
            await client.auth_crammd5(name, password)
        else:
            raise ServiceRefused(
                f"{self._server.name} offers no way to log in by password",
                hint="many do so over a secure connection only" if self._server.security is Security.PLAIN else None,
            )

    async def _show_token(self, client: SMTP, offered: Container[str]) -> None:
        way = mechanism(self._server, offered)
        answer = await client.execute_command(b"AUTH", way.name.encode(), base64.b64encode(way.initial))
        if answer.code == _CHALLENGE:  # it describes the error, and refuses once that is answered
            answer = await client.execute_command(base64.b64encode(way.farewell))
        if answer.code in _WRONG_PASSWORD and _TURNED_OFF in answer.message:
            raise ServiceRefused(
                f"{self._server.name} lets no program send for this mailbox",
                hint="its administrator can allow it (SMTP AUTH)",
            )
        if answer.code != _WELCOME:
            raise SMTPAuthenticationError(answer.code, "")

    async def _address(self, client: SMTP, content: bytes, sender: str, recipients: Sequence[str]) -> None:
        sized = [f"SIZE={len(content)}"] if client.supports_extension("size") else []
        await client.mail(sender, options=sized)
        refused: dict[str, int] = {}
        for recipient in recipients:
            try:
                await client.rcpt(recipient)
            except SMTPRecipientRefused as error:
                refused[recipient] = error.code
        if refused:
            raise self._recipients_refused(refused)

    async def _write(self, client: SMTP, content: bytes) -> SMTPProtocol:
        answer = await client.execute_command(b"DATA")
        protocol = client.protocol
        if answer.code != _GO_ON or protocol is None:
            self._refused(answer.code)
        protocol.write(_LINE_BEGINS_WITH_DOT.sub(b"..", content))
        return protocol

    async def _committed(self, protocol: SMTPProtocol, commit: Commit) -> None:
        asked = time.monotonic()
        await commit()
        if time.monotonic() - asked > self._settle / 2:
            # We were frozen in between. Others may have given this attempt up by now: it says so, and acts no more.
            raise ServiceUnavailable("sending took too long to begin; nothing was sent")
        if not protocol.is_connected:
            raise ServiceUnavailable(f"{self._server.name} closed the connection; nothing was sent")

    async def _finish(self, protocol: SMTPProtocol) -> None:
        try:
            answer = await protocol.execute_command(b".", timeout=self._after)
        except (SMTPServerDisconnected, SMTPException, OSError):
            answer = None
        if answer is None or not 200 <= answer.code < 600 or 300 <= answer.code < 400:
            raise OutcomeUnknown(f"{self._server.name} did not say whether it sent the mail; nobody knows")
        if answer.code >= 400:
            self._refused(answer.code)

    def _refused(self, code: int) -> NoReturn:
        """Nothing was sent: say why. The server's words stay out, only its code is shown."""
        name = self._server.name
        if code in _NO_ROOM:
            raise _by_code(
                code, f"{name} has no room for this mail, or it is too large (SMTP {code}); nothing was sent"
            )
        if code == _LOG_IN_FIRST:
            raise ServiceRefused(
                f"{name} wants a log-in or a secure connection first (SMTP {code}); nothing was sent",
                hint=f"name user and password in {self._server.setting}, and leave ?starttls=false out",
            )
        if code in (550, 553, 554):
            raise ServiceRefused(f"{name} does not allow this mail (SMTP {code}); nothing was sent")
        raise _by_code(code, f"{name} did not take this mail (SMTP {code}); nothing was sent")

    def _recipients_refused(self, refused: dict[str, int]) -> RetinueError:
        """Whom it concerns, and nothing of what the server says about them."""
        whom = ", ".join(refused)
        code = max(refused.values())
        return _by_code(
            code, f"{self._server.name} does not take mail for {whom} (SMTP {code}); nothing was sent to anybody"
        )


def _by_code(code: int, message: str) -> RetinueError:
    """5xx is for good, 4xx may pass, and anything else is not SMTP."""
    if 500 <= code < 600:
        return ServiceRefused(message)
    if code in (421, 450, 451, 452):
        return ServiceBusy(message, retry_after=_PAUSE)
    return ServiceUnavailable(message)
