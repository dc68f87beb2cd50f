"""Requests to services outside: bounded in time and size, answered by a reply or by one of our errors.

Messages name the service as the person knows it ("the calendar server"). They hold neither its words nor addresses with
credentials, since both would end in histories.
"""

from __future__ import annotations

import asyncio
import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

import httpx

from retinue.errors import AnswerTooLong, OutcomeUnknown, ServiceBusy, ServiceRefused, ServiceUnavailable
from retinue.network.connection_errors import unreachable
from retinue.settings import RetinueSettings

MAX_BYTES = 4 * 1024 * 1024
_PAUSE = 60.0
_CHECK = "check the address in the settings"
_DOUBT = "nobody knows whether it was done"
_NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)


@dataclass(frozen=True)
class Reply:
    """What a service answered: status, headers, and the whole body, which is within the limit."""

    status: int
    headers: httpx.Headers
    content: bytes


class ExternalService:
    """One service behind one HTTP client, which the caller opens and closes.

    Args:
        client: Should follow no redirects: where a request goes is decided by settings, not by answers.
        name: The service in a sentence, as in "the calendar server".
        deadline: Seconds that one request may take; a client's own timeouts only bound its silences.
        most_bytes: A longer body counts as an answer that makes no sense.
    """

    def __init__(
        self, client: httpx.AsyncClient, *, name: str, deadline: float = 30, most_bytes: int = MAX_BYTES
    ) -> None:
        self._client = client
        self._name = name
        self._deadline = deadline
        self._most_bytes = most_bytes

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
        params: Mapping[str, str | int | float] | None = None,
        changes: bool = False,
    ) -> Reply:
        """Send one request. Every status below 500 but 401, 403, 407, 429 and 507 is the caller's to judge.

        Args:
            method: The HTTP method.
            url: Absolute.
            headers: Beside the client's own.
            content: The body.
            params: The query.
            changes: Whether it changes something there, so that a lost reply leaves the outcome in the dark.

        Raises:
            ServiceUnavailable: No answer, or one of 500 and above; `AnswerTooLong` where it is that.
            ServiceBusy: It asks for a pause.
            ServiceRefused: Credentials, certificate or quota: it will not, however often it is asked.
            OutcomeUnknown: With `changes`: it was sent and no reply came. It may have happened.
        """
        request = self._client.build_request(
            method, url, headers=dict(headers or {}), content=content, params=dict(params) if params else None
        )
        try:
            async with asyncio.timeout(self._deadline):
                response = await self._client.send(request, stream=True)
                try:
                    self._check(response)
                    return Reply(response.status_code, response.headers, await self._body(response))
                finally:
                    await response.aclose()
        except ServiceUnavailable as error:
            # a gateway that gave up, a server that broke, an answer nobody can read: what was sent may have been done
            if changes and response.status_code != httpx.codes.SERVICE_UNAVAILABLE:
                raise OutcomeUnknown(error.message, hint=_DOUBT) from None
            raise
        except _NEVER_SENT as error:
            raise unreachable(error, self._name, hint=_CHECK) from None
        except (httpx.HTTPError, TimeoutError, UnicodeError) as error:  # UnicodeError: a redirect to a host of no name
            if changes:
                raise OutcomeUnknown(f"{self._name} did not answer", hint=_DOUBT) from None
            raise self._silent(error, request.url.scheme) from None
        except httpx.InvalidURL:
            raise ServiceRefused(f"the address of {self._name} makes no sense; check the settings") from None

    def _check(self, response: httpx.Response) -> None:
        status = response.status_code
        if status == httpx.codes.UNAUTHORIZED:
            raise ServiceRefused(f"{self._name} does not accept the user name or password", hint="check the settings")
        if status in (httpx.codes.FORBIDDEN, httpx.codes.PROXY_AUTHENTICATION_REQUIRED):
            raise ServiceRefused(f"{self._name} does not allow it (HTTP {status})")
        if status == httpx.codes.INSUFFICIENT_STORAGE:
            raise ServiceRefused(f"{self._name} has no room left (HTTP 507)", hint="free some space there")
        if status == httpx.codes.TOO_MANY_REQUESTS or (status == 503 and "Retry-After" in response.headers):
            raise wants_pause(self._name, pause_asked(response.headers.get("Retry-After"), now=datetime.now(UTC)))
        if status >= 500:
            raise ServiceUnavailable(f"{self._name} has a problem of its own (HTTP {status})")

    async def _body(self, response: httpx.Response) -> bytes:
        """The body, counted as it comes and again unpacked: a few kilobytes can hold gigabytes."""
        content = bytearray()
        async for chunk in response.aiter_raw(64 * 1024):
            content += chunk
            if len(content) > self._most_bytes:
                raise self._too_long()
        return self._unpacked(bytes(content), response.headers.get("Content-Encoding", "identity").lower())

    def _unpacked(self, content: bytes, encoding: str) -> bytes:
        if encoding in ("", "identity"):
            return content
        if encoding not in ("gzip", "x-gzip", "deflate"):
            raise ServiceUnavailable(f"{self._name} packed its answer in a way that was not asked for")
        unpacker = zlib.decompressobj(zlib.MAX_WBITS | 32)
        try:
            unpacked = unpacker.decompress(content, self._most_bytes + 1)
        except zlib.error:
            raise ServiceUnavailable(f"the answer of {self._name} cannot be unpacked") from None
        if len(unpacked) > self._most_bytes:
            raise self._too_long()
        if not unpacker.eof:
            raise ServiceUnavailable(f"the answer of {self._name} broke off")
        return unpacked

    def _too_long(self) -> AnswerTooLong:
        return AnswerTooLong(f"the answer of {self._name} is longer than {self._most_bytes // 1024} KiB")

    def _silent(self, error: Exception, scheme: str) -> ServiceUnavailable:
        if isinstance(error, (TimeoutError, httpx.TimeoutException)):
            return ServiceUnavailable(f"{self._name} did not answer in time")
        hint = "if that port is one of TLS, the address must begin with https://" if scheme == "http" else None
        told = f"{self._name} broke off in the middle of its answer: {type(error).__name__}"
        return ServiceUnavailable(told, hint=hint)


def pause_asked(header: str | None, *, now: datetime) -> float:
    """The seconds that `Retry-After` asks for, as a number or as a date; a minute where it says nothing useful.

    At most `RETINUE_LONGEST_PAUSE`: how long nobody may be asked is for people to say, not for a header.
    """
    try:
        seconds = float(header or "")
    except ValueError:
        seconds = _seconds_until(header or "", now=now)
    return min(max(seconds, 1.0), RetinueSettings().longest_pause) if math.isfinite(seconds) else _PAUSE


def wants_pause(name: str, seconds: float, *, asked: bool = False) -> ServiceBusy:
    """That a service wants to be left alone for so many seconds, with the time at which that ends.

    Args:
        name: The service in a sentence, as in "the calendar server".
        seconds: From now.
        asked: Whether it said so earlier, and was not asked again.
    """
    until = (datetime.now(UTC) + timedelta(seconds=seconds)).strftime("%H:%M:%S UTC")
    says = "asked" if asked else "asks"
    return ServiceBusy(f"{name} {says} for a pause; it is asked again at {until}", retry_after=seconds)


def _seconds_until(date: str, *, now: datetime) -> float:
    try:
        moment = parsedate_to_datetime(date)
    except (ValueError, OverflowError):
        return _PAUSE
    return (moment.replace(tzinfo=moment.tzinfo or UTC) - now).total_seconds()
