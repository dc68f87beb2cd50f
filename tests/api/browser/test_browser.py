"""What pages in a browser can do to the front door, and what its answers let a browser do."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.app import create_app
from api.http.openapi_page import page
from api.settings import ApiSettings
from retinue.testing import plan_answer
from tests.api.conftest import browsing, refused
from tests.conftest import Stack, View

ASSISTANTS = "/v1/assistants"
EVIL = "https://evil.example"
APP = "https://app.example.com"
MAIL = {"id": "s1", "tool": "email.send", "args": {"to": ["team@example.com"], "subject": "x", "body": "y"}}
Door = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]


@pytest.fixture
def door(stack: Stack, tmp_path: Path) -> Door:
    """Opens a front door with settings of its own, with the stack behind it."""

    @asynccontextmanager
    async def opened(**settings: Any) -> AsyncIterator[httpx.AsyncClient]:
        chosen = ApiSettings(api_database_url=f"sqlite+aiosqlite:///{tmp_path}/api.db", **settings)
        async with browsing(create_app(chosen, client=stack.temporal)) as http:
            yield http

    return opened


@pytest.fixture(scope="module")
async def waiting(stack: Stack) -> AsyncIterator[View]:
    """A run that waits for consent to a mail, and that nothing here may change."""
    message = f"Mail team@example.com #{uuid.uuid4().hex}"
    stack.model.script(message, plan_answer([MAIL]))
    view = await stack.asked((await stack.start(message))["id"])
    yield view
    await stack.http.post(f"{ASSISTANTS}/{view['id']}/cancel")


EVERYWHERE = [
    ("GET", ASSISTANTS, 200),
    ("GET", "/v1/assistants/a-unknown", 404),
    ("POST", ASSISTANTS, 415),
    ("PUT", ASSISTANTS, 405),
    ("GET", "/healthz", 200),
    ("GET", "/metrics", 200),
    ("GET", "/openapi.json", 200),
    ("GET", "/docs", 200),
    ("GET", "/docs.css", 200),
    ("GET", "/nothing", 404),
]


@pytest.mark.parametrize(("method", "path", "status"), EVERYWHERE)
async def test_every_answer_is_safe_in_a_browser(stack: Stack, method: str, path: str, status: int) -> None:
    response = await stack.http.request(method, path)
    headers = response.headers
    assert response.status_code == status
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert headers["Cache-Control"] == "no-store"
    policy = headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; ")
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert "Access-Control-Allow-Origin" not in headers


@pytest.mark.parametrize("headers", [{"Host": "evil.example"}, {"X-Long": "y" * 40_000}], ids=["403", "431"])
async def test_what_is_refused_at_the_threshold_is_safe_too(stack: Stack, headers: dict[str, str]) -> None:
    response = await stack.http.get(ASSISTANTS, headers=headers)
    assert response.status_code in (403, 431)
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert "frame-ancestors 'none'" in response.headers["Content-Security-Policy"]


class Sources(HTMLParser):
    """What a page loads, and what its policy would not let it do."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [name for name, _ in attrs]
        self.loads += [value or "" for name, value in attrs if name == "src" or (tag == "link" and name == "href")]


async def test_the_reference_works_under_its_own_policy(stack: Stack) -> None:
    """Everything it loads is ours, nothing in it is a script or a style of its own."""
    text = (await stack.http.get("/docs")).text
    found = Sources(text)
    assert found.loads == ["/docs.css"]
    assert (await stack.http.get("/docs.css")).headers["content-type"].startswith("text/css")
    assert not {"script", "style", "img", "iframe", "object", "base", "form"} & set(found.tags)
    assert [name for name in found.attributes if name.startswith("on") or name == "style"] == []
    paths = (await stack.http.get("/openapi.json")).json()["paths"]
    assert [path for path in paths if path not in text] == []


def test_nothing_in_a_description_becomes_markup() -> None:
    """Descriptions of capabilities may come from strangers one day."""
    evil = "<img src=x onerror=alert(1)></pre><script>"
    operation = {
        "summary": evil,
        "description": evil,
        "parameters": [{"name": evil, "in": "query", "description": evil}],
        "requestBody": {"content": {evil: {"schema": {"description": evil}}}},
        "responses": {"200": {"description": evil, "content": {evil: {"schema": {"title": evil}}}}},
    }
    document = {"info": {"title": evil, "description": evil}, "paths": {f"/{evil}": {"get": operation}}}
    assert not {"img", "script"} & set(Sources(page(document)).tags)


COOKIE = {"Cookie": "retinue_session=stolen"}
FROM_ELSEWHERE = {
    "another origin": {"Origin": EVIL},
    "another origin with the cookie": {"Origin": EVIL, **COOKIE},
    "no origin told": {"Origin": "null", **COOKIE},
    "our name as a part": {"Origin": "http://localhost.evil.example", **COOKIE},
    "another scheme": {"Origin": "https://localhost"},
    "another scheme with the cookie": {"Origin": "https://localhost", **COOKIE},
    "no scheme of the web": {"Origin": "ftp://localhost"},
    "another port": {"Origin": "http://localhost:8080", **COOKIE},
    "cross-site": {"Sec-Fetch-Site": "cross-site"},
    "cross-site with the cookie": {"Sec-Fetch-Site": "cross-site", **COOKIE},
    "our origin, but cross-site": {"Origin": "http://localhost", "Sec-Fetch-Site": "cross-site", **COOKIE},
    "a neighbour of the same site": {"Sec-Fetch-Site": "same-site", **COOKIE},
    "the cookie and nothing else": COOKIE,
}


@pytest.mark.parametrize("headers", FROM_ELSEWHERE.values(), ids=FROM_ELSEWHERE)
async def test_another_sites_page_decides_nothing(stack: Stack, waiting: View, headers: dict[str, str]) -> None:
    approval = waiting["approvals"][0]
    url = f"{ASSISTANTS}/{waiting['id']}/approvals/{approval['id']}"
    body = {"decision": "approve", "args_hash": approval["args_hash"]}
    for path in (url, f"{ASSISTANTS}/{waiting['id']}/cancel"):
        refused(await stack.http.post(path, json=body, headers=headers), 403, "another site's page")
    assert (await stack.view(waiting["id"]))["approvals"] == waiting["approvals"]


FORMS = [
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
    "text/plain",
    "text/plain; x=/json",
    "",
]


@pytest.mark.parametrize("kind", FORMS)
@pytest.mark.parametrize("path", ["/approvals/ap-s1", "/cancel", "/messages", "/undo"])
async def test_what_a_form_can_send_is_never_read(stack: Stack, waiting: View, kind: str, path: str) -> None:
    """Even where the body is optional, and though the page seems to be ours."""
    approval = waiting["approvals"][0]
    content = f'{{"decision": "approve", "args_hash": "{approval["args_hash"]}", "x": "="}}'.encode()
    headers = {"Content-Type": kind, "Origin": "http://localhost", "Sec-Fetch-Site": "same-origin", **COOKIE}
    response = await stack.http.post(f"{ASSISTANTS}/{waiting['id']}{path}", content=content, headers=headers)
    refused(response, 415, "application/json")
    assert (await stack.view(waiting["id"]))["approvals"] == waiting["approvals"]


async def test_nothing_is_changed_by_get(stack: Stack, waiting: View) -> None:
    approval = waiting["approvals"][0]
    query = {"decision": "approve", "args_hash": approval["args_hash"]}
    for path in (f"approvals/{approval['id']}", "cancel", "undo", "fork", "steps/s1"):
        response = await stack.http.get(f"{ASSISTANTS}/{waiting['id']}/{path}", params=query)
        assert response.status_code == 405
    assert (await stack.view(waiting["id"]))["approvals"] == waiting["approvals"]


async def test_an_allowed_site_may_call_and_read_with_credentials_of_its_own(door: Door) -> None:
    async with door(retinue_cors_origins=f"{APP},http://localhost:5173") as http:
        asks = {"Origin": APP, "Access-Control-Request-Method": "POST"}
        allowed = await http.options(ASSISTANTS, headers=asks)
        assert (allowed.status_code, allowed.headers["Access-Control-Allow-Origin"]) == (204, APP)
        assert "idempotency-key" in allowed.headers["Access-Control-Allow-Headers"]
        assert "Access-Control-Allow-Credentials" not in allowed.headers
        read = await http.get(ASSISTANTS, headers={"Origin": APP, "Sec-Fetch-Site": "cross-site"})
        assert (read.status_code, read.headers["Access-Control-Allow-Origin"]) == (200, APP)
        assert "Origin" in read.headers["Vary"]
        assert "Idempotency-Replayed" in read.headers["Access-Control-Expose-Headers"]
        changed = await http.post(f"{ASSISTANTS}/a-{uuid.uuid4().hex}/cancel", headers={"Origin": APP})
        refused(changed, 404)
        assert changed.headers["Access-Control-Allow-Origin"] == APP


@pytest.mark.parametrize(
    "origin", [EVIL, "null", "https://app.example.com.evil.example", "http://app.example.com", f"{APP}:8443", f"{APP}/"]
)
async def test_any_other_site_reads_and_changes_nothing(door: Door, origin: str) -> None:
    async with door(retinue_cors_origins=APP) as http:
        asks = {"Origin": origin, "Access-Control-Request-Method": "POST"}
        for response in (
            await http.options(ASSISTANTS, headers=asks),
            await http.get(ASSISTANTS, headers={"Origin": origin}),
            await http.post(f"{ASSISTANTS}/a-1/cancel", headers={"Origin": origin}),
        ):
            assert [name for name in response.headers if name.startswith("access-control-")] == []
        assert response.status_code == 403


async def test_an_allowed_site_cannot_use_somebodys_cookie(door: Door) -> None:
    async with door(retinue_cors_origins=APP) as http:
        answer = await http.post(f"{ASSISTANTS}/a-1/cancel", headers={"Origin": APP, **COOKIE})
        refused(answer, 403, "another site's page")


@pytest.mark.parametrize("origin", ["*", "app.example.com", f"{APP}/", "https://*.example.com", "null", "ftp://x"])
def test_what_is_no_origin_keeps_the_door_shut(origin: str) -> None:
    with pytest.raises(ValueError, match="is not an origin"):
        create_app(ApiSettings(retinue_cors_origins=origin))
