"""S21: the codec server decodes for operators of this installation, for pages of one exact origin, and for nobody else."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping

import httpx
import pytest
from fastapi import Request
from google.protobuf import json_format
from temporalio.api.common.v1 import Payload, Payloads
from temporalio.client import Client

from api.app import create_app
from api.auth.principals import Person, Role
from api.deps import caller
from api.protocols.temporal_codec import MAX_BODY
from api.settings import ApiSettings
from retinue.errors import NotAllowed
from retinue.temporal.connection import DATA_CONVERTER
from tests.security.encryption.installation import Installation

pytestmark = pytest.mark.xdist_group("encryption")
UI, PATH = "http://127.0.0.1:8233", "/codec/default/decode"
OLGA, FROM_UI = {"X-Test-Person": "olga"}, {"Origin": UI}
WORDS = {"text": "what somebody wrote"}
PEOPLE = {
    "olga": Person("olga", frozenset({Role.OPERATOR})),
    "anna": Person("anna", frozenset({Role.OWNER, Role.APPROVER, Role.AUDITOR})),
    "otto": Person("otto", frozenset({Role.OPERATOR}), tenant="acme"),
    "key": Person("olga", frozenset({Role.OPERATOR}), scopes=frozenset()),
}


def who(request: Request) -> Person:
    """Lets a header say who calls; whoever says nothing is nobody."""
    name = request.headers.get("x-test-person", "")
    if name not in PEOPLE:
        raise NotAllowed("who are you?")
    return PEOPLE[name]


@pytest.fixture(scope="module")
async def client(installation: Installation, key: str) -> Client:
    """Of a process that has the key."""
    return await installation.client(key)


@pytest.fixture(scope="module")
async def http(client: Client) -> AsyncIterator[httpx.AsyncClient]:
    """A front door with a codec server."""
    app = create_app(ApiSettings(retinue_codec_origin=UI), client=client)
    app.dependency_overrides[caller] = who
    async with app.router.lifespan_context(app):
        yield httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost")


@pytest.fixture
async def sealed(client: Client) -> Payload:
    """Something encrypted."""
    [payload] = await client.data_converter.encode([WORDS])
    return payload


def body(*payloads: Payload) -> str:
    return json_format.MessageToJson(Payloads(payloads=payloads))


async def decoded(answer: httpx.Response) -> list[object]:
    assert answer.status_code == 200, answer.text
    return await DATA_CONVERTER.decode(json_format.Parse(answer.text, Payloads()).payloads)


def cors(answer: httpx.Response) -> Mapping[str, str]:
    return {name: value for name, value in answer.headers.items() if name.startswith("access-control")}


async def test_an_operator_reads_in_the_web_ui(http: httpx.AsyncClient, sealed: Payload) -> None:
    """Encrypted ones and plain ones, in order, as Temporal's protocol asks."""
    [plain] = await DATA_CONVERTER.encode(["plain"])
    headers = OLGA | FROM_UI | {"X-Namespace": "default"}
    answer = await http.post(PATH, content=body(sealed, plain), headers=headers)
    assert await decoded(answer) == [WORDS, "plain"]
    assert cors(answer) == {"access-control-allow-origin": UI}
    assert (answer.headers["vary"], answer.headers["cache-control"]) == ("Origin", "no-store")


async def test_an_operator_reads_without_a_browser(http: httpx.AsyncClient, sealed: Payload) -> None:
    answer = await http.post(PATH, content=body(sealed), headers=OLGA)
    assert (await decoded(answer), cors(answer)) == ([WORDS], {})


async def test_the_web_ui_may_ask_first(http: httpx.AsyncClient) -> None:
    answer = await http.options(PATH, headers=FROM_UI | {"Access-Control-Request-Method": "POST"})
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (204, UI)
    assert "X-Namespace" in answer.headers["access-control-allow-headers"]
    assert "access-control-allow-credentials" not in answer.headers


REFUSED = {
    "nobody": ({}, 403),
    "an owner, approver and auditor": ({"X-Test-Person": "anna"}, 403),
    "an operator of another organisation": ({"X-Test-Person": "otto"}, 403),
    "a key that may not": ({"X-Test-Person": "key"}, 403),
    "another site": (OLGA | {"Origin": "http://evil.example"}, 403),
    "the same site on another port": (OLGA | {"Origin": "http://127.0.0.1:8234"}, 403),
    "a longer origin": (OLGA | {"Origin": f"{UI}.evil.example"}, 403),
    "no origin by name": (OLGA | {"Origin": "null"}, 403),
    "another namespace by header": (OLGA | {"X-Namespace": "other"}, 404),
}


@pytest.mark.parametrize(("headers", "status"), REFUSED.values(), ids=REFUSED)
async def test_nobody_else_reads(
    http: httpx.AsyncClient, sealed: Payload, headers: dict[str, str], status: int
) -> None:
    answer = await http.post(PATH, content=body(sealed), headers=FROM_UI | headers)
    assert (answer.status_code, cors(answer)) == (status, {})
    assert "somebody" not in answer.text


async def test_a_foreign_site_may_not_even_ask(http: httpx.AsyncClient) -> None:
    headers = {"Origin": "http://evil.example", "Access-Control-Request-Method": "POST"}
    answer = await http.options(PATH, headers=headers)
    assert (answer.status_code, cors(answer)) == (403, {})


BAD = {
    "no JSON": ("{", 400),
    "no object": ("[1]", 400),
    "no payloads": ('{"payloads": 5}', 400),
    "nested": ('{"payloads": ' + "[" * 5000 + "]" * 5000 + "}", 400),
    "too much": (" " * (MAX_BODY + 1), 413),
    "nothing": ("{}", 200),
}


@pytest.mark.parametrize(("content", "status"), BAD.values(), ids=BAD)
async def test_odd_bodies_are_answered(http: httpx.AsyncClient, content: str, status: int) -> None:
    assert (await http.post(PATH, content=content, headers=OLGA)).status_code == status


async def test_a_changed_payload_is_told_and_not_decoded(http: httpx.AsyncClient, sealed: Payload) -> None:
    sealed.data = sealed.data[:-1]
    answer = await http.post(PATH, content=body(sealed), headers=OLGA)
    assert (answer.status_code, "changed or cut" in answer.json()["detail"]) == (503, True)


async def test_a_browsers_session_never_counts(client: Client, sealed: Payload) -> None:
    """Neither beside a page of the Web UI nor without one: whoever decodes brings a key or a token."""
    app = create_app(ApiSettings(retinue_codec_origin=UI, retinue_user_header="X-User"), client=client)
    olga = {"X-User": "olga", "Origin": "http://localhost"}
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://localhost") as browser,
        httpx.AsyncClient(transport=transport, base_url="http://localhost") as program,
    ):
        made = await program.post("/v1/keys", json={"name": "decoder"}, headers=olga)
        key = {"Authorization": f"Bearer {made.json()['key']}"}
        assert (await browser.post("/v1/session", headers=key)).status_code == 201
        assert (await browser.get("/v1/me")).status_code == 200
        json_body = {"Content-Type": "application/json"}
        for origin in ({}, FROM_UI):
            answer = await browser.post(PATH, content=body(sealed), headers=json_body | origin)
            assert (answer.status_code, "text" in answer.text.lower() and "payloads" in answer.text) == (403, False)
        assert await decoded(await program.post(PATH, content=body(sealed), headers=json_body | key)) == [WORDS]


async def test_another_namespace_is_not_served(http: httpx.AsyncClient, sealed: Payload) -> None:
    assert (await http.post("/codec/other/decode", content=body(sealed), headers=OLGA)).status_code == 404


async def test_it_is_off_unless_an_origin_is_named(client: Client, sealed: Payload) -> None:
    app = create_app(ApiSettings(), client=client)
    async with app.router.lifespan_context(app):
        front = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost")
        answer = await front.post(PATH, content=body(sealed), headers={"Content-Type": "application/json"})
    assert answer.status_code == 404
