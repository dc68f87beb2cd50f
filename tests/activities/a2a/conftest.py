"""A real A2A agent as a capability: calls in an activity's surroundings, without a Temporal server."""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from a2a.types.a2a_pb2 import AgentCard

from activities.a2a import tools
from retinue.testing import serving
from tests.activities.a2a.agent_server import Travel, card, lives_at, served
from tests.activities.mcp.web_server import TOKEN, Door

Configure = Callable[..., str]


@dataclass
class Elsewhere:
    """The agent of these tests, behind a door that can misbehave."""

    url: str
    door: Door
    travel: Travel
    card: AgentCard
    configure: Configure

    def configured(self, **fields: Any) -> str:
        """Write the configuration; gives the capability's name."""
        headers = {"Authorization": "Bearer ${TRAVEL_TOKEN}"}
        return self.configure(**{"url": self.url, "headers": headers, "timeout_seconds": 5, **fields})

    def forget(self) -> None:
        """It starts anew, without memory."""
        self.door.app = served(self.travel, self.card)


@pytest.fixture
def configure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Configure:
    """Write a configuration with one agent of a fresh name; gives the name."""
    file = tmp_path / "a2a.json"
    monkeypatch.setenv("RETINUE_A2A_CONFIG", str(file))
    monkeypatch.setenv("RETINUE_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("TRAVEL_TOKEN", TOKEN)
    fresh = f"travel{uuid.uuid4().hex[:6]}"

    def write(name: str = fresh, **fields: Any) -> str:
        file.write_text(json.dumps({"agents": {name: fields}}))
        return name

    return write


@pytest.fixture
async def elsewhere(configure: Configure, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Elsewhere]:
    """It speaks JSON-RPC by the newest protocol."""
    monkeypatch.setattr(tools, "_LOOK_AGAIN", 0.05)
    travel, shown = Travel(secret=TOKEN), card()
    door = Door(served(travel, shown), to=b"SendMessage")
    async with serving(door) as url:
        lives_at(shown, url)
        yield Elsewhere(url, door, travel, shown, configure)
        for handler in travel.handlers:
            await handler.aclose()
