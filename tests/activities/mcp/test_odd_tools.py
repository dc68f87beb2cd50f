"""Tools that are not as the protocol wants them: each costs itself at most, and is named."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from temporalio.exceptions import ApplicationError

from tests.activities.mcp.conftest import Configure, Running, running

SERVER = Path(__file__).parent / "odd_server.py"
OBJECT = {"type": "object", "properties": {"q": {"type": "string"}}}
PLAIN = {"name": "plain", "inputSchema": OBJECT}
Odd = Callable[..., str]


@pytest.fixture
def odd(configure: Configure, tmp_path: Path) -> Odd:
    """Configures a server that lists these tools, and whose calls answer this."""

    def write(*tools: Any, answer: Any = None, **fields: Any) -> str:
        file = tmp_path / "said.json"
        file.write_text(json.dumps({"tools": tools, "answer": answer}))
        return configure(command=sys.executable, args=["-P", str(SERVER), str(file)], **fields)

    return write


def _names(server: Running) -> list[str]:
    return [spec.name.partition(".")[2] for spec in server.manifest.tools]


@pytest.mark.parametrize(
    "entry",
    [
        {"name": "odd", "inputSchema": {}},
        {"name": "odd", "inputSchema": True},
        {"name": "odd"},
        {"name": "odd", "inputSchema": None},
        {"name": "odd", "inputSchema": {"properties": {"q": {"type": "string"}}}},
        {"name": "odd", "inputSchema": OBJECT, "annotations": {"readOnlyHint": "surely"}},
        {"name": "odd", "inputSchema": OBJECT, "title": 7, "description": ["x"], "icons": "none"},
        {"name": "odd", "inputSchema": OBJECT, "outputSchema": {}},
        {"name": "odd", "inputSchema": OBJECT, "outputSchema": {"type": "array"}},
        {"name": "odd", "inputSchema": OBJECT, "outputSchema": "text"},
        {"name": "odd", "inputSchema": {"type": "object", "properties": {"page[size]": {"type": "int"}}}},
        {"name": "odd", "inputSchema": {"type": "object", "properties": {"range": {"items": [{"type": "string"}]}}}},
    ],
)
async def test_a_tool_that_can_be_called_is_announced_however_it_is_described(odd: Odd, entry: dict[str, Any]) -> None:
    async with running(odd(entry, PLAIN)) as server:
        assert (_names(server), server.manifest.left_out) == (["odd", "plain"], [])
        assert await server.call("odd") is not None


@pytest.mark.parametrize(
    ("entry", "named"),
    [
        ({"name": "odd", "inputSchema": {"type": "array"}}, "odd: its arguments are not described as an object"),
        ({"name": "odd", "inputSchema": "text"}, "odd: its arguments are not described as an object"),
        ({"inputSchema": OBJECT}, "a tool without a name: its entry is no tool"),
        ("odd", "a tool without a name: its entry is no tool"),
        ({"name": "x" * 200, "inputSchema": OBJECT}, f"{'x' * 128}: its name is too long"),
        (
            {"name": "odd", "inputSchema": {"type": "object", "properties": {"a": {"$ref": "http://x.example/a"}}}},
            "{server}.odd: the schema of its arguments cannot be used: it refers to something outside",
        ),
    ],
)
async def test_one_tool_that_cannot_be_used_is_named_and_takes_no_other_away(odd: Odd, entry: Any, named: str) -> None:
    async with running(odd(entry, PLAIN)) as server:
        assert _names(server) == ["plain"]
        assert server.manifest.left_out == [named.replace("{server}", server.name)]


async def test_tools_beyond_what_fits_are_named(odd: Odd) -> None:
    many = [{"name": f"tool_{number:03}", "inputSchema": OBJECT} for number in range(103)]

    async with running(odd(*many)) as server:
        assert len(server.manifest.tools) == 100
        assert len(server.manifest.left_out) == 3
        assert "more tools than fit" in server.manifest.left_out[0]


async def test_a_tool_that_waits_to_be_accepted_is_named(odd: Odd) -> None:
    name = odd(PLAIN, {"name": "other", "inputSchema": OBJECT})
    async with running(name):
        pass
    odd(PLAIN, {"name": "other", "inputSchema": OBJECT, "description": "Something else."})

    async with running(name) as server:
        assert _names(server) == ["plain"]
        assert server.manifest.left_out == [
            f"{name}.other: it says something else than before, and waits to be accepted"
        ]


RETURNS = {"type": "object", "properties": {"n": {"type": "integer"}, "who": {"type": "string"}}, "required": ["n"]}


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ({"n": "seven"}, "/n breaks `type integer`"),
        ({}, "/ breaks `required`"),
        ({"n": 7, "who": 8}, "/who breaks `type string`"),
        (None, "it has no structured content"),
    ],
)
@pytest.mark.parametrize(("rules", "kind"), [({"read_only": True}, "ServiceRefused"), ({}, "OutcomeUnknown")])
async def test_an_answer_that_breaks_what_was_announced_fails_the_step_in_words(
    odd: Odd, answer: Any, why: str, rules: dict[str, Any], kind: str
) -> None:
    """What may have changed something is not called failed, since it would be done again: a person is asked."""
    entry = {"name": "odd", "inputSchema": OBJECT, "outputSchema": RETURNS}

    async with running(odd(entry, answer=answer, tools={"odd": rules})) as server:
        with pytest.raises(ApplicationError) as failed:
            await server.call("odd")

    assert failed.value.type == kind
    assert why in str(failed.value)


async def test_an_answer_as_announced_is_the_result(odd: Odd) -> None:
    entry = {
        "name": "odd",
        "inputSchema": OBJECT,
        "outputSchema": {"$schema": "http://json-schema.org/draft-07/schema#", **RETURNS},
    }

    async with running(odd(entry, answer={"n": 7})) as server:
        assert await server.call("odd") == {"n": 7}
