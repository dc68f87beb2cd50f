"""What the sync and the async client have in common: where to, as whom, what an answer means, when to try again."""

from __future__ import annotations

import os
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import httpx
from pydantic import SecretStr

from retinue.client.calls import Call
from retinue.client.errors import (
    BY_STATUS,
    ClientError,
    Conflict,
    Refused,
    TooManyRequests,
    Unavailable,
    Unreachable,
    WrongValue,
)

Answer = TypeVar("Answer")
LOCAL = "http://127.0.0.1:8000"
CONNECT = 3.0
"""Seconds until a connection must stand."""
MAX_ANSWER = 64 * 1024 * 1024
"""Bytes of the largest answer that is read."""
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
_LONGEST_PAUSE = 10.0


@dataclass(frozen=True)
class Door:
    """Where the API is, and with which credentials it is entered.

    Attributes:
        url: Address of the API without a slash at its end.
        api_key: Sent as a bearer token; it may also be an OIDC token.
    """

    url: str
    api_key: SecretStr | None

    @classmethod
    def of(cls, url: str | None, api_key: str | None) -> Door:
        """What was given, else `RETINUE_URL` and `RETINUE_API_KEY`, else the local stack without a key.

        Raises:
            ValueError: The address is none.
        """
        address = (url or os.environ.get("RETINUE_URL") or LOCAL).rstrip("/")
        key = os.environ.get("RETINUE_API_KEY", "") if api_key is None else api_key
        if not _host(address):
            raise ValueError(f"{address} is no address; use one like {LOCAL}")
        return cls(address, SecretStr(key) if key else None)

    @property
    def is_this_machine(self) -> bool:
        """Whether requests stay on this machine."""
        return _host(self.url) in _LOOPBACK

    def options(self, timeout: float) -> dict[str, Any]:
        """For the httpx client. A proxy meant for the outside world does not see requests to one's own machine."""
        return {
            "base_url": self.url,
            "timeout": httpx.Timeout(timeout, connect=CONNECT),
            "trust_env": not self.is_this_machine,
            "follow_redirects": False,
        }

    def headers(self, call: Call[Any]) -> dict[str, str]:
        """Of one request."""
        found = {"Accept": call.accept}
        if self.api_key is not None:
            found["Authorization"] = f"Bearer {self.api_key.get_secret_value()}"
        if call.key is not None:
            found["Idempotency-Key"] = call.key
        return found


def _host(address: str) -> str:
    """Return the host of an address of the web; nothing where it is none."""
    try:
        parsed = httpx.URL(address)
    except httpx.InvalidURL:
        return ""
    return parsed.host if parsed.scheme in {"http", "https"} else ""


def request(client: httpx.Client | httpx.AsyncClient, door: Door, call: Call[Any], timeout: float) -> httpx.Request:
    """Return the request of a call. It may take as long as the API was asked to wait, and `timeout` seconds more."""
    return client.build_request(
        call.method,
        call.address,
        params=dict(call.query) or None,
        json=call.body,
        headers=door.headers(call),
        timeout=httpx.Timeout(timeout + call.waits, connect=CONNECT),
    )


def unreachable(error: httpx.HTTPError | httpx.InvalidURL, door: Door) -> Unreachable:
    """Why no answer came."""
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.InvalidURL | httpx.UnsupportedProtocol):
        return Unreachable(f"Retinue does not answer at {door.url}", unsent=True)
    return Unreachable(f"the connection to {door.url} broke: {type(error).__name__}")


def refused(status: int, body: bytes, headers: Mapping[str, str]) -> Refused:
    """Return the problem detail of an answer as an error."""
    problem = _problem(body)
    detail = problem.get("detail")
    kind = BY_STATUS.get(status, Refused)
    return kind(
        detail if isinstance(detail, str) else f"the address answered HTTP {status} without saying why",
        status=status,
        kind=str(problem.get("type", "about:blank")),
        errors=list(_wrong_values(problem)),
        retry_after=_seconds(headers.get("Retry-After")),
    )


def _problem(body: bytes) -> dict[str, Any]:
    try:
        found = httpx.Response(200, content=body).json()
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _wrong_values(problem: Mapping[str, Any]) -> list[WrongValue]:
    found = problem.get("errors")
    return [
        WrongValue(str(item.get("pointer", "")), str(item.get("detail", "")))
        for item in (found if isinstance(found, list) else [])
        if isinstance(item, dict)
    ]


def _seconds(text: str | None) -> float | None:
    """Return the header's seconds; a date, which Retinue never sends, is not read."""
    return float(text) if text is not None and text.isdecimal() and len(text) < 8 else None


class Patience:
    """How often, and after which pauses, one thing is tried again.

    Args:
        retries: At most so often; 0 for what must not be sent twice.
    """

    def __init__(self, retries: int) -> None:
        self._retries = retries
        self._left = retries

    def renewed(self) -> None:
        """It worked again: what comes later counts anew."""
        self._left = self._retries

    def pause_after(self, error: ClientError) -> float:
        """Seconds to wait before the next try: doubling, at most 10, spread at random so that many do not come at once.

        Raises:
            ClientError: The same, where trying again does not help, is not safe, or was tried often enough.
        """
        asked = getattr(error, "retry_after", None) or 0.0
        in_progress = isinstance(error, Conflict) and asked > 0  # the first try is still being answered
        transient = isinstance(error, Unreachable | Unavailable | TooManyRequests)
        if not (transient or in_progress) or self._left <= 0 or asked > _LONGEST_PAUSE:
            raise error
        tried = self._retries - self._left
        self._left -= 1
        doubling = min(0.25 * 2.0**tried, _LONGEST_PAUSE)
        return max(asked, doubling * random.uniform(0.5, 1.0))  # noqa: S311  # spreads load, guards nothing
