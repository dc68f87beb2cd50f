"""Rate limits per caller: token buckets in the memory of this process.

Several processes behind one address count separately, so the quota is multiplied by their number. The headers are those
of the IETF draft `ratelimit-headers`: `RateLimit-Policy` is the limit, `RateLimit` the remaining requests.
"""

from __future__ import annotations

import re
import time
from collections import OrderedDict
from dataclasses import dataclass
from http import HTTPStatus
from math import ceil

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import problem
from retinue.errors import TooMany

RATE_LIMIT_STATE = "allowance"
"""Key of the remaining requests in the request's state."""
_WORDS = re.compile(r"(?P<quota>[1-9]\d{0,8})/(?P<window>[1-9]\d{0,5})", re.ASCII)
_REMEMBERED = 10_000
_CREDENTIALS = frozenset({b"authorization", b"cookie"})
_SIGNING_IN = "/v1/session"


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


class RateLimiter:
    """One bucket per recent caller. Evicted callers start with a full bucket."""

    def __init__(self, rate: Rate) -> None:
        self.rate = rate
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def peek(self, name: str) -> RateLimitState:
        """Return a caller's remaining requests without consuming one."""
        full = float(self.rate.quota)
        tokens, since = self._buckets.get(name, (full, time.monotonic()))
        refilled = tokens + (time.monotonic() - since) * self.rate.quota / self.rate.window
        return RateLimitState(self.rate, min(full, refilled) - 1)

    def try_acquire(self, name: str) -> RateLimitState:
        """Consume a token if there is one. A rejected request consumes no token."""
        state = self.peek(name)
        if state.left >= 0:
            self._buckets[name] = (state.left, time.monotonic())
            self._buckets.move_to_end(name)
            if len(self._buckets) > _REMEMBERED:
                self._buckets.popitem(last=False)
        return state

    def acquire(self, scope: Scope, name: str) -> None:
        """Consume a token for a request and store the rest for its headers. Every protocol calls this once per request.

        Raises:
            TooMany: The bucket is empty.
        """
        state = scope.setdefault("state", {})[RATE_LIMIT_STATE] = self.try_acquire(name)
        if state.seconds:
            raise TooMany("rate limit exceeded", retry_after=state.seconds, hint="wait as Retry-After says")


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
        if address is not None and (wait := self._failures.peek(address).seconds):
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
                    self._failures.try_acquire(address)
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
