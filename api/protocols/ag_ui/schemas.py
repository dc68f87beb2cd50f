"""The body of a run. Unknown fields are ignored, as the protocol requires."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, model_validator
from pydantic.alias_generators import to_camel

from api.services.schemas import MAX_MESSAGE, Zone
from retinue.conversation import Message, Role
from retinue.errors import InvalidArguments

MAX_MESSAGES = 2000
MAX_ANSWERS = 100

Id = Annotated[str, Field(min_length=1, max_length=200)]
LongId = Annotated[str, Field(max_length=500)]


class _Read(BaseModel):
    model_config = ConfigDict(extra="ignore", alias_generator=to_camel, populate_by_name=True)


class Part(_Read):
    """A part of a message. Only texts are read."""

    type: str = Field(max_length=40)
    text: str | None = None


class Call(_Read):
    """A tool call that the client received."""

    id: LongId


class ClientMessage(_Read):
    """One message of the client's history."""

    id: LongId
    role: str = Field(max_length=40)
    content: str | list[Part] | dict[str, Any] | None = None
    tool_calls: list[Call] | None = None

    @property
    def text(self) -> str:
        """Return its text; images, audio and files are ignored."""
        if isinstance(self.content, list):
            return "\n\n".join(part.text or "" for part in self.content if part.type == "text")
        return self.content if isinstance(self.content, str) else ""


class Answer(_Read):
    """A person's answer to an interrupt."""

    interrupt_id: LongId
    status: Literal["resolved", "cancelled"]
    payload: JsonValue = None


class Props(_Read):
    """The supported fields of `forwardedProps`."""

    timezone: Zone | None = None


class RunInput(_Read):
    """A request to run. `tools`, `context` and `state` are ignored: no person typed them."""

    thread_id: Id
    run_id: Id
    messages: list[ClientMessage] = Field(max_length=MAX_MESSAGES)
    resume: list[Answer] | None = Field(None, max_length=MAX_ANSWERS)
    forwarded_props: Props | JsonValue = Field(None, union_mode="left_to_right")

    @model_validator(mode="after")
    def _can_be_stored(self) -> RunInput:
        try:
            self.model_dump_json()
        except ValueError:
            raise ValueError("some content holds half of a Unicode character; send plain text") from None
        return self

    @property
    def asked(self) -> ClientMessage | None:
        """Return the person's new message: the last one, if it is theirs and has text.

        Raises:
            InvalidArguments: It is too long.
        """
        last = self.messages[-1] if self.messages else None
        if last is None or last.role != "user" or not last.text.strip():
            return None
        if len(last.text) > MAX_MESSAGE:
            raise InvalidArguments(f"the last message has more than {MAX_MESSAGE} characters; shorten it")
        return last

    @property
    def timezone(self) -> str | None:
        """Return the person's time zone, if the client sends it."""
        return self.forwarded_props.timezone if isinstance(self.forwarded_props, Props) else None

    def earlier(self) -> list[Message]:
        """Return the earlier messages for a new run. Answers may contain strangers' words or be invented."""
        roles = {"user": Role.USER, "assistant": Role.ASSISTANT}
        return [
            Message(role=roles[message.role], text=message.text, withheld=message.role == "assistant")
            for message in self.messages[:-1]
            if message.role in roles and message.text.strip()
        ]

    def known(self) -> dict[str, str]:
        """Return everything that the client has, by id: the text of messages, and tool calls."""
        calls = {call.id: "" for message in self.messages for call in message.tool_calls or ()}
        return calls | {message.id: message.text for message in self.messages}
