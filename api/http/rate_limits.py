"""How often somebody may call: token buckets in the memory of this process.

Several processes behind one address each count for themselves, so a caller has as many times the quota as there are
processes. The headers are those of the IETF draft `ratelimit-headers`: `RateLimit-Policy` says what holds, `RateLimit`
what is left.
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
"""Under this name the request's state tells what is left."""
_WORDS = re.compile(r"(?P<quota>[1-9]\d{0,8})/(?P<window>[1-9]\d{0,5})", re.ASCII)
_REMEMBERED = 10_000
_CREDENTIALS = frozenset({b"authorization", b"cookie"})
_SIGNING_IN = "/v1/session"


@dataclass(frozen=True)
class Rate:
    """So many requests within so many seconds, all at once or spread."""

    quota: int
    window: int

    @classmethod
    def parsed(cls, words: str) -> Rate:
        """Read `1200/60`.

        Raises:
            ValueError: It is none.
        """
        found = _WORDS.fullmatch(words)
        if found is None:
            raise ValueError(f"{words!r} is no rate; write requests per seconds, as in 1200/60")
        return cls(int(found["quota"]), int(found["window"]))


@dataclass(frozen=True)
class RateLimitState:
    """What somebody has left."""

    rate: Rate
    left: float

    @property
    def seconds(self) -> int:
        """Until the next request is possible; 0 where one is now."""
        return 0 if self.left >= 0 else ceil(-self.left * self.rate.window / self.rate.quota)

    def headers(self) -> dict[str, str]:
        """As the draft has them."""
        left = max(0, int(self.left))
        full = ceil((self.rate.quota - self.left) * self.rate.window / self.rate.quota)
        return {
            "RateLimit-Policy": f'"caller";q={self.rate.quota};w={self.rate.window}',
            "RateLimit": f'"caller";r={left};t={full}',
        }


class RateLimiter:
    """One bucket for everybody who called lately. Whoever was forgotten begins with a full one."""

    def __init__(self, rate: Rate) -> None:
        self.rate = rate
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def peek(self, name: str) -> RateLimitState:
        """What somebody has, taking nothing; below zero is nothing."""
        full = float(self.rate.quota)
        tokens, since = self._buckets.get(name, (full, time.monotonic()))
        refilled = tokens + (time.monotonic() - since) * self.rate.quota / self.rate.window
        return RateLimitState(self.rate, min(full, refilled) - 1)

    def try_acquire(self, name: str) -> RateLimitState:
        """Take one from somebody's bucket. Asking too often takes nothing, so that waiting helps."""
        state = self.peek(name)
        if state.left >= 0:
            self._buckets[name] = (state.left, time.monotonic())
            self._buckets.move_to_end(name)
            if len(self._buckets) > _REMEMBERED:
                self._buckets.popitem(last=False)
        return state

    def acquire(self, scope: Scope, name: str) -> None:
        """Take one for a request, and note for its answer what is left. Every door calls this once per request.

        Raises:
            TooMany: There is none.
        """
        state = scope.setdefault("state", {})[RATE_LIMIT_STATE] = self.try_acquire(name)
        if state.seconds:
            raise TooMany("you ask too often", retry_after=state.seconds, hint="wait as Retry-After says")


class RateLimitMiddleware:
    """Tells every recognised caller what is left, and stops addresses that fail to sign in again and again."""

    def __init__(self, app: ASGIApp, *, failures: RateLimiter) -> None:
        self._app = app
        self._failures = failures

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer 429 before anybody looks at its credentials."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        address = _address(scope) if _tries_to_sign_in(scope) else None
        if address is not None and (wait := self._failures.peek(address).seconds):
            refusal = problem(
                HTTPStatus.TOO_MANY_REQUESTS,
                "too many failed attempts to sign in came from your address; wait as Retry-After says",
                headers={"Retry-After": str(wait)},
            )
            await refusal(scope, receive, send)
            return

        async def telling(message: Message) -> None:
            if message["type"] == "http.response.start":
                if address is not None and message["status"] == HTTPStatus.UNAUTHORIZED:
                    self._failures.try_acquire(address)
                state: RateLimitState | None = scope.get("state", {}).get(RATE_LIMIT_STATE)
                if state is not None:
                    MutableHeaders(scope=message).update(state.headers())
            await send(message)

        await self._app(scope, receive, telling)


def _tries_to_sign_in(scope: Scope) -> bool:
    return scope["path"] == _SIGNING_IN or any(name in _CREDENTIALS for name, _ in scope["headers"])


def _address(scope: Scope) -> str:
    client = scope.get("client")
    return client[0] if client else ""
