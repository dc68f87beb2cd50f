"""Doors cost nothing until they are used, and only those that are configured are open."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from temporalio.client import Client

from api.app import create_app
from api.settings import ApiSettings
from retinue.temporal.connection import DATA_CONVERTER
from tests.api.conftest import browsing, refused
from tests.conftest import Stack

BODY = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
LARGE = "{'mcp', 'mcp_types', 'openai', 'httpx2', 'a2a', 'ag_ui'}"


def test_no_protocols_library_is_imported_before_its_first_request() -> None:
    code = f"import sys, api.app; api.app.create_app(); print(sorted({LARGE} & set(sys.modules)))"
    root = Path(__file__).parents[3]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    told = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    assert told.stdout.strip() == "[]"


@pytest.mark.parametrize(("doors", "mcp", "openai"), [("openai", 404, 200), ("mcp", 406, 404), ("-", 404, 404)])
async def test_a_door_that_is_not_configured_is_not_there(
    stack: Stack, tmp_path: Path, doors: str, mcp: int, openai: int
) -> None:
    """406 is the SDK's own word to a request without an Accept header: somebody answers."""
    settings = ApiSettings(api_database_url=f"sqlite+aiosqlite:///{tmp_path}/api.db", retinue_doors=doors)
    async with browsing(create_app(settings, client=stack.temporal)) as http:
        assert (await http.post("/mcp", json=BODY, headers={"Accept": "text/plain"})).status_code == mcp
        assert (await http.get("/v1/models")).status_code == openai


def test_a_door_that_nobody_knows_is_refused_at_start() -> None:
    with pytest.raises(ValueError, match="there is no protocol 'telex'"):
        create_app(ApiSettings(retinue_doors="mcp,telex"))


async def test_without_temporal_a_door_says_so(tmp_path: Path) -> None:
    """Nothing is acknowledged that is not durable; the status is that of every route."""
    away = await Client.connect("127.0.0.1:1", lazy=True, data_converter=DATA_CONVERTER)
    settings = ApiSettings(api_database_url=f"sqlite+aiosqlite:///{tmp_path}/api.db")
    async with browsing(create_app(settings, client=away)) as http:
        refused(await http.post("/mcp", json=BODY), 503, "Temporal")
        said = {"model": "retinue", "messages": [{"role": "user", "content": "hello"}]}
        answer = await http.post("/v1/chat/completions", json=said)
    assert (answer.status_code, answer.json()["error"]["type"]) == (503, "api_error")
    assert answer.headers["retry-after"]
