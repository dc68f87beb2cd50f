"""`POST /ag-ui`: one run of a thread, as server-sent events.

An error before the run starts is a problem detail, as everywhere; a later one ends the stream with `RUN_ERROR`.
 The protocol's SDK is imported at the first request.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from importlib import import_module
from typing import Any

from fastapi import APIRouter
from fastapi.responses import StreamingResponse
from temporalio.service import RPCError

from api.auth.principals import Permission
from api.deps import needs
from api.events.drafts import REPLY
from api.events.model import Event, EventKind
from api.protocols.ag_ui.run_state import RunState
from api.protocols.ag_ui.schemas import RunInput
from api.protocols.ag_ui.threads import StartedTurn, Thread
from api.protocols.shared.call_context import Call, CallContext
from retinue.errors import RetinueError

router = APIRouter(tags=["doors"], include_in_schema=False)
ALIVE = 15.0
"""Seconds between keep-alive comments."""
LONGEST = 840.0
"""Time limit of a run in seconds; the assistant continues."""
_LAST = frozenset({"RUN_FINISHED", "RUN_ERROR"})
_ENCODER = "api.protocols.ag_ui.encoder"
_HEADERS = {"Cache-Control": "no-store, no-transform", "X-Accel-Buffering": "no"}
_COMMENT = b": the assistant is running\n\n"
_GONE = ("The assistant can no longer be followed; start a run without a new message to get its state.", "gone")


@router.post("/ag-ui/", dependencies=[needs(Permission.ASK)])
@router.post("/ag-ui", dependencies=[needs(Permission.ASK)])
async def run(body: RunInput, call: Call) -> StreamingResponse:
    """Stream a run of the protocol. docs/protocol-ag-ui.md explains how threads and runs become assistants and their turns."""
    thread = Thread(body, call)
    turn = await thread.start()
    encoder = (await asyncio.to_thread(import_module, _ENCODER)).AgUiEncoder(body, turn, call.base)
    return StreamingResponse(_stream(thread, turn, encoder, call), media_type="text/event-stream", headers=_HEADERS)


async def _stream(thread: Thread, turn: StartedTurn, encoder: Any, call: CallContext) -> AsyncIterator[bytes]:
    encoded = import_module(_ENCODER).encoded
    yield encoded(encoder.start())
    try:
        async for event in _events(turn, encoder, call):
            if event is not None and event.type.value in _LAST:
                await thread.reach(turn, encoder.messages)
            yield _COMMENT if event is None else encoded(event)
    except (RetinueError, RPCError):
        for event in encoder.run_error(*_GONE):
            yield encoded(event)


async def _events(turn: StartedTurn, encoder: Any, call: CallContext) -> AsyncIterator[Any]:
    """Yield the events up to the end, and None after a while without any."""
    state = RunState(turn.assistant_id)
    now = asyncio.get_running_loop().time
    until = now() + LONGEST
    async with call.events.reader(turn.assistant_id, turn.after) as reader:
        while (left := until - now()) > 0:
            events = await reader.read(min(ALIVE, left))
            if not events:
                if reader.over:
                    break
                yield None
                continue
            last = False
            for event in _encoded(events, state, encoder):
                last = event.type.value in _LAST
                yield event
            if last:
                return
    ended = encoder.run_error(*_GONE) if left > 0 else encoder.run_timeout(state.view())
    for event in ended:
        yield event


def _encoded(events: Sequence[Event], state: RunState, encoder: Any) -> Iterator[Any]:
    """Encode these events: changes of the run, its end, or pieces of a draft."""
    kinds = {event.kind for event in events}
    for event in events:
        state.fold(event)
    if kinds - {EventKind.TEXT}:
        view = state.view()
        yield from encoder.news(view, state.messages)
        last = list(encoder.end(view))
        yield from last
        if last:
            return
    if EventKind.MESSAGE not in kinds:  # pieces beside a message may be of that very one
        for event in events:
            if event.kind is EventKind.TEXT and event.data["about"] == REPLY:
                yield from encoder.written(event.data["offset"], event.data["text"])
