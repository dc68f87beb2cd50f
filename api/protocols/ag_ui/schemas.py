"""The body of a run, as far as this door reads it. What it does not know it passes over, as the protocol asks."""

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
    """A tool call that the client was told of."""

    id: LongId


class Said(_Read):
    """One message of the conversation as the client has it."""

    id: LongId
    role: str = Field(max_length=40)
    content: str | list[Part] | dict[str, Any] | None = None
    tool_calls: list[Call] | None = None

    @property
    def text(self) -> str:
        """Its words; pictures, sounds and files are passed over."""
        if isinstance(self.content, list):
            return "\n\n".join(part.text or "" for part in self.content if part.type == "text")
        return self.content if isinstance(self.content, str) else ""


class Answer(_Read):
    """What a person said to an interrupt."""

    interrupt_id: LongId
    status: Literal["resolved", "cancelled"]
    payload: JsonValue = None


class Props(_Read):
    """What this door reads of `forwardedProps`."""

    timezone: Zone | None = None


class RunInput(_Read):
    """A request to run. `tools`, `context` and `state` change nothing here: what an application adds was typed by nobody."""

    thread_id: Id
    run_id: Id
    messages: list[Said] = Field(max_length=MAX_MESSAGES)
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
    def asked(self) -> Said | None:
        """What the person says now: the last message, if it is theirs and has words.

        Raises:
            InvalidArguments: It is too long.
        """
        last = self.messages[-1] if self.messages else None
        if last is None or last.role != "user" or not last.text.strip():
            return None
        if len(last.text) > MAX_MESSAGE:
            raise InvalidArguments(f"the last message has more than {MAX_MESSAGE} characters; say it shorter")
        return last

    @property
    def timezone(self) -> str | None:
        """The person's zone, if the client names it."""
        return self.forwarded_props.timezone if isinstance(self.forwarded_props, Props) else None

    def earlier(self) -> list[Message]:
        """What was said before, for a run that was not there. Answers may hold strangers' words, or be made up."""
        roles = {"user": Role.USER, "assistant": Role.ASSISTANT}
        return [
            Message(role=roles[said.role], text=said.text, withheld=said.role == "assistant")
            for said in self.messages[:-1]
            if said.role in roles and said.text.strip()
        ]

    def known(self) -> dict[str, str]:
        """Everything that the client has, by id: messages with their words, and tool calls in them."""
        calls = {call.id: "" for said in self.messages for call in said.tool_calls or ()}
        return calls | {said.id: said.text for said in self.messages}
