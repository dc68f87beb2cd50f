"""A client of AG-UI as small as can be: it checks each event by the official types, and keeps what clients keep."""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
from ag_ui.core import BaseEvent, Event, EventType, RunFinishedEvent
from pydantic import TypeAdapter

Json = dict[str, Any]
EVENTS: TypeAdapter[Any] = TypeAdapter(Event)


class Run:
    """One run, as it was told."""

    def __init__(self, events: list[Any]) -> None:
        self.events = events

    @property
    def kinds(self) -> list[str]:
        return [event.type.value for event in self.events]

    def of(self, kind: EventType) -> list[Any]:
        return [event for event in self.events if event.type is kind]

    @property
    def text(self) -> str:
        return "".join(event.delta for event in self.of(EventType.TEXT_MESSAGE_CONTENT))

    @property
    def outcome(self) -> str:
        last = self.events[-1]
        return last.outcome.type if isinstance(last, RunFinishedEvent) and last.outcome else last.type.value

    @property
    def interrupts(self) -> list[Any]:
        last = self.events[-1]
        assert self.outcome == "interrupt", last
        return list(last.outcome.interrupts)

    @property
    def assistant_id(self) -> str:
        found: str = self.of(EventType.STATE_SNAPSHOT)[0].snapshot["assistant"]["id"]
        return found


class AgUi:
    """A client of one thread."""

    def __init__(self, http: httpx.AsyncClient, headers: dict[str, str] | None = None) -> None:
        self.http = http
        self._headers = headers
        self.thread = uuid.uuid4().hex
        self.messages: list[Json] = []

    def said(self, text: str) -> None:
        self.messages.append({"id": uuid.uuid4().hex, "role": "user", "content": text})

    def input(self, **more: Any) -> Json:
        return {"threadId": self.thread, "runId": uuid.uuid4().hex, "messages": self.messages, "state": {}, **more}

    async def post(self, **more: Any) -> httpx.Response:
        return await self.http.post("/ag-ui", json=self.input(**more), headers=self._headers)

    async def run(self, **more: Any) -> Run:
        """A run to its end; what it told joins the messages."""
        answer = await self.post(**more)
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"].startswith("text/event-stream")
        run = Run([checked(line) for line in answer.text.split("\n\n") if line.startswith("data: ")])
        for event in run.events:
            self._keep(event)
        return run

    async def say(self, text: str, **more: Any) -> Run:
        self.said(text)
        return await self.run(**more)

    def _keep(self, event: Any) -> None:
        if event.type is EventType.TEXT_MESSAGE_START:
            self.messages.append({"id": event.message_id, "role": "assistant", "content": ""})
        elif event.type is EventType.TEXT_MESSAGE_CONTENT:
            self.messages[-1]["content"] += event.delta
        elif event.type is EventType.TOOL_CALL_START:
            call = {"id": event.tool_call_id, "type": "function", "function": {"name": event.tool_call_name}}
            self.messages.append({"id": event.tool_call_id, "role": "assistant", "toolCalls": [call]})
        elif event.type is EventType.TOOL_CALL_RESULT:
            kept = {"role": "tool", "toolCallId": event.tool_call_id, "content": event.content}
            self.messages.append({"id": event.message_id, **kept})


def checked(line: str) -> BaseEvent:
    """An event as the official types know it, with no field that they do not know."""
    content = json.loads(line.removeprefix("data: "))
    event: BaseEvent = EVENTS.validate_python(content)
    assert event.model_extra == {}, content
    assert event.model_dump(mode="json", by_alias=True) == content
    return event


@pytest.fixture
async def client(door: str) -> AsyncIterator[Callable[[], AgUi]]:
    """Makes clients, each with a thread of its own."""
    async with httpx.AsyncClient(base_url=door, timeout=60) as http:
        yield lambda: AgUi(http)
