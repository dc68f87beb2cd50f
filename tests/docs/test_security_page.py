"""docs/security.md names everything that changes something, the permission it needs, and what shows that it is held."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from api.app import create_app
from api.protocols.mcp.assistant_tools import TOOLS
from api.protocols.temporal_codec import router as codec
from deploy.doc_tables import permission
from tests.api.auth.test_routes_declare import of_the_console, routes
from tests.api.conftest import refused
from tests.api.rights.conftest import Door, door  # noqa: F401  # the front door of the tests that the table names

ROOT = Path(__file__).parents[2]
ROW = re.compile(
    r"^\| `((?:[A-Z]+ /|MCP )[^`]*)` \| `([a-z]+)` \| (yes|no|bounded) \| (.*?) \| (?:`([^`]*)`)? ?\|$", re.MULTILINE
)
TABLE = ROW.findall((ROOT / "docs/security.md").read_text(encoding="utf-8"))
_READS = {"GET", "HEAD", "OPTIONS"}


def changing() -> set[tuple[str, str]]:
    """Every route that changes something, and every tool of `/mcp`, with its permission."""
    found = [*routes(create_app()), *routes(codec)]
    served = {
        (f"{method} {route.path.rstrip('/')}", permission(route))
        for route in found
        if not of_the_console(route)
        for method in (route.methods or set()) - _READS
    }
    return served | {(f"MCP {tool.name}", str(tool.permission)) for tool in TOOLS.values()}


def test_everything_that_changes_something_stands_there_with_its_permission() -> None:
    assert {(what, needed) for what, needed, *_ in TABLE} == changing()
    assert len(TABLE) == len(changing())


def test_whatever_widens_what_happens_unasked_needs_the_right_to_decide() -> None:
    assert {needed for _, needed, widens, *_ in TABLE if widens == "yes"} == {"decide"}
    assert [what for what, needed, widens, *_ in TABLE if needed == "decide" and widens != "yes"] == []


@pytest.mark.parametrize("named", sorted({row[4] for row in TABLE if row[4]}))
def test_what_shows_it_is_there(named: str) -> None:
    file, _, name = named.partition("::")
    assert f"async def {name}(" in (ROOT / file).read_text(encoding="utf-8")


@pytest.mark.parametrize("what", [row[0] for row in TABLE if row[2] == "yes" and " /" in row[0]])
async def test_a_key_that_only_asks_is_refused_there(door: Door, what: str) -> None:  # noqa: F811  # the fixture
    method, _, path = what.partition(" ")
    answer = await door.asks.http.request(method, re.sub(r"\{\w+\}", "x", path), json={})
    refused(answer, 403, "this needs the permission 'decide'")
