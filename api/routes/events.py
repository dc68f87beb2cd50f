"""Events of an assistant, as a stream."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Header, Response

from api.auth.principals import Permission
from api.deps import MyEvents, needs
from api.errors import PROBLEMS
from api.events.model import Event
from api.events.sse import MEDIA_TYPE, EventStream

router = APIRouter(prefix="/v1/assistants", tags=["events"], responses=PROBLEMS)
_FIRST_LOOK = 5.0


def _schema() -> dict[str, Any]:
    """Schema of one event in the stream: its `data` is JSON, described by the kind that `event` names."""
    schema = Event.model_json_schema()
    return {
        "type": "object",
        "description": schema["description"],
        "required": ["event", "data"],
        "properties": {
            "event": schema["$defs"]["EventKind"],
            "data": {"type": "string", "contentMediaType": "application/json"},
            "id": {"type": "string", "description": schema["properties"]["id"]["description"]},
        },
    }


_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Server-sent events; the event's name is its kind, its data the JSON of `data`.",
        "content": {MEDIA_TYPE: {"schema": _schema()}},
    },
    204: {"description": "The assistant has ended and every event was sent. A browser does not reconnect."},
}


@router.get(
    "/{assistant_id}/events",
    summary="Follow an assistant",
    response_class=Response,
    responses={**PROBLEMS, **_ANSWERS},
    dependencies=[needs(Permission.READ)],
)
async def events(
    assistant_id: str,
    mine: MyEvents,
    last_event_id: Annotated[
        str | None, Header(alias="Last-Event-ID", description="id of the last event that was read; browsers send it")
    ] = None,
) -> Response:
    """Stream the current state, then each change until the end. With `Last-Event-ID` only later changes."""
    if await mine.ended(assistant_id) and last_event_id:
        async with mine.reader(assistant_id, last_event_id) as reader:
            if not await reader.read(_FIRST_LOOK) and reader.fully_delivered:
                return Response(status_code=204)
    return EventStream(partial(mine.reader, assistant_id, last_event_id))
