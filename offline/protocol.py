"""The supported part of OpenAI's Chat Completions: requests, answers, errors."""

import json
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, JsonValue

MODEL = "offline"
_CHUNK = 48


class Part(BaseModel):
    """A piece of a message's content; only text is read."""

    model_config = ConfigDict(extra="ignore")

    type: str = "text"
    text: str = ""


class FunctionCall(BaseModel):
    """A call that the model asked for earlier."""

    name: str
    arguments: str = "{}"


class ToolCall(BaseModel):
    """A call with the id that its result refers to."""

    id: str
    type: str = "function"
    function: FunctionCall


class Message(BaseModel):
    """One message of a request."""

    model_config = ConfigDict(extra="ignore")

    role: str
    content: str | list[Part] | None = None
    tool_calls: list[ToolCall] | None = None
    tool_call_id: str | None = None

    @property
    def text(self) -> str:
        """The content as text."""
        if isinstance(self.content, list):
            return "".join(part.text for part in self.content)
        return self.content or ""


class Function(BaseModel):
    """A function that the model may call."""

    model_config = ConfigDict(extra="ignore")

    name: str
    description: str = ""
    parameters: dict[str, JsonValue] = Field(default_factory=dict)


class Tool(BaseModel):
    """A tool of a request; only functions are known."""

    model_config = ConfigDict(extra="ignore")

    type: str = "function"
    function: Function


class JsonSchema(BaseModel):
    """The schema of a structured answer; its name is the kind of the request."""

    model_config = ConfigDict(extra="ignore")

    name: str


class ResponseFormat(BaseModel):
    """The form of the answer."""

    model_config = ConfigDict(extra="ignore")

    type: str = "text"
    json_schema: JsonSchema | None = None


class StreamOptions(BaseModel):
    """Options of a stream."""

    model_config = ConfigDict(extra="ignore")

    include_usage: bool = False


class ChatRequest(BaseModel):
    """A request for a completion. Parameters without meaning here (temperature and so on) are ignored."""

    model_config = ConfigDict(extra="ignore")

    model: str
    messages: list[Message] = Field(min_length=1)
    response_format: ResponseFormat | None = None
    tools: list[Tool] | None = None
    tool_choice: str | dict[str, JsonValue] | None = None
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    n: int | None = Field(1, ge=1, le=1)

    @property
    def wants_plan(self) -> bool:
        """Whether the answer must be a plan."""
        return self._form == "plan"

    @property
    def wants_values(self) -> bool:
        """Whether the answer must be values read out of a text."""
        return self._form == "extract"

    @property
    def asks_for_form(self) -> bool:
        """Whether the caller finds out how this server answers in JSON."""
        return self._form == "probe"

    @property
    def wants_other_json(self) -> bool:
        """Whether the answer must be JSON of a caller's own schema."""
        return self._form == "answer"

    @property
    def _form(self) -> str | None:
        schema = self.response_format.json_schema if self.response_format else None
        return schema.name if schema else None


class BadRequest(Exception):
    """A request that has the right shape but cannot be answered."""


@dataclass(frozen=True)
class Completion:
    """The answer: text, or calls of tools."""

    text: str = ""
    calls: tuple[ToolCall, ...] = ()
    id: str = field(default_factory=lambda: f"chatcmpl-{uuid.uuid4().hex[:24]}")
    created: int = field(default_factory=lambda: int(time.time()))

    @property
    def finish_reason(self) -> str:
        """Why the answer ends here."""
        return "tool_calls" if self.calls else "stop"

    def body(self, request: ChatRequest) -> dict[str, Any]:
        """The answer in one piece."""
        message: dict[str, Any] = {"role": "assistant", "content": None if self.calls else self.text, "refusal": None}
        if self.calls:
            message["tool_calls"] = [call.model_dump() for call in self.calls]
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": self.finish_reason}
        return {**self._head("chat.completion"), "choices": [choice], "usage": self.usage(request)}

    def events(self, request: ChatRequest) -> Iterator[str]:
        """The answer as server-sent events."""
        for delta in self._deltas():
            yield self._event(delta, None)
        yield self._event({}, self.finish_reason)
        if request.stream_options and request.stream_options.include_usage:
            yield _sse({**self._head("chat.completion.chunk"), "choices": [], "usage": self.usage(request)})
        yield "data: [DONE]\n\n"

    def _deltas(self) -> Iterator[dict[str, Any]]:
        yield {"role": "assistant", "content": None if self.calls else ""}
        for index, call in enumerate(self.calls):
            yield {"tool_calls": [{"index": index, **call.model_dump()}]}
        for start in range(0, 0 if self.calls else len(self.text), _CHUNK):
            yield {"content": self.text[start : start + _CHUNK]}

    def _event(self, delta: dict[str, Any], finish_reason: str | None) -> str:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        return _sse({**self._head("chat.completion.chunk"), "choices": [choice]})

    def _head(self, kind: str) -> dict[str, Any]:
        return {"id": self.id, "object": kind, "created": self.created, "model": MODEL, "system_fingerprint": None}

    def usage(self, request: ChatRequest) -> dict[str, int]:
        """Token counts, estimated: nothing is tokenized here, and about four characters make a token."""
        asked = _tokens(request.model_dump_json(include={"messages", "tools"}))
        answered = _tokens(self.text) + sum(_tokens(call.model_dump_json()) for call in self.calls)
        return {"prompt_tokens": asked, "completion_tokens": answered, "total_tokens": asked + answered}


def _sse(data: dict[str, Any]) -> str:
    return f"data: {json.dumps(data, ensure_ascii=False)}\n\n"


def _tokens(text: str) -> int:
    return (len(text) + 3) // 4


def error_body(message: str, *, kind: str, code: str | None = None, param: str | None = None) -> dict[str, Any]:
    """An error as OpenAI writes it."""
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}
