"""The examples of docs/client.md on the running product, as they stand there."""

from __future__ import annotations

import asyncio
import contextlib
import io
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from api.app import create_app
from api.settings import ApiSettings
from cli.exits import ExitCode
from retinue.settings import ROOT
from retinue.testing import plan_answer, serving
from tests.conftest import Stack
from tests.test_main_job import forecast, mail

PAGE = (ROOT / "docs/client.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
PLANS = [forecast(), mail("s1"), forecast(), forecast()]
PRINTED = ["completed ", "email.send", "end", "for the docs"]


@pytest.fixture(scope="module")
async def url(stack: Stack) -> AsyncIterator[str]:
    door = create_app(ApiSettings(), client=stack.temporal)
    async with door.router.lifespan_context(door), serving(door) as address:
        yield address


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
async def test_an_example_of_the_page_runs(
    stack: Stack, url: str, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    example = EXAMPLES[number]
    [message] = re.findall(r'\.start\(\s*"([^"]+)"', example)
    stack.model.script(message, plan_answer([PLANS[number]]))
    monkeypatch.setenv("RETINUE_URL", url)
    monkeypatch.delenv("RETINUE_API_KEY", raising=False)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        await asyncio.to_thread(exec, compile(example, "docs/client.md", "exec"), {"__name__": "__main__"})
    assert PRINTED[number] in printed.getvalue()


def test_the_page_lists_every_exit_code() -> None:
    listed = {int(code) for code in re.findall(r"^\| (\d+) \|", PAGE, re.MULTILINE)}
    assert listed == {int(code) for code in ExitCode}


def test_the_page_lists_every_method() -> None:
    text = (Path(ROOT) / "retinue/client/sync_client.py").read_text(encoding="utf-8")
    internal = {"url", "as_async", "send", "follow"}
    methods = set(re.findall(r"^    def ([a-z]\w*)\(", text, re.MULTILINE)) - internal
    assert {name for name in methods if f"`{name}`" not in PAGE} == set()
