"""A provider's REST API: the token goes to its address alone, and a refused one is replaced once."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

import httpx
import pytest
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from retinue.accounts.access import Access
from retinue.accounts.connection import Connection, Provider, SecretKind
from retinue.accounts.rest_api import RestApi
from retinue.errors import AccountDisconnected, ServiceRefused, ServiceUnavailable
from retinue.testing import serving

Answer = Callable[[Request], Response]
Served = Callable[[Answer], Awaitable[str]]


def connection(token: str, kind: SecretKind = SecretKind.BEARER) -> Connection:
    return Connection(account_id="a1", name="work", provider=Provider.MICROSOFT, secret=SecretStr(token), kind=kind)


class Giving:
    """An accounts service that gives these tokens, one after the other."""

    def __init__(self, *tokens: str) -> None:
        self._tokens = list(tokens)
        self.rejected: list[Connection | None] = []

    async def connection(self, *, account: str | None = None, rejected: Connection | None = None) -> Connection | None:
        self.rejected.append(rejected)
        return connection(self._tokens.pop(0)) if self._tokens else None


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    async with AsyncExitStack() as open_things:

        async def serve(answer: Answer) -> str:
            async def respond(request: Request) -> Response:
                return answer(request)

            app = Starlette(routes=[Route("/{path:path}", respond, methods=["GET", "POST"])])
            return await open_things.enter_async_context(serving(app))

        yield serve


async def test_a_refused_token_is_replaced_once(served: Served) -> None:
    seen = []

    def answer(request: Request) -> Response:
        seen.append(request.headers["Authorization"])
        return Response(status_code=401) if seen[-1] == "Bearer stale" else JSONResponse({"fine": True})

    accounts = Giving("fresh", "never")
    async with httpx.AsyncClient(trust_env=False) as http:
        api = RestApi(http, Access(connection("stale"), accounts), base=await served(answer), name="the service")
        assert api.read(await api.request("POST", "things", body={}, changes=True)) == {"fine": True}
        await api.request("GET", "things")
    assert seen == ["Bearer stale", "Bearer fresh", "Bearer fresh"]
    assert [each and each.secret.get_secret_value() for each in accounts.rejected] == ["stale"]


@pytest.mark.parametrize("accounts", [None, Giving(), Giving("refused as well", "never asked for")])
async def test_a_second_refusal_disconnects_the_account_and_shows_no_token(
    served: Served, accounts: Giving | None
) -> None:
    url = await served(lambda _: Response("stale", status_code=401))
    async with httpx.AsyncClient(trust_env=False) as http:
        api = RestApi(http, Access(connection("stale"), accounts), base=url, name="the service")
        with pytest.raises(AccountDisconnected, match="'work'") as refused:
            await api.request("GET", "things")
    assert "stale" not in f"{refused.value!r} {refused.value.hint}"
    assert accounts is None or len(accounts.rejected) == 1


@pytest.mark.parametrize(
    "path", ["https://elsewhere.test/v1/things", "//elsewhere.test/things", "/v2/things", "../v2", "https://[", "/v1x"]
)
async def test_no_answer_sends_the_token_elsewhere(served: Served, path: str) -> None:
    url = await served(lambda _: JSONResponse({"next": path}))
    seen = []
    async with httpx.AsyncClient(trust_env=False) as http:
        api = RestApi(http, Access(connection("secret")), base=f"{url}/v1", name="the service")

        async def read() -> None:
            async for page in api.pages("things", next_field="next"):
                seen.append(page)  # noqa: PERF401  # what came before the refusal counts

        with pytest.raises(ServiceRefused, match="another server"):
            await read()
    assert seen == [{"next": path}]


async def test_a_list_without_an_end_is_given_up(served: Served) -> None:
    url = await served(lambda request: JSONResponse({"next": str(request.url)}))
    async with httpx.AsyncClient(trust_env=False) as http:
        api = RestApi(http, Access(connection("secret")), base=url, name="the service")
        with pytest.raises(ServiceUnavailable, match="does not end"):
            [page async for page in api.pages("things", next_field="next", most=3)]


@pytest.mark.parametrize("content", [b"<html>sign in</html>", b"[1]", b"[" * 100_000, b"", b"\xff"])
async def test_what_is_no_json_object_is_an_outage(served: Served, content: bytes) -> None:
    url = await served(lambda _: Response(content))
    async with httpx.AsyncClient(trust_env=False) as http:
        api = RestApi(http, Access(connection("secret")), base=url, name="the service")
        with pytest.raises(ServiceUnavailable, match="makes no sense"):
            api.read(await api.request("GET", "things"))


async def test_a_token_does_not_cross_the_network_in_the_clear() -> None:
    async with httpx.AsyncClient(trust_env=False) as http:
        with pytest.raises(ServiceRefused, match="https"):
            RestApi(http, Access(connection("secret")), base="http://graph.test/v1.0", name="the service")
