"""Bodies of Chat Completions. Unknown fields are ignored."""

from __future__ import annotations

import json
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, StrictBool

from api.protocols.shared.run_summary import ShownAssistant
from retinue.errors import InvalidArguments, NotFound
from retinue.schemas.answers import problem

MODEL = "retinue"
MAX_MESSAGES = 1000
LONGEST_WAIT = 840.0


class ContentPart(BaseModel):
    """A part of a message. Only texts are read."""

    type: str = Field(max_length=40)
    text: str | None = None
    refusal: str | None = None


class ChatMessage(BaseModel):
    """One message of the history."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[ContentPart] | None = None
    refusal: str | None = None


class StreamOptions(BaseModel):
    """Options of a stream."""

    include_usage: StrictBool | None = False


class AnswerSchema(BaseModel):
    """A schema of the answer."""

    model_config = ConfigDict(extra="allow")

    json_schema: dict[str, JsonValue] = Field(alias="schema")


class ResponseFormat(BaseModel):
    """The format of the answer."""

    model_config = ConfigDict(extra="allow")

    type: Literal["text", "json_object", "json_schema"]
    json_schema: AnswerSchema | None = Field(None, description="for `json_schema`")

    @property
    def wanted(self) -> dict[str, JsonValue] | None:
        """Return the schema; None for text."""
        return wanted_schema(self.type, self.json_schema.json_schema if self.json_schema else None)


class ChatMetadata(BaseModel):
    """The supported fields of `metadata`; others are ignored."""

    model_config = ConfigDict(extra="allow")

    conversation_id: str | None = Field(
        None, min_length=1, max_length=200, description="id of the conversation; replaces matching by history"
    )
    wait_seconds: float | None = Field(
        None, ge=0, le=LONGEST_WAIT, description="seconds to wait for the answer; a number, also as text"
    )


class ChatBody(BaseModel):
    """A request. Other parameters are accepted and ignored."""

    model_config = ConfigDict(extra="allow")

    model: str = Field(max_length=200, examples=[MODEL])
    messages: list[ChatMessage] = Field(min_length=1, max_length=MAX_MESSAGES)
    stream: StrictBool | None = False
    stream_options: StreamOptions | None = None
    user: str | None = Field(None, max_length=200, description="separates the conversations of several people")
    metadata: ChatMetadata | None = None
    response_format: ResponseFormat | None = None

    @property
    def wanted(self) -> dict[str, JsonValue] | None:
        """Return the schema of the answer; None for text."""
        return self.response_format.wanted if self.response_format else None


class ChatUsage(BaseModel):
    """Model usage since the request."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0


class ChatAnswer(BaseModel):
    """The assistant's message."""

    role: Literal["assistant"] = "assistant"
    content: str | None
    refusal: str | None = Field(None, description="the answer as text, if it does not follow the schema")


class ChatChoice(BaseModel):
    """The only choice."""

    index: Literal[0] = 0
    message: ChatAnswer
    logprobs: None = None
    finish_reason: Literal["stop"] = "stop"


class ChatCompletion(BaseModel):
    """An answer."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str = MODEL
    choices: list[ChatChoice]
    usage: ChatUsage
    retinue: ShownAssistant = Field(description="the assistant of this answer")


class Model(BaseModel):
    """A model."""

    id: str
    object: Literal["model"] = "model"
    created: int = 0
    owned_by: str = MODEL


class Models(BaseModel):
    """All models."""

    object: Literal["list"] = "list"
    data: list[Model]


class ErrorBody(BaseModel):
    """The body of an error."""

    message: str
    type: str
    param: str | None = None
    code: str | None = None


class Error(BaseModel):
    """An error in this protocol's format."""

    error: ErrorBody


def chunk(made: str, created: int, *, delta: dict[str, Any] | None, finish: str | None = None) -> dict[str, Any]:
    """Return one chunk of a streamed answer; without `delta` one without a choice."""
    choices = [] if delta is None else [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}]
    return {"id": made, "object": "chat.completion.chunk", "created": created, "model": MODEL, "choices": choices}


def wanted_schema(kind: str, schema: dict[str, JsonValue] | None) -> dict[str, JsonValue] | None:
    """Return the schema of a request; None for text.

    Raises:
        InvalidArguments: The schema is invalid or not supported.
    """
    if kind == "text":
        return None
    if kind == "json_object":
        return {"type": "object"}
    wrong = "there is none" if schema is None else problem(schema)
    if wrong:
        raise InvalidArguments(f"answers cannot be written in the schema of the request: {wrong}")
    return schema


def in_schema(text: str) -> bool:
    """Return whether an answer follows the requested schema; a model's structured answer was validated before."""
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False


def check_model(name: str) -> None:
    """Refuse any other model.

    Raises:
        NotFound: It is another model.
    """
    if name != MODEL:
        raise NotFound(f"there is no model {name[:80]!r}", hint=f"there is {MODEL!r}")
