"""Bodies of Chat Completions, as far as this door reads and writes them. What it does not know it passes over."""

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
    """How to stream."""

    include_usage: StrictBool | None = False


class AnswerSchema(BaseModel):
    """A schema in which the answer is wanted."""

    model_config = ConfigDict(extra="allow")

    json_schema: dict[str, JsonValue] = Field(alias="schema")


class ResponseFormat(BaseModel):
    """The form in which the answer is wanted."""

    model_config = ConfigDict(extra="allow")

    type: Literal["text", "json_object", "json_schema"]
    json_schema: AnswerSchema | None = Field(None, description="for `json_schema`")

    @property
    def wanted(self) -> dict[str, JsonValue] | None:
        """The schema; None where words are wanted."""
        return wanted_schema(self.type, self.json_schema.json_schema if self.json_schema else None)


class ChatMetadata(BaseModel):
    """What this door reads of `metadata`; other names are passed over."""

    model_config = ConfigDict(extra="allow")

    conversation_id: str | None = Field(
        None, min_length=1, max_length=200, description="names the conversation, whatever its history says"
    )
    wait_seconds: float | None = Field(
        None, ge=0, le=LONGEST_WAIT, description="how long to wait for the answer; a number, also as text"
    )


class ChatBody(BaseModel):
    """A request. Parameters that are not listed are accepted and change nothing."""

    model_config = ConfigDict(extra="allow")

    model: str = Field(max_length=200, examples=[MODEL])
    messages: list[ChatMessage] = Field(min_length=1, max_length=MAX_MESSAGES)
    stream: StrictBool | None = False
    stream_options: StreamOptions | None = None
    user: str | None = Field(None, max_length=200, description="keeps the conversations of several people apart")
    metadata: ChatMetadata | None = None
    response_format: ResponseFormat | None = None

    @property
    def wanted(self) -> dict[str, JsonValue] | None:
        """The schema in which the answer is wanted; None where words are."""
        return self.response_format.wanted if self.response_format else None


class ChatUsage(BaseModel):
    """What the models were used for since the request came."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0


class ChatAnswer(BaseModel):
    """What the assistant says."""

    role: Literal["assistant"] = "assistant"
    content: str | None
    refusal: str | None = Field(None, description="the answer in words, where it could not be given in the schema")


class ChatChoice(BaseModel):
    """The one answer."""

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
    retinue: ShownAssistant = Field(description="where the assistant behind the answer stands")


class Model(BaseModel):
    """A model of this door."""

    id: str
    object: Literal["model"] = "model"
    created: int = 0
    owned_by: str = MODEL


class Models(BaseModel):
    """All of them."""

    object: Literal["list"] = "list"
    data: list[Model]


class ErrorBody(BaseModel):
    """What went wrong."""

    message: str
    type: str
    param: str | None = None
    code: str | None = None


class Error(BaseModel):
    """An error as clients of this protocol read it."""

    error: ErrorBody


def chunk(made: str, created: int, *, delta: dict[str, Any] | None, finish: str | None = None) -> dict[str, Any]:
    """One piece of a streamed answer; without `delta` one that carries no choice."""
    choices = [] if delta is None else [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}]
    return {"id": made, "object": "chat.completion.chunk", "created": created, "model": MODEL, "choices": choices}


def wanted_schema(kind: str, schema: dict[str, JsonValue] | None) -> dict[str, JsonValue] | None:
    """The schema that a request names; None where words are wanted.

    Raises:
        InvalidArguments: Answers cannot be written in it.
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
    """Whether an answer is in the schema that was asked for, and not in words: what a model wrote in it was checked."""
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False


def check_model(name: str) -> None:
    """Refuse another model than the one that there is.

    Raises:
        NotFound: It is another one.
    """
    if name != MODEL:
        raise NotFound(f"there is no model {name[:80]!r}", hint=f"there is {MODEL!r}")
