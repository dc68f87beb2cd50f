"""What the tests of the stand-in model share: the real manifests, as a planning request carries them."""

import json
from collections.abc import Sequence
from typing import Any

import pytest

from activities.calendar.contract import Calendar
from activities.contacts.contract import Contacts
from activities.email.contract import Email
from activities.memory.contract import Memory
from activities.reasoning.contract import Reasoning
from activities.reasoning.signatures import section
from activities.tasks.contract import Tasks
from activities.weather.contract import Weather
from activities.web.contract import Web
from retinue.capability import Manifest

NOW = "2026-11-22T13:00:00+01:00"
ZONE = "Europe/Berlin"


@pytest.fixture(scope="session")
def manifests() -> list[Manifest]:
    """What the first capabilities announce."""
    return [capability.manifest() for capability in (Calendar, Email, Contacts, Memory, Tasks, Weather, Web, Reasoning)]


@pytest.fixture(scope="session")
def agents(manifests: list[Manifest]) -> list[dict[str, Any]]:
    """The capabilities as the planner's request lists them, and the schemas of their tools' arguments."""
    return [
        {
            "name": manifest.name,
            "section": section(manifest, tools := [spec for spec in manifest.tools if spec.plannable]),
            "tools": [{"name": spec.name, "args": spec.args_schema} for spec in tools],
        }
        for manifest in manifests
    ]


def planning_messages(
    agents: Sequence[dict[str, Any]], *said: str, now: str = NOW, timezone: str = ZONE
) -> list[dict[str, str]]:
    """The messages of a planning request; what is said alternates between the person and the assistant."""
    context = json.dumps({"now": now, "timezone": timezone})
    tools = "\n\n".join(agent["section"] for agent in agents)
    return [
        {"role": "system", "content": f"Plan.\n\nCapabilities and tools:\n{tools}"},
        {"role": "system", "content": f"Context (JSON):\n{context}"},
        *({"role": ("user", "assistant")[at % 2], "content": text} for at, text in enumerate(said)),
    ]
