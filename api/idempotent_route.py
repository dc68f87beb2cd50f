"""Idempotent routes: with an `Idempotency-Key`, a repeated request gets the first answer again.

Such a route uses `IdempotentRoute`, depends on `Idempotency`, and claims the key right before it has any effect. Only
successful answers are stored. A refusal or an outage releases the key, so that the request can be retried.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any

from fastapi import Depends, Request, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel

from api.deps import Caller, Key, StateAtRest
from api.storage.idempotency import CLAIM, Answer, Claim, IdempotencyKeys

REPLAYED = "Idempotency-Replayed"
_KEPT_HEADERS = ("location", "content-type")


class Repeated(Exception):  # not an error: returns the first answer from inside a route
    """The request was answered before."""

    def __init__(self, claim: Claim, answer: Answer) -> None:
        super().__init__()
        self.claim = claim
        self.answer = answer


@dataclass
class Idempotency:
    """The caller's key in this request, if any."""

    request: Request
    keys: IdempotencyKeys
    owner: str
    key: str | None
    claimed: Claim | None = None

    async def claim(self, body: BaseModel | None = None, *, fingerprint: str | None = None) -> Claim | None:
        """Claim the key for this request; None without a key.

        Args:
            body: The request. `wait_seconds` and explicit defaults make no difference.
            fingerprint: Replaces method and path: the kind of request and its target.

        Raises:
            Repeated: The request was answered before.
            InvalidArguments: The key was used for another request.
            InProgress: The same request is in progress.
        """
        if self.key is None:
            return None
        words = body.model_dump_json(exclude={"wait_seconds"}, exclude_defaults=True) if body else "{}"
        about = f"{self.request.method} {self.request.url.path}" if fingerprint is None else fingerprint
        claim = await self.keys.claim(
            owner=self.owner,
            key=self.key,
            body=f"{about} {words}" if about else words,
            lasting=CLAIM + timedelta(seconds=getattr(body, "wait_seconds", 0)),
        )
        if claim.answer is not None:
            raise Repeated(claim, claim.answer)
        self.claimed = claim
        return claim

    async def keep(self, response: Response) -> None:
        """Store the answer if the key was claimed and the request succeeded."""
        if self.claimed is None:
            return
        body = getattr(response, "body", None)
        if response.status_code >= 300 or not isinstance(body, bytes):
            await self.keys.give_back(self.claimed)
            return
        headers = {name: value for name in _KEPT_HEADERS if (value := response.headers.get(name))}
        await self.keys.keep(self.claimed, Answer(status=response.status_code, headers=headers, body=body))

    async def give_back(self) -> None:
        """Release the key, so that the request can be retried."""
        if self.claimed is not None:
            await self.keys.give_back(self.claimed)


def once(request: Request, state: StateAtRest, person: Caller, key: Key) -> Idempotency:
    """Return the caller's key, for an `IdempotentRoute`."""
    found = request.state.once = Idempotency(request, state.keys, person.owner, key)
    return found


class IdempotentRoute(APIRoute):
    """A route that stores its answers for repeated requests."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return a handler that stores its answer, or returns the first one again."""
        answer = super().get_route_handler()

        async def answered_once(request: Request) -> Response:
            try:
                response = await answer(request)
            except Repeated as found:
                return _again(found.answer)
            except BaseException:
                await _of(request, Idempotency.give_back)
                raise
            await _of(request, lambda found: found.keep(response))
            return response

        return answered_once


async def _of(request: Request, act: Callable[[Idempotency], Coroutine[Any, Any, None]]) -> None:
    found: Idempotency | None = getattr(request.state, "once", None)
    if found is not None:
        await act(found)


def _again(answer: Answer) -> Response:
    return Response(answer.body, status_code=answer.status, headers={**answer.headers, REPLAYED: "true"})


IdempotentAnswer = Annotated[Idempotency, Depends(once)]
