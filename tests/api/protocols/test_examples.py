"""The examples of the pages about protocols run as they are."""

from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path

import pytest

from retinue.testing import plan_answer
from tests.api.protocols.conftest import NewKey
from tests.conftest import Stack

DOCS = Path(__file__).parents[3] / "docs"
PAGES = [DOCS / f"{name}.md" for name in ("protocols", "protocol-openai", "protocol-a2a")]
EXAMPLES = [
    code for page in PAGES for code in re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
]


@pytest.mark.parametrize(
    ("example", "message"),
    list(
        zip(
            EXAMPLES,
            [
                "Weather in Lisbon tomorrow",
                "What is the weather in Lisbon tomorrow?",
                "Is it dry in Porto tomorrow?",
                "Is Friday in Lisbon dry?",
            ],
            strict=True,
        )
    ),
    ids=["mcp", "openai", "responses", "a2a"],
)
async def test_an_example_runs(stack: Stack, door: str, new_key: NewKey, example: str, message: str) -> None:
    stack.model.script(message, plan_answer(reply="Mild and dry."))
    here = example.replace("http://127.0.0.1:8000", door).replace("rtn_...", await new_key("read", "ask"))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-c", here), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    said, problem = await asyncio.wait_for(process.communicate(), 40)
    assert (process.returncode, said.decode().strip()[-13:]) == (0, "Mild and dry."), problem.decode()[-2000:]
