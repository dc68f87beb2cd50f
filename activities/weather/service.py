"""Requests to a weather service, with validated answers or typed errors; none during a pause."""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import TypeVar

import httpx
from pydantic import BaseModel, ValidationError

from retinue.errors import ServiceBusy, ServiceRefused, ServiceUnavailable
from retinue.network.service_client import ExternalService, wants_pause

MAX_BYTES = 1024 * 1024

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
            clock: The present.
        """
        self._outside = ExternalService(client, name="the weather service", deadline=deadline, most_bytes=MAX_BYTES)
        self._clock = clock
        self._closed_until: datetime | None = None

    async def request(self, url: str, parameters: Parameters, shape: type[Answer]) -> Answer:
        """GET `url` and read its JSON.

        Raises:
            ServiceUnavailable: No answer, an answer of 500 and above, or one that makes no sense; later may be better.
            ServiceBusy: It asks for a pause, or did a moment ago: then it is not asked.
            ServiceRefused: It does not want this question.
        """
        self._check_pause()
        try:
            reply = await self._outside.request("GET", url, params=parameters)
        except ServiceBusy as busy:
            self._closed_until = self._clock() + timedelta(seconds=busy.retry_after)
            raise
        if reply.status != httpx.codes.OK:
            raise ServiceRefused(f"the weather service refused the question (HTTP {reply.status})")
        return _read(reply.content, shape)

    def _check_pause(self) -> None:
        """Raise `ServiceBusy` during a pause. It holds for the whole process, since the service counts its requests together."""
        if self._closed_until is not None and (rest := (self._closed_until - self._clock()).total_seconds()) > 0:
            raise wants_pause("the weather service", max(rest, 1.0), asked=True)


def _read(content: bytes, shape: type[Answer]) -> Answer:
    try:
        return shape.model_validate_json(content)
    except ValidationError:
        # without its text, since the details quote the answer
        raise ServiceUnavailable("the weather service's answer makes no sense") from None
