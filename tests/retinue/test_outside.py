"""Requests to outer services: what is packed is counted unpacked, and what came after a change is said with care."""

from __future__ import annotations

import re
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from retinue.errors import AnswerTooLong, OutcomeUnknown, RetinueError, ServiceUnavailable
from retinue.network.service_client import ExternalService, pause_asked, wants_pause
from retinue.testing import serving

Ask = Callable[..., Awaitable[bytes]]


def packed(content: bytes) -> bytes:
    packer = zlib.compressobj(wbits=31)
    return packer.compress(content) + packer.flush()


@pytest.fixture
async def server() -> AsyncIterator[Ask]:
    """Gives a way to ask a real server that answers with a given response."""
    async with AsyncExitStack() as open_things:

        async def asked(response: Response, *, changes: bool = False) -> bytes:
            async def answer(request: Request) -> Response:
                return response

            app = Starlette(routes=[Route("/", answer, methods=["PUT"])])
            address = await open_things.enter_async_context(serving(app))
            client = await open_things.enter_async_context(httpx.AsyncClient(trust_env=False))
            reply = await ExternalService(client, name="the server", most_bytes=1000).request(
                "PUT", address, changes=changes
            )
            return reply.content

        yield asked


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip"])
async def test_a_packed_answer_is_unpacked(server: Ask, encoding: str) -> None:
    response = Response(packed(b"hello"), headers={"Content-Encoding": encoding})
    assert await server(response) == b"hello"


@pytest.mark.parametrize(
    ("content", "encoding", "error"),
    [
        (packed(b"0" * 50_000_000), "gzip", AnswerTooLong),
        (b"0" * 1001, "identity", AnswerTooLong),
        (b"not packed", "gzip", ServiceUnavailable),
        (b"x", "br", ServiceUnavailable),
    ],
)
async def test_what_is_too_long_or_cannot_be_unpacked_is_refused(
    server: Ask, content: bytes, encoding: str, error: type[RetinueError]
) -> None:
    with pytest.raises(error):
        await server(Response(content, headers={"Content-Encoding": encoding}))


@pytest.mark.parametrize("status", [500, 502, 504])
async def test_a_server_that_broke_in_the_middle_of_a_change_may_have_made_it(server: Ask, status: int) -> None:
    with pytest.raises(OutcomeUnknown):
        await server(Response(status_code=status), changes=True)


@pytest.mark.parametrize("response", [Response(b"0" * 1001), Response(b"x", headers={"Content-Encoding": "gzip"})])
async def test_an_answer_that_cannot_be_read_says_nothing_about_the_change(server: Ask, response: Response) -> None:
    with pytest.raises(OutcomeUnknown):
        await server(response, changes=True)


async def test_a_server_that_is_away_has_changed_nothing(server: Ask) -> None:
    with pytest.raises(ServiceUnavailable):
        await server(Response(status_code=503), changes=True)


@pytest.mark.parametrize(
    "header", [None, "", "nan", "1e999", "tomorrow", "Mon, 01 Jan 99999999999999999999 00:00:00 GMT"]
)
def test_a_pause_that_makes_no_sense_is_a_minute(header: str | None) -> None:
    assert pause_asked(header, now=datetime(2026, 12, 1, tzinfo=UTC)) == 60


@pytest.mark.parametrize("header", ["315360000", "1e30", "Fri, 31 Dec 9999 23:59:59 GMT", "3600"])
@pytest.mark.parametrize(("setting", "seconds"), [("", 900), ("120", 120), ("7200", 7200)])
def test_a_pause_is_no_longer_than_people_agreed_to(
    monkeypatch: pytest.MonkeyPatch, header: str, setting: str, seconds: float
) -> None:
    monkeypatch.setenv("RETINUE_LONGEST_PAUSE", setting)
    asked = min(float(header), seconds) if header.isdigit() else seconds
    assert pause_asked(header, now=datetime(2026, 12, 1, tzinfo=UTC)) == asked


def test_a_pause_is_told_with_its_end() -> None:
    assert re.search(r"it is asked again at \d\d:\d\d:\d\d UTC$", wants_pause("the site", 60).message)
