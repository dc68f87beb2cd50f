"""A reader as docs/events.md describes one: it folds events into a view, and resumes by the id of the last one."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import httpx

Json = dict[str, Any]
EMPTY: Json = {"question": None, "question_id": None, "budget": None, "reply": None, "error": None}


@dataclass
class Told:
    """One event off the wire."""

    kind: str = ""
    data: Json = field(default_factory=dict)
    id: str = ""


class Folded:
    """The view as far as it was told."""

    def __init__(self) -> None:
        self.fields: Json = dict(EMPTY)
        self.messages: dict[int, Json] = {}
        self.steps: list[Json] = []
        self.texts: dict[str, str] = {}
        self.card: Json | None = None
        self.approvals: dict[str, Json] = {}
        self.told: list[Told] = []
        self.last_id: str | None = None

    def fold(self, event: Told) -> None:
        self.told.append(event)
        self.last_id = event.id or self.last_id
        getattr(self, f"_{event.kind}", self._fields)(event.data)

    def _fields(self, data: Json) -> None:
        self.fields |= data

    def _text(self, data: Json) -> None:
        known = self.texts.get(data["about"], "")[: data["offset"]]
        assert len(known) == data["offset"], "a piece is missing"
        self.texts[data["about"]] = known + data["text"]

    def _message(self, data: Json) -> None:
        self.messages[data["index"]] = {name: value for name, value in data.items() if name != "index"}

    def _plan(self, data: Json) -> None:
        self.steps = [*self.steps[: data["first"]], *data["steps"]]
        self.card = data["card"]

    def _step(self, data: Json) -> None:
        [place] = [place for place, step in enumerate(self.steps) if step["id"] == data["id"]]
        self.steps[place] = data

    def _approval(self, data: Json) -> None:
        self.approvals[data["id"]] = data

    @property
    def ended(self) -> bool:
        return bool(self.told) and self.told[-1].kind == "end"

    def kinds(self) -> list[str]:
        return [event.kind for event in self.told]

    def of(self, kind: str) -> list[Json]:
        return [event.data for event in self.told if event.kind == kind]


def refolded(told: list[Told]) -> Folded:
    """A reader who left after these."""
    folded = Folded()
    for event in told:
        folded.fold(event)
    return folded


def same(folded: Folded, view: Json) -> None:
    """Everything that the view shows was told, and nothing else."""
    shown = dict(view)
    assert list(folded.messages.values()) == shown.pop("messages")
    plan = shown.pop("plan") or {"steps": [], "card": None}
    assert folded.steps == plan["steps"]
    assert folded.card == plan["card"]
    assert folded.approvals == {approval["id"]: approval for approval in shown.pop("approvals")}
    del shown["links"]
    told = {name: folded.fields.get(name, value) for name, value in shown.items()}
    assert told == shown
    assert folded.fields.keys() <= shown.keys()
    untold = {name for name in shown if name not in folded.fields}
    assert all(shown[name] in (None, [], 0) for name in untold), untold


def once(folded: Folded) -> None:
    """Nothing was told twice in a row: two events of the same thing always differ."""
    last: dict[tuple[str, str], Json] = {}
    for event in folded.told:
        about = (event.kind, str(event.data.get("id", event.data.get("index"))))
        assert last.get(about) != event.data, event
        last[about] = event.data


@contextlib.asynccontextmanager
async def stream(
    http: httpx.AsyncClient, assistant_id: str, after: str | None = None
) -> AsyncIterator[AsyncIterator[Told]]:
    """The events of a run; closing is disconnecting."""
    headers = {"Last-Event-ID": after} if after else {}
    async with http.stream("GET", f"/v1/assistants/{assistant_id}/events", headers=headers) as response:
        assert response.status_code in (200, 204), await response.aread()
        lines = response.aiter_lines()
        yield events(lines)


async def events(lines: AsyncIterator[str]) -> AsyncIterator[Told]:
    event = Told()
    async for line in lines:
        name, _, value = line.partition(": ")
        if name == "event":
            event.kind = value
        elif name == "data":
            event.data = json.loads(value)
        elif name == "id":
            event.id = value
        elif not line and event.kind:
            yield event
            event = Told()


async def read(http: httpx.AsyncClient, assistant_id: str, folded: Folded, count: int = 10_000) -> Folded:
    """Read until the stream ends, or so many events."""
    async with asyncio.timeout(50), stream(http, assistant_id, folded.last_id) as told:
        for _ in range(count):
            event = await anext(told, None)
            if event is None:
                break
            folded.fold(event)
    return folded


async def until(told: AsyncIterator[Told], folded: Folded, kind: str, **data: Any) -> Told:
    """Read until an event of this kind with these fields."""
    async with asyncio.timeout(40):
        async for event in told:
            folded.fold(event)
            if event.kind == kind and data.items() <= event.data.items():
                return event
    raise AssertionError(f"the stream ended without {kind} {data}: {folded.kinds()}")
