"""Where a conversation goes is decided by settings, and not by an answer."""

from __future__ import annotations

from contextlib import AsyncExitStack

import pytest
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from activities.reasoning.endpoint import Endpoint, Failure
from activities.reasoning.model_routing import ModelSpec
from activities.reasoning.settings import Structured, TokenLimit
from retinue.errors import ServiceRefused
from retinue.testing import serving


def _spec(address: str) -> ModelSpec:
    return ModelSpec(
        label="m",
        model="m",
        base_url=f"{address}/v1",
        key=SecretStr("key"),
        key_name="OPENAI_API_KEY",
        settings="REASONING_*",
        timeout=5,
        max_output_tokens=100,
        max_input_tokens=None,
        structured=next(iter(Structured)),
        token_limit=next(iter(TokenLimit)),
        price_input=0,
        price_cached=0,
        price_output=0,
    )


@pytest.mark.parametrize("status", [302, 307, 308])
async def test_a_model_cannot_send_a_conversation_to_another_host(status: int) -> None:
    heard: list[bytes] = []

    async def listen(request: Request) -> Response:
        heard.append(await request.body())
        return Response(status_code=500)

    async with AsyncExitStack() as opened:
        elsewhere = await opened.enter_async_context(
            serving(Starlette(routes=[Route("/", listen, methods=["GET", "POST"])]))
        )

        async def send_on(request: Request) -> Response:
            return Response(status_code=status, headers={"Location": f"{elsewhere}/"})

        app = Starlette(routes=[Route("/v1/chat/completions", send_on, methods=["POST"])])
        endpoint = Endpoint(_spec(await opened.enter_async_context(serving(app))))
        opened.push_async_callback(endpoint.close)
        with pytest.raises(Failure) as failed:
            await endpoint.create([{"role": "user", "content": "private"}], {}, within=5)

    assert isinstance(failed.value.error, ServiceRefused)
    assert heard == []
