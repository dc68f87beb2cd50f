"""Bodies of the Responses API. Unknown fields are ignored."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, StrictBool

from api.protocols.openai.schemas import MAX_MESSAGES, MODEL, ChatMetadata, ContentPart, wanted_schema
from api.protocols.shared.run_summary import ShownAssistant
from api.services.schemas import Text


class InputItem(BaseModel):
    """One item of the input. Items other than messages are ignored."""

    model_config = ConfigDict(extra="allow")

    type: str | None = Field(None, max_length=60)
    role: Literal["system", "developer", "user", "assistant"] | None = None
    content: str | list[ContentPart] | None = None


class TextFormat(BaseModel):
    """The format of the answer."""

    model_config = ConfigDict(extra="allow")

    type: Literal["text", "json_object", "json_schema"]
    json_schema: dict[str, JsonValue] | None = Field(None, alias="schema", description="for `json_schema`")


class TextConfig(BaseModel):
    """Options of the answer's text."""

    model_config = ConfigDict(extra="allow")

    format: TextFormat | None = None


class ResponseBody(BaseModel):
    """A request. Other parameters are accepted and ignored."""

    model_config = ConfigDict(extra="allow")

    model: str = Field(max_length=200, examples=[MODEL])
    input: (
        Annotated[Text, Field(title="Words")] | Annotated[list[InputItem], Field(min_length=1, max_length=MAX_MESSAGES)]
    )
    stream: StrictBool | None = False
    background: StrictBool | None = Field(False, description="answer at once; retrieve the response for the outcome")
    previous_response_id: str | None = Field(None, min_length=1, max_length=200, description="the previous response")
    user: str | None = Field(None, max_length=200, description="separates the conversations of several people")
    metadata: ChatMetadata | None = None
    text: TextConfig | None = None

    @property
    def wanted(self) -> dict[str, JsonValue] | None:
        """Return the schema of the answer; None for text."""
        form = self.text.format if self.text else None
        return wanted_schema(form.type, form.json_schema) if form else None


class OutputText(BaseModel):
    """Text of the answer."""

    type: Literal["output_text"] = "output_text"
    text: str
    annotations: list[Any] = Field(default_factory=list)
    logprobs: list[Any] = Field(default_factory=list)


class OutputRefusal(BaseModel):
    """Text of an answer that does not follow the requested schema."""

    type: Literal["refusal"] = "refusal"
    refusal: str


class OutputMessage(BaseModel):
    """The answer."""

    type: Literal["message"] = "message"
    id: str
    status: Literal["in_progress", "completed", "incomplete"]
    role: Literal["assistant"] = "assistant"
    content: list[OutputText | OutputRefusal]


class InputText(BaseModel):
    """Words that were said to the assistant."""

    type: Literal["input_text"] = "input_text"
    text: str


class InputMessage(BaseModel):
    """A message of the person."""

    type: Literal["message"] = "message"
    id: str
    status: Literal["completed"] = "completed"
    role: Literal["user"] = "user"
    content: list[InputText]


class InputItems(BaseModel):
    """A page of the input of an answer."""

    object: Literal["list"] = "list"
    data: list[InputMessage | OutputMessage]
    first_id: str | None = None
    last_id: str | None = None
    has_more: bool = False


class InputDetails(BaseModel):
    """Details that are not counted."""

    cached_tokens: int = 0
    cache_write_tokens: int = 0


class OutputDetails(BaseModel):
    """Details that are not counted."""

    reasoning_tokens: int = 0


class ResponseUsage(BaseModel):
    """Model usage since the request."""

    input_tokens: int
    input_tokens_details: InputDetails = InputDetails()
    output_tokens: int
    output_tokens_details: OutputDetails = OutputDetails()
    total_tokens: int


class ResponseProblem(BaseModel):
    """Why the assistant ended without an answer."""

    code: Literal["server_error"] = "server_error"
    message: str


class Response(BaseModel):
    """A response, complete or in progress."""

    id: str
    object: Literal["response"] = "response"
    created_at: int
    status: Literal["in_progress", "completed", "failed", "cancelled", "incomplete"]
    background: bool = False
    error: ResponseProblem | None = None
    incomplete_details: None = None
    instructions: None = None
    max_output_tokens: None = None
    metadata: dict[str, str] = Field(default_factory=dict)
    model: str = MODEL
    output: list[OutputMessage] = Field(default_factory=list)
    parallel_tool_calls: bool = False
    previous_response_id: str | None = None
    store: bool = True
    temperature: None = None
    text: dict[str, Any] = Field(default_factory=lambda: {"format": {"type": "text"}})
    tool_choice: Literal["auto"] = "auto"
    tools: list[Any] = Field(default_factory=list)
    top_p: None = None
    truncation: Literal["disabled"] = "disabled"
    usage: ResponseUsage | None = None
    user: str | None = None
    retinue: ShownAssistant | None = Field(None, description="the assistant of this answer")
