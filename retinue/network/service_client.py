"""Requests to external services, bounded in time and size, with errors from `retinue.errors`.

Messages name the service as the person knows it ("the calendar server"). They contain neither its texts nor addresses with
credentials, since both would end up in histories.
"""

from __future__ import annotations

import asyncio
import math
import zlib
from collections.abc import Container, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

import httpx

from retinue.errors import AnswerTooLong, OutcomeUnknown, ServiceBusy, ServiceRefused, ServiceUnavailable
from retinue.network.connection_errors import unreachable
from retinue.runtime import telemetry
from retinue.settings import RetinueSettings

MAX_BYTES = 4 * 1024 * 1024
_PAUSE = 60.0
_CHECK = "check the address in the settings"
_DOUBT = "nobody knows whether it was done"
_NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)


@dataclass(frozen=True)
class Reply:
    """An answer: status, headers, and the whole body, which is within the limit."""

    status: int
    headers: httpx.Headers
    content: bytes


class ExternalService:
    """One service behind one HTTP client, which the caller opens and closes.

    Args:
        client: Should follow no redirects, since settings and not answers decide where a request goes.
        name: The service in a sentence, as in "the calendar server".
        deadline: Seconds that one request may take; a client's own timeouts only bound its silences.
        most_bytes: A longer body is an error.
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
        judged: Container[int] = (),
    ) -> Reply:
        """Send one request. The caller judges every status below 500 except 401, 403, 407, 429 and 507.

        Args:
            method: The HTTP method.
            url: Absolute.
            headers: In addition to the client's own.
            content: The body.
            params: The query.
            changes: Whether it changes something, so that after a lost reply the outcome is unknown.
            judged: Further statuses that the caller judges.

        Raises:
            ServiceUnavailable: No answer, or a status of 500 and above; `AnswerTooLong` if it exceeds the limit.
            ServiceBusy: It asks for a pause.
            ServiceRefused: A permanent refusal: credentials, certificate or quota.
            OutcomeUnknown: With `changes`: it was sent and no reply came. It may have happened.
        """
        request = self._client.build_request(
            method, url, headers=dict(headers or {}), content=content, params=dict(params) if params else None
        )
        try:
            async with asyncio.timeout(self._deadline):
                with telemetry.span(f"HTTP {method}", outgoing=True, peer__service=self._name) as span:
                    response = await self._client.send(request, stream=True)
                    span.set(http__response__status_code=response.status_code)
                try:
                    if response.status_code not in judged:
                        self._check(response)
                    return Reply(response.status_code, response.headers, await self._body(response))
                finally:
                    await response.aclose()
        except ServiceUnavailable as error:
            # a gateway timeout, a server error or an unreadable answer: the request may have taken effect
            if changes and response.status_code != httpx.codes.SERVICE_UNAVAILABLE:
                raise OutcomeUnknown(error.message, hint=_DOUBT) from None
            raise
        except _NEVER_SENT as error:
            raise unreachable(error, self._name, hint=_CHECK) from None
        except (
            httpx.HTTPError,
            TimeoutError,
            UnicodeError,
        ) as error:  # UnicodeError: a redirect to an invalid host name
            if changes:
                raise OutcomeUnknown(f"{self._name} did not answer", hint=_DOUBT) from None
            raise self._silent(error, request.url.scheme) from None
        except httpx.InvalidURL:
            raise ServiceRefused(f"the address of {self._name} is invalid; check the settings") from None

    def _check(self, response: httpx.Response) -> None:
        status = response.status_code
        if status == httpx.codes.UNAUTHORIZED:
            told = f"{self._name} does not accept the user name or password"
            raise ServiceRefused(told, hint="check the settings", sign_in=True)
        if status in (httpx.codes.FORBIDDEN, httpx.codes.PROXY_AUTHENTICATION_REQUIRED):
            raise ServiceRefused(f"{self._name} does not allow it (HTTP {status})")
        if status == httpx.codes.INSUFFICIENT_STORAGE:
            raise ServiceRefused(f"{self._name} has no room left (HTTP 507)", hint="free some space there")
        if status == httpx.codes.TOO_MANY_REQUESTS or (status == 503 and "Retry-After" in response.headers):
            raise wants_pause(self._name, pause_asked(response.headers.get("Retry-After"), now=datetime.now(UTC)))
        if status >= 500:
            raise ServiceUnavailable(f"{self._name} has an internal problem (HTTP {status})")

    async def _body(self, response: httpx.Response) -> bytes:
        """Return the body, with limits before and after decompression: a few kilobytes can expand to gigabytes."""
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
            raise ServiceUnavailable(f"{self._name} compressed its answer in a way that was not requested")
        unpacker = zlib.decompressobj(zlib.MAX_WBITS | 32)
        try:
            unpacked = unpacker.decompress(content, self._most_bytes + 1)
        except zlib.error:
            raise ServiceUnavailable(f"the answer of {self._name} cannot be decompressed") from None
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
    """Return the seconds of `Retry-After`, a number or a date; a minute if it is missing or invalid.

    At most `RETINUE_LONGEST_PAUSE`, since the operator bounds a pause, not a header.
    """
    try:
        seconds = float(header or "")
    except ValueError:
        seconds = _seconds_until(header or "", now=now)
    return min(max(seconds, 1.0), RetinueSettings().longest_pause) if math.isfinite(seconds) else _PAUSE


def wants_pause(name: str, seconds: float, *, asked: bool = False) -> ServiceBusy:
    """Return the error that a service asks for a pause, with its end.

    Args:
        name: The service in a sentence, as in "the calendar server".
        seconds: From now.
        asked: Whether it asked earlier, so that no request was sent now.
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
