"""A server of many models for tests: each answers, by its name, what it was told to, and remembers what it was asked."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from retinue.testing import Answer, serving


@dataclass
class Endpoints:
    """The models of one address. The last answer of a model stays; a model without answers is not known."""

    url: str = ""
    answers: dict[str, list[Answer]] = field(default_factory=dict)
    requests: list[dict[str, Any]] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    was_asked: asyncio.Event = field(default_factory=asyncio.Event)
    crowd: asyncio.Barrier | None = None
    """Nobody is answered before so many have asked."""

    def says(self, model: str, *answers: Answer) -> None:
        """From now on the model answers this."""
        self.answers[model] = list(answers)

    def asked(self, model: str | None = None) -> list[dict[str, Any]]:
        """The requests to a model, or to all."""
        return [body for body in self.requests if model in (None, body["model"])]

    def order(self) -> list[str]:
        """The models in the order in which they were asked."""
        return [body["model"] for body in self.requests]

    async def answer(self, request: Request) -> Response:
        """Serve one chat completion."""
        body = await request.json()
        self.requests.append(body)
        self.times.append(time.monotonic())
        self.was_asked.set()
        left = self.answers.get(body["model"]) or [Answer(status=404)]
        answer = left.pop(0) if len(left) > 1 else left[0]
        await asyncio.sleep(answer.delay)
        if self.crowd is not None:
            await self.crowd.wait()
        return answer.response()

    async def listed(self, _request: Request) -> Response:
        """Serve the list of models."""
        return JSONResponse({"object": "list", "data": [{"id": name, "owned_by": "library"} for name in self.answers]})


@asynccontextmanager
async def many_models() -> AsyncIterator[Endpoints]:
    """A running server on a free port."""
    endpoints = Endpoints()
    app = Starlette(
        routes=[
            Route("/v1/chat/completions", endpoints.answer, methods=["POST"]),
            Route("/v1/models", endpoints.listed),
        ]
    )
    async with serving(app) as address:
        endpoints.url = f"{address}/v1"
        yield endpoints
