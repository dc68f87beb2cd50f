"""What a chat completion says. The SDK does not check the shape of what it parses, so nothing here is taken on trust."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from openai.types.chat import ChatCompletion, ChatCompletionMessage

from activities.reasoning.endpoint import NO_COMPLETION, Failure, Why
from activities.reasoning.streamed import MAX_ANSWER_CHARS
from retinue.errors import CutAnswer, MalformedAnswer


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


def text_of(completion: ChatCompletion) -> str:
    """The text of an answer.

    Raises:
        Failure: With MalformedAnswer (none, or empty), or CutAnswer (cut at the token limit, withheld, or far too long).
    """
    try:
        return _text(_message(completion))
    except (AttributeError, TypeError, LookupError):
        raise Failure(MalformedAnswer(NO_COMPLETION)) from None


def said_by(completion: ChatCompletion) -> Said:
    """The text and the calls of an answer.

    Raises:
        Failure: As for `text_of`.
    """
    try:
        message = _message(completion)
        calls = tuple(_written(call) for call in getattr(message, "tool_calls", None) or ())
        if not calls:
            return Said(_text(message))
        _bounded("".join(call.name + call.arguments for call in calls))
        return Said(_bounded(message.content) if isinstance(message.content, str) else "", calls)
    except (AttributeError, TypeError, LookupError):
        raise Failure(MalformedAnswer(NO_COMPLETION)) from None


def _message(completion: ChatCompletion) -> ChatCompletionMessage:
    choices = getattr(completion, "choices", None)
    if not choices or choices[0].message is None:
        raise Failure(MalformedAnswer("the language model's service answered without a message"))
    if choices[0].finish_reason == "length":
        raise Failure(CutAnswer("the language model's answer was cut off at its token limit"), Why.CUT)
    if choices[0].finish_reason == "content_filter":
        raise Failure(CutAnswer("the language model's provider withheld the answer"))
    message: ChatCompletionMessage = choices[0].message
    return message


def _text(message: ChatCompletionMessage) -> str:
    text = message.content
    if not isinstance(text, str) or not text.strip():
        raise Failure(MalformedAnswer("the language model's answer is empty"))
    return _bounded(text)


def _written(call: Any) -> WrittenCall:
    name, arguments = call.function.name, call.function.arguments
    if not isinstance(name, str) or not isinstance(arguments, str | None):
        raise Failure(MalformedAnswer("the language model's service answered with a call that is none"))
    return WrittenCall(name, arguments or "{}")


def _bounded(text: str) -> str:
    if len(text) > MAX_ANSWER_CHARS:
        told = f"the language model's answer has {len(text)} characters; at most {MAX_ANSWER_CHARS} are read"
        raise Failure(CutAnswer(told))
    return text
