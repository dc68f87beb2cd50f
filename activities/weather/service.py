"""Questions to a weather service: bounded in time and size, answered by checked models or by one of our errors."""

import asyncio
import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TypeVar

import httpx
from pydantic import BaseModel, ValidationError

from retinue.errors import ServiceBusy, ServiceRefused, ServiceUnavailable

MAX_BYTES = 1024 * 1024
_PAUSE = 60.0
_LONGEST_PAUSE = 86_400.0

Answer = TypeVar("Answer", bound=BaseModel)
Parameters = Mapping[str, str | int | float]


def new_client(timeout: float) -> httpx.AsyncClient:
    """A client that follows no redirects and asks for plain bytes, so that their number can be limited as they come."""
    return httpx.AsyncClient(
        timeout=httpx.Timeout(timeout, connect=timeout / 2),
        follow_redirects=False,
        headers={"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "retinue"},
    )


class Service:
    """One weather service behind one HTTP client, which the caller opens and closes."""

    def __init__(self, client: httpx.AsyncClient, *, deadline: float, clock: Callable[[], datetime]) -> None:
        """Keep the client.

        Args:
            client: See `new_client`.
            deadline: Seconds that one question may take; a client's own timeouts only bound its silences.
            clock: The present, for pauses that the service names as a date.
        """
        self._client = client
        self._deadline = deadline
        self._clock = clock

    async def ask(self, url: str, parameters: Parameters, shape: type[Answer]) -> Answer:
        """GET `url` and read its JSON.

        Raises:
            ServiceUnavailable: No answer, an answer of 500 and above, or one that makes no sense; later may be better.
            ServiceBusy: It asks for a pause.
            ServiceRefused: It does not want this question.
        """
        try:
            async with (
                asyncio.timeout(self._deadline),
                self._client.stream("GET", url, params=dict(parameters)) as response,
            ):
                self._check_status(response)
                content = await _bounded(response)
        except (httpx.TimeoutException, TimeoutError):
            raise ServiceUnavailable("the weather service did not answer in time") from None
        except httpx.TransportError as error:
            raise ServiceUnavailable(f"the weather service cannot be reached: {type(error).__name__}") from None
        return _read(content, shape)

    def _check_status(self, response: httpx.Response) -> None:
        status = response.status_code
        if status == httpx.codes.TOO_MANY_REQUESTS:
            pause = _pause(response.headers.get("Retry-After"), now=self._clock())
            raise ServiceBusy("the weather service asks for a pause", retry_after=pause)
        if status >= 500:
            raise ServiceUnavailable(f"the weather service has a problem of its own (HTTP {status})")
        if status != httpx.codes.OK:
            raise ServiceRefused(f"the weather service refused the question (HTTP {status})")


async def _bounded(response: httpx.Response) -> bytes:
    content = bytearray()
    async for chunk in response.aiter_raw():
        content += chunk
        if len(content) > MAX_BYTES:
            raise ServiceUnavailable("the weather service's answer is far too large")
    return bytes(content)


def _read(content: bytes, shape: type[Answer]) -> Answer:
    try:
        return shape.model_validate_json(content)
    except ValidationError:
        # Without its text: the details quote the answer, which somebody else wrote.
        raise ServiceUnavailable("the weather service's answer makes no sense") from None


def _pause(header: str | None, *, now: datetime) -> float:
    """The seconds that `Retry-After` asks for, as a number or as a date; a minute where it says nothing useful."""
    try:
        seconds = float(header or "")
    except ValueError:
        seconds = _seconds_until(header or "", now=now)
    return min(max(seconds, 1.0), _LONGEST_PAUSE) if math.isfinite(seconds) else _PAUSE


def _seconds_until(date: str, *, now: datetime) -> float:
    try:
        moment = parsedate_to_datetime(date)
    except ValueError:
        return _PAUSE
    return (moment.replace(tzinfo=moment.tzinfo or UTC) - now).total_seconds()
