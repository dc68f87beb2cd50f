"""Rate limits per caller: token buckets, which all API processes of one PostgreSQL database share.

With SQLite, and while PostgreSQL does not answer, the buckets are in the memory of this process. The headers are those of
the IETF draft `ratelimit-headers`: `RateLimit-Policy` is the limit, `RateLimit` the remaining requests.
"""

from __future__ import annotations

import logging
import re
import time
from collections import OrderedDict
from dataclasses import dataclass
from http import HTTPStatus
from math import ceil
from typing import Protocol

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import problem
from retinue.errors import ServiceUnavailable, TooMany

RATE_LIMIT_STATE = "allowance"
"""Key of the remaining requests in the request's state."""
_WORDS = re.compile(r"(?P<quota>[1-9]\d{0,8})/(?P<window>[1-9]\d{0,5})", re.ASCII)
_REMEMBERED = 10_000
_CREDENTIALS = frozenset({b"authorization", b"cookie"})
_SIGNING_IN = "/v1/session"
_WITHOUT_SHARED = 10.0
"""Seconds until a database that did not answer is asked again."""
_log = logging.getLogger("retinue.api")


@dataclass(frozen=True)
class Rate:
    """A number of requests within a number of seconds, at once or spread."""

    quota: int
    window: int

    @classmethod
    def parsed(cls, words: str) -> Rate:
        """Read `1200/60`.

        Raises:
            ValueError: It is not a valid rate.
        """
        found = _WORDS.fullmatch(words)
        if found is None:
            raise ValueError(f"{words!r} is not a valid rate; use REQUESTS/SECONDS, e.g. 1200/60")
        return cls(int(found["quota"]), int(found["window"]))


@dataclass(frozen=True)
class RateLimitState:
    """The remaining requests of a caller."""

    rate: Rate
    left: float

    @property
    def seconds(self) -> int:
        """Return the seconds until the next request is possible; 0 if it is now."""
        return 0 if self.left >= 0 else ceil(-self.left * self.rate.window / self.rate.quota)

    def headers(self) -> dict[str, str]:
        """Return the headers of the draft."""
        left = max(0, int(self.left))
        full = ceil((self.rate.quota - self.left) * self.rate.window / self.rate.quota)
        return {
            "RateLimit-Policy": f'"caller";q={self.rate.quota};w={self.rate.window}',
            "RateLimit": f'"caller";r={left};t={full}',
        }


class LocalBuckets:
    """Buckets in the memory of this process, one per recent name. Evicted names start with a full bucket."""

    def __init__(self, rate: Rate) -> None:
        self._rate = rate
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def peek(self, name: str) -> float:
        """Return how many tokens would remain after one more request; negative if it must wait."""
        full = float(self._rate.quota)
        tokens, since = self._buckets.get(name, (full, time.monotonic()))
        refilled = tokens + (time.monotonic() - since) * self._rate.quota / self._rate.window
        return min(full, refilled) - 1

    def take(self, name: str) -> float:
        """Consume a token if there is one; return as `peek`. A rejected request consumes no token."""
        left = self.peek(name)
        if left >= 0:
            self._buckets[name] = (left, time.monotonic())
            self._buckets.move_to_end(name)
            if len(self._buckets) > _REMEMBERED:
                self._buckets.popitem(last=False)
        return left


class SharedBuckets(Protocol):
    """Buckets of all API processes; see `api.http.shared_buckets`. Both raise `ServiceUnavailable`."""

    async def peek(self, name: str, rate: Rate) -> float:
        """Return how many tokens would remain after one more request; negative if it must wait."""

    async def take(self, name: str, rate: Rate) -> float:
        """Consume a token if there is one; return as `peek`. A rejected request consumes no token."""


class RateLimiter:
    """One bucket per name: of a caller, or of an address.

    Args:
        rate: The size of a bucket and how fast it fills.
        shared: Buckets of all processes; None: those of this process.
    """

    def __init__(self, rate: Rate, *, shared: SharedBuckets | None = None) -> None:
        self.rate = rate
        self._local = LocalBuckets(rate)
        self._shared = shared
        self._away_until = 0.0

    async def peek(self, name: str) -> RateLimitState:
        """Return a caller's remaining requests without consuming one."""
        if shared := self._usable():
            try:
                return RateLimitState(self.rate, await shared.peek(name, self.rate))
            except ServiceUnavailable as error:
                self._without_shared(error)
        return RateLimitState(self.rate, self._local.peek(name))

    async def try_acquire(self, name: str) -> RateLimitState:
        """Consume a token if there is one. A rejected request consumes no token."""
        if shared := self._usable():
            try:
                return RateLimitState(self.rate, await shared.take(name, self.rate))
            except ServiceUnavailable as error:
                self._without_shared(error)
        return RateLimitState(self.rate, self._local.take(name))

    async def acquire(self, scope: Scope, name: str) -> None:
        """Consume a token for a request and store the rest for its headers. Every protocol calls this once per request.

        Raises:
            TooMany: The bucket is empty.
        """
        state = scope.setdefault("state", {})[RATE_LIMIT_STATE] = await self.try_acquire(name)
        if state.seconds:
            raise TooMany("rate limit exceeded", retry_after=state.seconds, hint="wait as Retry-After says")

    def _usable(self) -> SharedBuckets | None:
        return self._shared if time.monotonic() >= self._away_until else None

    def _without_shared(self, error: ServiceUnavailable) -> None:
        self._away_until = time.monotonic() + _WITHOUT_SHARED
        _log.warning("this process counts rate limits alone for %.0f s: %s", _WITHOUT_SHARED, error.message)


class RateLimitMiddleware:
    """Adds the rate-limit headers, and blocks addresses with too many failed sign-ins."""

    def __init__(self, app: ASGIApp, *, failures: RateLimiter) -> None:
        self._app = app
        self._failures = failures

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer 429 before authentication."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        address = _address(scope) if _tries_to_sign_in(scope) else None
        if address is not None and (wait := (await self._failures.peek(address)).seconds):
            refusal = problem(
                HTTPStatus.TOO_MANY_REQUESTS,
                "too many failed sign-ins from your address; wait as Retry-After says",
                headers={"Retry-After": str(wait)},
            )
            await refusal(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                if address is not None and message["status"] == HTTPStatus.UNAUTHORIZED:
                    await self._failures.try_acquire(address)
                state: RateLimitState | None = scope.get("state", {}).get(RATE_LIMIT_STATE)
                if state is not None:
                    MutableHeaders(scope=message).update(state.headers())
            await send(message)

        await self._app(scope, receive, with_headers)


def _tries_to_sign_in(scope: Scope) -> bool:
    return scope["path"] == _SIGNING_IN or any(name in _CREDENTIALS for name, _ in scope["headers"])


def _address(scope: Scope) -> str:
    client = scope.get("client")
    return client[0] if client else ""
