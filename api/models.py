"""Bodies of the HTTP API, in and out. What the workflows define (`workflows.messages`) is used as it is."""

from __future__ import annotations

import json
import zoneinfo
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue

from retinue.capability import Manifest
from retinue.times import Moment
from workflows.messages import ApprovalView, AssistantStatus, AssistantView, DecisionKind

MAX_MESSAGE = 10_000


def _known_zone(name: str) -> str:
    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(f"{name!r} is no IANA time zone; use one like 'Europe/Lisbon' or 'UTC'") from error
    return name


def _says_something(text: str) -> str:
    if not text.strip():
        raise ValueError("the message is empty; say what you want done")
    return text


def _is_json(args: dict[str, JsonValue]) -> dict[str, JsonValue]:
    """Python's parser lets pass what JSON cannot carry, and what could not be stored later."""
    try:
        json.dumps(args, ensure_ascii=False, allow_nan=False).encode()
    except ValueError:
        raise ValueError("holds NaN, Infinity or half of a Unicode character; send plain JSON values") from None
    return args


Zone = Annotated[str, Field(max_length=64), AfterValidator(_known_zone)]
Arguments = Annotated[dict[str, JsonValue], AfterValidator(_is_json)]
Text = Annotated[str, Field(max_length=MAX_MESSAGE), AfterValidator(_says_something)]


class StartBody(BaseModel):
    """What the person wants."""

    model_config = ConfigDict(extra="forbid")

    message: Text = Field(description="the request in plain language", examples=["What is on my calendar tomorrow?"])
    timezone: Zone | None = Field(None, description="IANA zone of the person", examples=["Europe/Lisbon"])
    mode: Literal["task"] = "task"
    wait_seconds: float = Field(0, ge=0, le=30, description="wait so long for the run to end or to need a person")


class MessageBody(BaseModel):
    """The answer to the assistant's question."""

    model_config = ConfigDict(extra="forbid")

    message: Text
    wait_seconds: float = Field(0, ge=0, le=30)


class DecisionBody(BaseModel):
    """A decision, bound to the arguments that the person saw by their hash."""

    model_config = ConfigDict(extra="forbid")

    decision: DecisionKind
    args_hash: str = Field(max_length=64, description="`args_hash` of the approval as shown")
    args: Arguments | None = Field(None, description="for `edit`: the new arguments, all of them")
    comment: str | None = Field(None, max_length=2000)
    wait_seconds: float = Field(0, ge=0, le=30)


class Links(BaseModel):
    """Where to go from here."""

    self: str
    events: str | None = None
    temporal_ui: str


class Assistant(AssistantView):
    """An assistant as the API shows it."""

    links: Links


class AssistantSummary(BaseModel):
    """One line in the list of assistants."""

    id: str
    status: AssistantStatus
    message: str = Field(description="the first 120 characters of the request")
    pending_approvals: int
    started_at: Moment
    finished_at: Moment | None = None
    links: Links


class AssistantPage(BaseModel):
    """A page of assistants, newest first."""

    assistants: list[AssistantSummary]
    next_cursor: str | None = None


class InboxItem(ApprovalView):
    """A pending approval and the run that it belongs to."""

    assistant_id: str
    request: str = Field(description="what the person had asked for")
    links: Links


class Inbox(BaseModel):
    """All approvals that wait for the caller."""

    approvals: list[InboxItem]
    unreadable: list[str] = Field(
        default_factory=list, description="assistants that wait too but cannot show what for at the moment"
    )


class CapabilityState(Manifest):
    """A capability with its live state."""

    pollers: int = Field(description="workers that poll its queue now")
    healthy: bool = Field(description="at least one worker polls")


class Capabilities(BaseModel):
    """All capabilities that were ever announced."""

    capabilities: list[CapabilityState]


class Health(BaseModel):
    """Liveness or readiness."""

    status: Literal["ok", "waiting"]
    waiting_for: list[str] = Field(default_factory=list)
