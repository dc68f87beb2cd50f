"""One request to one model at one endpoint, with every way it can go wrong as a typed error.

Only Chat Completions is used, since every compatible server speaks it. The SDK's own retries are off: Temporal retries.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from enum import StrEnum
from math import isfinite
from time import time
from typing import Any

import httpx2
import openai
from openai import AsyncOpenAI, DefaultAsyncHttpxClient
from openai.types.chat import ChatCompletion

from activities.reasoning.model_routing import ModelSpec
from activities.reasoning.streamed import BrokeOff, streamed
from retinue.conversation import ModelUse
from retinue.errors import LONGEST_WAIT, MalformedAnswer, RetinueError, ServiceBusy, ServiceRefused, ServiceUnavailable
from retinue.network.connection_errors import unreachable

NO_COMPLETION = "the language model's service did not answer with a chat completion"
_DEFAULT_PAUSE = 5.0
_LONGEST_TOLD = 1e9
"""The longest pause in seconds that is read from a header; a setting bounds how much of it is honoured."""
_ABOUT_FORMAT = ("response_format", "json_schema", "json schema", "json_object", "structured output", "guided")
_ABOUT_LENGTH = re.compile(
    # llama.cpp: exceed_context_size_error; OpenAI: context_length_exceeded; Ollama, LM Studio, SGLang, vLLM, TGI, Mistral,
    # Gemini and Anthropic in words
    r"exceed_context_size|context[_ ](?:length|size|window)|max(?:imum)? (?:context|model|input) length|max_new_tokens"
    r"|max(?:imum)? (?:allowed )?number of tokens|too many tokens|too long|too large for model|longer than the m",
    re.IGNORECASE,
)
_ABOUT_RULES = re.compile(
    r"invalid (?:json )?schema|'required' is required|additionalproperties.{0,40}(?:false|required)", re.IGNORECASE
)
"""OpenAI, Azure and Groq of a schema that does not say each property as required."""
_READS = re.compile(
    r"\"n_ctx\": ?(\d{3,9})\b|context (?:length|size|window)(?: of| is|:)?(?: only)? \(?(\d{3,9})\b"
    r"|model length of (\d{3,9})\b|(\d{3,9}) (?:maximum|max) context length",
    re.IGNORECASE,
)
_SENT = re.compile(
    r"\"n_prompt_tokens\": ?(\d{3,9})\b|you requested (\d{3,9}) tokens|prompt contains (\d{3,9}) tokens", re.IGNORECASE
)
_COUNTS_ANSWER = re.compile(r"in the completion|max_(?:completion_)?tokens|output tokens", re.IGNORECASE)
"""vLLM and OpenAI keep room for the longest answer."""
_LARGER = (
    "give it a larger context there, lower REASONING_MAX_OUTPUT_TOKENS, or list a model that reads more; "
    "REASONING_MAX_INPUT_TOKENS says what it reads"
)
_CHARS_OF_A_TOKEN = 3
"""Fewer than the four of plain English, so that what is estimated from it is rather too much."""
_GATEWAY_GAVE_UP = (408, 504, 524)
_NEVER_SENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout)
_BROKE_OFF = (httpx2.RemoteProtocolError, httpx2.ReadError)
_MOST_READ = 4096
"""Characters of a refusal that are looked at. They are strangers' words: looked at, and never passed on."""


class Why(StrEnum):
    """The cause of a failure, which decides whether other models are asked."""

    SERVICE = "the service"
    FORMAT = "the form in which JSON was asked for"
    RULES = "a schema that breaks the rules of strict mode"
    STREAM = "the pieces in which the answer was asked for"
    LENGTH = "a conversation that does not fit"
    REQUEST = "the request, for a reason that only its own words tell"
    CUT = "an answer that does not fit"


class Failure(Exception):
    """A failure at one model, internal to this capability; callers see `error`."""

    def __init__(
        self,
        error: RetinueError,
        why: Why = Why.SERVICE,
        *,
        text: str = "",
        heard: int | None = None,
        reads: int | None = None,
        counts_answer: bool = False,
    ) -> None:
        """Describe a failure.

        Args:
            error: What others see.
            why: What it means for the other models.
            text: What stands of an answer that was cut.
            heard: Characters of the answer that came, where the model may have worked; None where it surely did not.
            reads: How many tokens the model reads, where the service said so.
            counts_answer: Whether it counts the longest answer too.
        """
        super().__init__(error.message)
        self.error = error
        self.why = why
        self.text = text
        self.heard = heard
        self.reads = reads
        self.counts_answer = counts_answer


class Endpoint:
    """A connection to one model."""

    def __init__(self, spec: ModelSpec) -> None:
        self.spec = spec
        self._client = AsyncOpenAI(
            api_key=spec.key.get_secret_value(),
            base_url=spec.base_url,
            timeout=spec.timeout,
            max_retries=0,
            # the SDK would carry the whole conversation to wherever an answer sends it
            http_client=DefaultAsyncHttpxClient(follow_redirects=False),
        )

    async def close(self) -> None:
        """Close connections."""
        await self._client.close()

    async def create(
        self,
        messages: Iterable[Mapping[str, Any]],
        extra: Mapping[str, Any],
        *,
        within: float,
        heard: Callable[[str], None] | None = None,
    ) -> ChatCompletion:
        """Send one request.

        Args:
            messages: The conversation.
            extra: Further fields of the request.
            within: Seconds that are left for it; the model's own time-out may be shorter.
            heard: Told each piece of the answer while it comes; without one it comes in one piece.

        Raises:
            Failure: With ServiceUnavailable (not reachable, too slow, 5xx), ServiceBusy (429, or 503 with the pause that it
                asks for), ServiceRefused (any other 4xx, above all a wrong key), or MalformedAnswer (no chat completion).
        """
        seconds = min(self.spec.timeout, within)
        length = 0

        def listen(piece: str) -> None:
            nonlocal length
            length += len(piece)
            if heard is not None:
                heard(piece)

        # a plain dictionary: its shape is checked by the endpoint
        request: dict[str, Any] = {
            "model": self.spec.model,
            "messages": list(messages),
            self.spec.token_limit.value: self.spec.max_output_tokens,
            "timeout": seconds,
            **extra,
        }
        try:
            async with asyncio.timeout(seconds):  # the client's own time-out counts silences only
                completion: ChatCompletion
                if heard is not None:
                    completion = await streamed(self._client, request, listen)
                else:
                    completion = await self._client.chat.completions.create(**request)
        except (openai.OpenAIError, ValueError, TimeoutError, httpx2.HTTPError, BrokeOff) as error:
            # `from None`: the SDK's texts repeat request, headers and sometimes the key
            failure = self._translated(error, seconds, formatted="response_format" in extra)
            failure = self._of_a_stream(error, failure, begun=length > 0) if heard else failure
            failure.heard = length if _may_have_worked(error) else None
            raise failure from None
        return completion

    def use(self, completion: ChatCompletion, messages: Iterable[Mapping[str, Any]]) -> ModelUse:
        """What a request used: as the service counts it, and estimated where it does not say so in numbers."""
        used = completion.usage
        told_read, told_written = (
            _count(getattr(used, "prompt_tokens", 0)),
            _count(getattr(used, "completion_tokens", 0)),
        )
        read = told_read or tokens_of(messages)
        written = told_written or _tokens(_length(completion))
        details = getattr(used, "prompt_tokens_details", None)
        cached = min(_count(getattr(details, "cached_tokens", 0)), read)
        return self.used(read, cached, written, estimated=(read - told_read) + (written - told_written))

    def use_without_answer(self, messages: Iterable[Mapping[str, Any]], heard: int = 0) -> ModelUse:
        """What a request used of which no count came: all that was sent, and so many characters that came back."""
        read, written = tokens_of(messages), _tokens(heard)
        return self.used(read, 0, written, estimated=read + written)

    def used(self, input_tokens: int, cached_tokens: int, output_tokens: int, *, estimated: int = 0) -> ModelUse:
        """Return one request with so many tokens, and what it costs."""
        return ModelUse(
            requests=1,
            input_tokens=input_tokens,
            cached_tokens=cached_tokens,
            output_tokens=output_tokens,
            cost=self.spec.cost(input_tokens, cached_tokens, output_tokens),
            estimated_tokens=estimated,
        )

    def _translated(self, error: Exception, seconds: float, *, formatted: bool) -> Failure:
        if isinstance(error, (openai.APITimeoutError, TimeoutError)):
            return Failure(ServiceUnavailable(f"the language model did not answer within {seconds:g} seconds"))
        if isinstance(error, openai.APIStatusError):
            return self._by_status(error, formatted=formatted)
        if isinstance(error, openai.APIConnectionError):
            if isinstance(error.__cause__, _BROKE_OFF):
                return Failure(ServiceUnavailable(self._broke_off()))
            return Failure(
                unreachable(error, f"the language model at {self.spec.host}", hint=f"check {self.spec.settings}")
            )
        return Failure(MalformedAnswer(NO_COMPLETION))

    def _broke_off(self) -> str:
        return f"the language model at {self.spec.host} broke off in the middle of its answer"

    def _of_a_stream(self, error: Exception, failure: Failure, *, begun: bool) -> Failure:
        """What failed because the answer was to come in pieces: refused, broken off, or not in a form that can be read."""
        if isinstance(error, openai.APIStatusError):
            said = error.response.text[:_MOST_READ].lower()
            if error.status_code in (400, 405, 415, 422, 501) and "stream" in said:
                told = f"the language model at {self.spec.host} refused to answer in pieces"
                return Failure(ServiceRefused(told), Why.STREAM)
            return failure
        if type(error) is openai.APIError and _is_about_length(f"{error.message} {error.body}"):
            return self._too_long(f"{error.message} {error.body}")
        ended = isinstance(error, openai.APIConnectionError) and isinstance(error.__cause__, _BROKE_OFF) and begun
        if ended or isinstance(error, httpx2.HTTPError | BrokeOff) or type(error) is openai.APIError:
            return Failure(ServiceUnavailable(self._broke_off()), Why.STREAM)
        return failure

    def _by_status(self, error: openai.APIStatusError, *, formatted: bool) -> Failure:
        status, asked, host = error.status_code, error.response.headers.get("retry-after"), self.spec.host
        if status == 429 and error.code == "insufficient_quota":
            return Failure(ServiceRefused(f"the language model at {host} says that its quota is used up"))
        if status == 429 or (status == 503 and asked is not None):
            return Failure(busy(_retry_after(asked)))
        if status in (401, 403):
            told = f"the language model at {host} refused the key"
            return Failure(ServiceRefused(told, hint=f"check {self.spec.key_name}"))
        if status == 404:
            told = f"{host} knows no model {self.spec.model!r}"
            return Failure(ServiceRefused(told, hint=f"check {self.spec.settings}"))
        if status in (400, 413, 422, 500) and _is_about_length(said := error.response.text[:_MOST_READ]):
            return self._too_long(said)
        if status >= 500 or status in (408, 409):
            return Failure(ServiceUnavailable(f"the language model at {host} failed with status {status}"))
        return self._refused(error, formatted=formatted)

    def _refused(self, error: openai.APIStatusError, *, formatted: bool) -> Failure:
        said = error.response.text[:_MOST_READ].lower()
        told = f"the language model at {self.spec.host} refused the request with status {error.status_code}"
        if error.status_code == 413:
            return Failure(ServiceRefused(told, hint="the conversation may be too long for it"), Why.LENGTH)
        if formatted and _ABOUT_RULES.search(said):
            return Failure(ServiceRefused(told, hint="see REASONING_STRUCTURED"), Why.RULES)
        if formatted and any(words in said for words in _ABOUT_FORMAT):
            hint = "it lacks this kind of JSON answers; see REASONING_STRUCTURED"
            return Failure(ServiceRefused(told, hint=hint), Why.FORMAT)
        hint = "the conversation may be too long for it, or it may lack JSON-schema answers"
        return Failure(ServiceRefused(told, hint=hint), Why.REQUEST)

    def _too_long(self, said: str) -> Failure:
        """That the conversation is too long, with the numbers that the service tells: nothing else of it is repeated."""
        reads, sent = (_number(pattern, said) for pattern in (_READS, _SENT))
        numbers = [f"it reads {reads} tokens"] if reads else []
        numbers += [f"about {sent} were sent"] if sent else []
        told = f"the conversation is longer than the language model at {self.spec.host} reads"
        error = ServiceRefused(f"{told} ({', '.join(numbers)})" if numbers else told, hint=_LARGER)
        counts_answer = _COUNTS_ANSWER.search(said) is not None
        return Failure(error, Why.LENGTH, reads=int(reads) if reads else None, counts_answer=counts_answer)


def busy(seconds: float) -> ServiceBusy:
    """That a model wants to be asked again after so many seconds, and not before."""
    told = f"the language model is busy and asks to wait {seconds:.0f} seconds"
    if seconds <= LONGEST_WAIT:
        return ServiceBusy(told, retry_after=seconds)
    until = (datetime.now(UTC) + timedelta(seconds=seconds)).strftime("%Y-%m-%d %H:%M UTC")
    hint = "`bin/retinue doctor --clear-pauses`, or Services in the console, ends the pause"
    return ServiceBusy(f"{told}, until {until}", retry_after=seconds, hint=hint)


def _retry_after(value: str | None) -> float:
    """Seconds to wait, from a number or an HTTP date; a short pause when it says nothing usable."""
    for read in (float, _seconds_until):
        try:
            pause = read(value or "")
        except (ValueError, OverflowError):
            continue
        if isfinite(pause):
            return min(max(0.0, pause), _LONGEST_TOLD)
    return _DEFAULT_PAUSE


def _seconds_until(date: str) -> float:
    return parsedate_to_datetime(date).timestamp() - time()


def tokens_of(messages: Iterable[Mapping[str, Any]]) -> int:
    """About how many tokens messages have, rather too many."""
    return _tokens(sum(len(str(message["content"])) for message in messages)) + 1


def _tokens(chars: int) -> int:
    return -(-chars // _CHARS_OF_A_TOKEN)


def _length(completion: ChatCompletion) -> int:
    """Characters that the model wrote: text, thoughts and calls."""
    try:
        message = completion.choices[0].message
        calls = [call.function.arguments for call in getattr(message, "tool_calls", None) or ()]
        written = [message.content, getattr(message, "reasoning_content", None), *calls]
        return sum(len(str(text)) for text in written if text)
    except (AttributeError, TypeError, LookupError):
        return 0


def _may_have_worked(error: Exception) -> bool:
    """Whether the model may have read the request: it was sent, and no answer says that it did not."""
    if isinstance(error, openai.APIStatusError):
        return error.status_code in _GATEWAY_GAVE_UP
    return not isinstance(error.__cause__, _NEVER_SENT)


def _is_about_length(said: str) -> bool:
    return _ABOUT_LENGTH.search(said) is not None


def _number(pattern: re.Pattern[str], said: str) -> str | None:
    found = pattern.search(said)
    return next(filter(None, found.groups()), None) if found else None


def _count(value: object) -> int:
    return value if isinstance(value, int) and value > 0 else 0
