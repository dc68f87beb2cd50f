"""Reads chat completions, with all checks, since the SDK does not validate what it parses."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from openai.types.chat import ChatCompletion, ChatCompletionMessage

from activities.reasoning.endpoint import NO_COMPLETION, Failure, Why
from activities.reasoning.streamed import MAX_ANSWER_CHARS
from activities.reasoning.structured import without_thoughts
from retinue.errors import CutAnswer, MalformedAnswer, ModelError, RefusedAnswer, ServiceUnavailable
from retinue.text import one_line, whole

CUT_MARK = "\n\n(cut at the model's limit)"
_CALL_FOR_JSON = "json_tool_call"
"""How LiteLLM names the function by which it makes a model keep to a schema."""
_TEXTS = ("text", "output_text")
_MOST_QUOTED = 300
_Read = TypeVar("_Read")


@dataclass(frozen=True)
class WrittenCall:
    """A call of a function as the model wrote it; whether its arguments can be read is yet to be seen."""

    name: str
    arguments: str


@dataclass(frozen=True)
class Said:
    """What the model says in a conversation with functions: a text, calls, or both."""

    text: str
    calls: tuple[WrittenCall, ...] = ()


def text_of(completion: ChatCompletion, *, quotes: bool = False) -> str:
    """Return the text of an answer, without the thoughts before it.

    Args:
        completion: As it came.
        quotes: Whether an error may repeat how the model refused: not where it has read what strangers wrote.

    Raises:
        Failure: With MalformedAnswer (none, or empty), RefusedAnswer (the model will not), or CutAnswer (cut at the token
            limit, withheld, or far too long).
    """
    return _read(completion, lambda message: without_thoughts(_text(message, quotes=quotes)))


def json_of(completion: ChatCompletion, name: str, *, quotes: bool = False) -> str:
    """Return the text of an answer that contains JSON, as the model wrote it.

    Some servers carry out a schema as a function that the model must call, or put JSON where its thoughts belong.

    Args:
        completion: As it came.
        name: Of the schema.
        quotes: As in `text_of`.

    Raises:
        Failure: As `text_of`.
    """
    return _read(completion, lambda message: _json(message, name, quotes=quotes))


def said_by(completion: ChatCompletion) -> Said:
    """Return the text and the calls of an answer.

    Raises:
        Failure: As `text_of`; also with MalformedAnswer for calls that are none.
    """
    return _read(completion, _said)


def _read(completion: ChatCompletion, read: Callable[[ChatCompletionMessage], _Read]) -> _Read:
    try:
        return read(_message(completion))
    except MalformedAnswer as error:
        raise Failure(error) from None
    except (AttributeError, TypeError, LookupError):
        raise Failure(MalformedAnswer(NO_COMPLETION)) from None


def _message(completion: ChatCompletion) -> ChatCompletionMessage:
    choices = getattr(completion, "choices", None)
    if not choices and getattr(completion, "error", None):
        raise Failure(ServiceUnavailable("the language model's service answered with an error instead of an answer"))
    if not choices or choices[0].message is None:
        raise Failure(MalformedAnswer("the language model's service answered without a message"))
    if choices[0].finish_reason == "length":
        told = "the language model's answer was cut off at its token limit"
        error = CutAnswer(told, hint="raise REASONING_MAX_OUTPUT_TOKENS, or max_output_tokens in RETINUE_MODELS")
        raise Failure(error, Why.CUT, text=_so_far(choices[0].message))
    if choices[0].finish_reason == "content_filter":
        raise Failure(CutAnswer("the language model's provider withheld the answer"))
    message: ChatCompletionMessage = choices[0].message
    return message


def marked(text: str) -> str:
    """Return a text that was cut, with a mark that says so."""
    return f"{text}{CUT_MARK}"


def _so_far(message: ChatCompletionMessage) -> str:
    """Return the text of an answer that was cut; empty if it has only thoughts."""
    try:
        return without_thoughts(_content(message))[:MAX_ANSWER_CHARS]
    except MalformedAnswer:
        return ""


def _said(message: ChatCompletionMessage) -> Said:
    calls = tuple(_written(call) for call in getattr(message, "tool_calls", None) or ())
    if not calls:
        return Said(without_thoughts(_text(message)))
    _bounded("".join(call.name + call.arguments for call in calls))
    return Said(_bounded(_content(message)), calls)


def _text(message: ChatCompletionMessage, *, quotes: bool = False) -> str:
    text = _content(message)
    if not text.strip():
        raise Failure(_no_text(message, quotes=quotes))
    return _bounded(text)


def _json(message: ChatCompletionMessage, name: str, *, quotes: bool) -> str:
    if _content(message).strip():
        return _text(message)
    calls = [_written(call) for call in getattr(message, "tool_calls", None) or ()]
    if len(calls) == 1 and calls[0].name in (name, _CALL_FOR_JSON):
        return _bounded(calls[0].arguments)
    thoughts = getattr(message, "reasoning_content", None) or getattr(message, "reasoning", None)
    if isinstance(thoughts, str) and _is_an_object(thoughts):
        return _bounded(whole(thoughts))
    raise Failure(_no_text(message, quotes=quotes))


def _is_an_object(text: str) -> bool:
    """Whether all of it is one object: thoughts are words, so this is an answer that a server took for thoughts."""
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False


def _no_text(message: ChatCompletionMessage, *, quotes: bool) -> ModelError:
    if refusal := _refusal(message):
        told = "the language model refused to answer"
        return RefusedAnswer(f"the language model refused: {one_line(refusal, _MOST_QUOTED)}" if quotes else told)
    if getattr(message, "tool_calls", None):
        return MalformedAnswer("the language model called a function instead of answering")
    if getattr(message, "reasoning_content", None) or getattr(message, "reasoning", None):
        return MalformedAnswer("the language model's answer is empty: it wrote thoughts only")
    return MalformedAnswer("the language model's answer is empty")


def _content(message: ChatCompletionMessage) -> str:
    """Return the text, or the texts of a list of parts; thoughts and other parts are left out."""
    content: Any = message.content
    if isinstance(content, str):
        return whole(content)
    texts = [
        text for part in _parts(content) if part.get("type") in _TEXTS and isinstance(text := part.get("text"), str)
    ]
    return whole("".join(texts))


def _refusal(message: ChatCompletionMessage) -> str:
    said = [getattr(message, "refusal", None), *(part.get("refusal") for part in _parts(message.content))]
    return next((whole(refusal) for refusal in said if isinstance(refusal, str) and refusal.strip()), "")


def _parts(content: Any) -> list[dict[str, Any]]:
    return [part for part in content if isinstance(part, dict)] if isinstance(content, list) else []


def _written(call: Any) -> WrittenCall:
    name, arguments = call.function.name, call.function.arguments
    if isinstance(arguments, dict):  # some servers send the object itself
        arguments = json.dumps(arguments)
    if not isinstance(name, str) or not isinstance(arguments, str | None):
        raise MalformedAnswer("the language model's service answered with a call that is none")
    return WrittenCall(whole(name), whole(arguments or "{}"))


def _bounded(text: str) -> str:
    if len(text) > MAX_ANSWER_CHARS:
        told = f"the language model's answer has {len(text)} characters; at most {MAX_ANSWER_CHARS} are read"
        raise Failure(CutAnswer(told))
    return text
