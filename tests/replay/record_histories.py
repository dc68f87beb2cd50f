"""Records the histories that `test_replay.py` replays. Run by name when a shape is added:

    .venv/bin/python -P -m pytest tests/replay/record_histories.py

Never record again what is there: old histories are the runs that people have waiting.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from retinue.registry import REGISTRY_ID
from retinue.testing import Answer, plan_answer
from tests.conftest import Stack
from tests.test_main_job import COMPOSED_MAIL, forecast, mail

HISTORIES = Path(__file__).parent / "histories"
Fresh = Callable[[str], str]
BROKEN = {"id": "s1", "tool": "email.archive", "args": {"message_id": "<none@example.com>"}}
SHAPES = {
    "approved": [plan_answer(COMPOSED_MAIL)],
    "rejected": [plan_answer([mail("s1"), forecast("s2")])],
    "edited": [plan_answer([mail("s1")])],
    "cancelled": [plan_answer([mail("s1"), forecast("s2")])],
    "waiting": [plan_answer(COMPOSED_MAIL)],
    "automatic": [plan_answer([forecast("s1"), forecast("s2", "Rome")])],
    "failed": [plan_answer([BROKEN, forecast("s2")])],
    "repaired": [plan_answer([{"id": "s1", "tool": "no.tool"}]), plan_answer([forecast()])],
    "replied": [plan_answer(reply="Hello!")],
    "question": [plan_answer(question="Where?"), plan_answer([forecast()])],
    "unplanned": [Answer(status=401)],
}
DECISIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "approved": ("approve", {}),
    "rejected": ("reject", {"comment": "no"}),
    "edited": ("edit", {"args": {"to": ["b@example.com"], "subject": "x", "body": "y"}}),
}


async def save(stack: Stack, run_id: str, name: str) -> None:
    history = await stack.temporal.get_workflow_handle(run_id).fetch_history()
    (HISTORIES / f"{name}.json").write_text(history.to_json())


@pytest.mark.parametrize("shape", SHAPES)
async def test_record(stack: Stack, fresh: Fresh, shape: str) -> None:
    message = fresh(f"For team@example.com, {shape}")
    stack.model.script(message, *SHAPES[shape])
    view = await stack.start(message, wait_seconds=20)
    for decision, body in [DECISIONS[shape]] if shape in DECISIONS else []:
        await stack.decide(view, decision, **body)
    for _ in range(shape == "cancelled"):
        await stack.http.post(f"/v1/assistants/{view['id']}/cancel")
    for _ in range(shape == "question"):
        await stack.http.post(f"/v1/assistants/{view['id']}/messages", json={"message": "Lisbon"})
    for _ in range(shape != "waiting"):
        await stack.ended(view["id"])
    await save(stack, view["id"], shape)


async def test_record_the_registry(stack: Stack) -> None:
    await save(stack, REGISTRY_ID, "registry")
