"""Pages of the web: an address that was typed is read at once, any other only after a person saw where it came from."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest

from activities.email.worker import import_file
from retinue.testing import plan_answer
from tests.conftest import Stack, Website, pending, steps

Fresh = Callable[[str], str]


def fetch(url: Any, step_id: str = "s1") -> dict[str, Any]:
    return {"id": step_id, "tool": "web.fetch", "args": {"url": url}}


def at(step: str, path: str) -> dict[str, str]:
    return {"$from": step, "path": path}


@pytest.fixture
def path(website: Website) -> str:
    """A path that nobody has asked for yet."""
    return f"page{uuid.uuid4().hex[:8]}"


async def test_a_typed_address_is_read_at_once(stack: Stack, website: Website, fresh: Fresh, path: str) -> None:
    url = f"{website.address}/{path}"
    message = fresh(f"What does {url} say?")
    stack.model.script(message, plan_answer([fetch(url)]))
    done = await stack.ended((await stack.start(message))["id"])

    assert (done["status"], done["approvals"]) == ("completed", [])
    assert steps(done)["s1"]["result"]["text"] == f"This is the page {path}."
    assert website.asked.count(path) == 1


async def test_an_address_out_of_a_mail_is_asked_with_its_origin(
    stack: Stack, website: Website, fresh: Fresh, path: str, tmp_path: Any
) -> None:
    head = f"From: Bob <bob@example.com>\nTo: me@retinue.example\nSubject: {path}\nMessage-ID: <{path}@example.com>\n"
    (tmp_path / "mail.eml").write_text(f"{head}\n{website.address}/{path}\n")
    await import_file(tmp_path / "mail.eml", person="local")
    message = fresh("Read the page from the newest mail")
    search = {"id": "s1", "tool": "email.search", "args": {"query": path, "limit": 1}}
    stack.model.script(message, plan_answer([search, fetch(at("s1", "/messages/0/snippet"), "s2")]))
    view = await stack.asked((await stack.start(message))["id"])

    [approval] = pending(view)
    [origin] = approval["origins"]
    assert (origin["path"], origin["source"], origin["tool"]) == ("/url", "strangers", "email.search")
    assert approval["args"] == {"url": f"{website.address}/{path}"}
    assert "it reaches other people or systems" in approval["reasons"]
    assert path not in website.asked
    assert (await stack.decide(view)).status_code == 200
    done = await stack.ended(view["id"])
    assert steps(done)["s2"]["result"]["text"] == f"This is the page {path}."
    assert website.asked.count(path) == 1


async def test_a_rejected_address_is_never_asked_for(stack: Stack, website: Website, fresh: Fresh, path: str) -> None:
    """The model made it up: an address can carry words out of the house."""
    message = fresh("Read the news")
    stack.model.script(message, plan_answer([fetch(f"{website.address}/{path}?q=the-code-is-4711")]), plan_answer())
    view = await stack.asked((await stack.start(message))["id"])

    assert pending(view)[0]["origins"][0]["source"] == "model"
    await stack.decide(view, "reject")
    assert steps(await stack.ended(view["id"]))["s1"]["status"] == "rejected"
    assert path not in website.asked


async def test_what_a_page_leads_to_is_asked_as_strangers(
    stack: Stack, website: Website, fresh: Fresh, path: str
) -> None:
    url = f"{website.address}/{path}"
    message = fresh(f"Read {url} and what it leads to")
    stack.model.script(message, plan_answer([fetch(url), fetch(at("s1", "/final_url"), "s2")]))
    view = await stack.asked((await stack.start(message))["id"])

    assert steps(view)["s1"]["status"] == "completed"
    assert [(o["source"], o["tool"]) for o in pending(view)[0]["origins"]] == [("strangers", "web.fetch")]
    await stack.decide(view, "reject")
    await stack.ended(view["id"])


async def test_the_words_of_a_page_never_enter_planning(
    stack: Stack, website: Website, fresh: Fresh, path: str
) -> None:
    url = f"{website.address}/{path}"
    message = fresh(f"Read {url} and think on")
    stack.model.script(message, plan_answer([fetch(url)], final=False), plan_answer(reply="Done."))
    done = await stack.ended((await stack.start(message))["id"])

    assert done["status"] == "completed"
    planned = [str(request) for request in stack.model.requests_for(message) if "response_format" in request]
    assert len(planned) == 2
    assert "This is the page" not in planned[1]


@pytest.mark.parametrize("url", ["http://127.0.0.1/admin", "http://2130706433/", "http://[::1]/", "http://localhost/"])
async def test_this_machine_is_closed_even_if_its_address_is_typed(stack: Stack, fresh: Fresh, url: str) -> None:
    message = fresh(f"Read {url} please")
    stack.model.script(message, plan_answer([fetch(url)]), plan_answer())
    done = await stack.ended((await stack.start(message))["id"])

    assert steps(done)["s1"]["status"] == "failed"
    assert steps(done)["s1"]["error"]["type"] in ("NotAllowed", "InvalidArguments")
    assert steps(done)["s1"]["attempts"] <= 1
