"""One request to a language model, with every way it can go wrong as a typed error, and what it cost.

Only Chat Completions is used, since every compatible server speaks it. The SDK's own retries are off: Temporal retries.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from math import isfinite
from time import time
from typing import Any
from urllib.parse import urlsplit

import openai
from openai import AsyncOpenAI
from openai.types.chat import ChatCompletion, ChatCompletionMessage

from activities.reasoning.contract import Usage
from activities.reasoning.settings import ReasoningSettings
from retinue.errors import CutAnswer, MalformedAnswer, RetinueError, ServiceBusy, ServiceRefused, ServiceUnavailable

MAX_ANSWER_CHARS = 100_000
_CHARS_OF_A_TOKEN = 3
"""Fewer than the four of plain English, so that what is estimated from it is rather too much."""
_DEFAULT_PAUSE = 5.0
_NO_COMPLETION = "the language model's service did not answer with a chat completion"


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


class LanguageModel:
    """A chat model behind an OpenAI-compatible endpoint."""

    def __init__(self, settings: ReasoningSettings) -> None:
        self._settings = settings
        self._client = AsyncOpenAI(
            api_key=settings.api_key.get_secret_value(),
            base_url=settings.base_url,
            timeout=settings.timeout,
            max_retries=0,
        )

    async def close(self) -> None:
        """Close connections."""
        await self._client.close()

    async def complete(
        self, messages: Iterable[Mapping[str, Any]], *, response_format: dict[str, Any] | None = None
    ) -> tuple[str, Usage]:
        """Send one request and return the text of its answer with what it used.

        Raises:
            ServiceUnavailable: Not reachable, too slow, or 5xx.
            ServiceBusy: 429, with the pause that it asked for.
            ServiceRefused: Any other 4xx; above all a wrong key.
            MalformedAnswer: Not a chat completion.
            CutAnswer: Cut at the token limit, or far too long.
        """
        extra: dict[str, Any] = {"response_format": response_format} if response_format else {}
        completion = await self._create(self._settings.model, messages, extra)
        try:
            return _text(completion), self._usage(completion)
        except (AttributeError, TypeError, LookupError):  # the SDK does not check the shape of what it parses
            raise MalformedAnswer(_NO_COMPLETION) from None

    async def converse(
        self,
        messages: Iterable[Mapping[str, Any]],
        *,
        agent: str,
        functions: Sequence[Mapping[str, Any]],
        may_call: bool = True,
    ) -> tuple[Said, Usage]:
        """Send one request of an agent's loop, to that agent's model.

        Args:
            messages: The conversation so far.
            agent: The capability whose agent it is.
            functions: What the model may call.
            may_call: False asks for a text.

        Raises:
            RetinueError: As for `complete`.
        """
        extra: dict[str, Any] = {"tools": list(functions)} if functions else {}
        if functions and not may_call:
            extra["tool_choice"] = "none"
        completion = await self._create(self._settings.model_of(agent), messages, extra)
        try:
            return _said(completion), self._usage(completion)
        except (AttributeError, TypeError, LookupError):
            raise MalformedAnswer(_NO_COMPLETION) from None

    def worst_call(self, messages: Iterable[Mapping[str, Any]]) -> Usage:
        """What a request with these messages can use at most: all of them read, and an answer of the longest kind."""
        characters = sum(len(str(message["content"])) for message in messages)
        return self._used(characters // _CHARS_OF_A_TOKEN + 1, self._settings.max_output_tokens)

    async def _create(
        self, model: str, messages: Iterable[Mapping[str, Any]], extra: Mapping[str, Any]
    ) -> ChatCompletion:
        try:
            completion: ChatCompletion = await self._client.chat.completions.create(
                model=model,
                messages=list(messages),  # type: ignore[arg-type]  # their shape is checked by the endpoint
                max_completion_tokens=self._settings.max_output_tokens,
                **extra,
            )
        except (openai.OpenAIError, ValueError) as error:
            # `from None`: the SDK's texts repeat request, headers and sometimes the key
            raise self._translated(error, model) from None
        return completion

    def _usage(self, completion: ChatCompletion) -> Usage:
        """What it used, as far as the service says so in numbers; a good answer is not refused for its bookkeeping."""
        used = completion.usage
        return self._used(_count(getattr(used, "prompt_tokens", 0)), _count(getattr(used, "completion_tokens", 0)))

    def _used(self, input_tokens: int, output_tokens: int) -> Usage:
        cost = self._settings.cost(input_tokens, output_tokens)
        return Usage(requests=1, input_tokens=input_tokens, output_tokens=output_tokens, cost=cost)

    def _translated(self, error: Exception, model: str) -> RetinueError:
        host = urlsplit(self._settings.base_url).hostname or self._settings.base_url
        if isinstance(error, openai.APITimeoutError):
            return ServiceUnavailable(f"the language model did not answer within {self._settings.timeout:g} seconds")
        if isinstance(error, openai.APIStatusError):
            return _by_status(error.status_code, error.response.headers, model=model, host=host)
        if isinstance(error, openai.APIConnectionError):
            return ServiceUnavailable(f"the language model at {host} cannot be reached")
        return MalformedAnswer(_NO_COMPLETION)


def _by_status(status: int, headers: Any, *, model: str, host: str) -> RetinueError:
    if status == 429:
        pause = _retry_after(headers.get("retry-after"))
        return ServiceBusy(f"the language model is busy and asks to wait {pause:.0f} seconds", retry_after=pause)
    if status in (401, 403):
        return ServiceRefused(f"the language model at {host} refused the key", hint="check OPENAI_API_KEY")
    if status == 404:
        return ServiceRefused(
            f"{host} knows no model {model!r}",
            hint="check RETINUE_MODEL, <CAPABILITY>_MODEL and OPENAI_BASE_URL (it usually ends in /v1)",
        )
    if status >= 500 or status in (408, 409):
        return ServiceUnavailable(f"the language model at {host} failed with status {status}")
    return ServiceRefused(
        f"the language model at {host} refused the request with status {status}",
        hint="the conversation may be too long for it, or it may lack JSON-schema answers",
    )


def _retry_after(value: str | None) -> float:
    """Seconds to wait, from a number or an HTTP date; a short pause when it says nothing usable."""
    for read in (float, _seconds_until):
        try:
            pause = read(value or "")
        except (ValueError, OverflowError):
            continue
        if isfinite(pause):
            return max(0.0, pause)
    return _DEFAULT_PAUSE


def _seconds_until(date: str) -> float:
    return parsedate_to_datetime(date).timestamp() - time()


def _message(completion: ChatCompletion) -> ChatCompletionMessage:
    choices = getattr(completion, "choices", None)
    if not choices or choices[0].message is None:
        raise MalformedAnswer("the language model's service answered without a message")
    if choices[0].finish_reason == "length":
        raise CutAnswer("the language model's answer was cut off at its token limit")
    if choices[0].finish_reason == "content_filter":
        raise CutAnswer("the language model's provider withheld the answer")
    message: ChatCompletionMessage = choices[0].message
    return message


def _text(completion: ChatCompletion) -> str:
    text = _message(completion).content
    if not isinstance(text, str) or not text.strip():
        raise MalformedAnswer("the language model's answer is empty")
    return _bounded(text)


def _said(completion: ChatCompletion) -> Said:
    message = _message(completion)
    calls = tuple(_written(call) for call in getattr(message, "tool_calls", None) or ())
    if not calls:
        return Said(_text(completion))
    _bounded("".join(call.name + call.arguments for call in calls))
    return Said(_bounded(message.content) if isinstance(message.content, str) else "", calls)


def _written(call: Any) -> WrittenCall:
    name, arguments = call.function.name, call.function.arguments
    if not isinstance(name, str) or not isinstance(arguments, str | None):
        raise MalformedAnswer("the language model's service answered with a call that is none")
    return WrittenCall(name, arguments or "{}")


def _bounded(text: str) -> str:
    if len(text) > MAX_ANSWER_CHARS:
        raise CutAnswer(f"the language model's answer has {len(text)} characters; at most {MAX_ANSWER_CHARS} are read")
    return text


def _count(value: object) -> int:
    return value if isinstance(value, int) and value > 0 else 0
