"""One request to one model at one endpoint, with every way it can go wrong as a typed error.

Only Chat Completions is used, since every compatible server speaks it. The SDK's own retries are off: Temporal retries.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from email.utils import parsedate_to_datetime
from enum import StrEnum
from math import isfinite
from time import time
from typing import Any

import httpx2
import openai
from openai import AsyncOpenAI, DefaultAsyncHttpxClient
from openai.types.chat import ChatCompletion

from activities.reasoning.contract import ModelUse
from activities.reasoning.roster import ModelSpec
from activities.reasoning.streamed import BrokeOff, streamed
from retinue.errors import MalformedAnswer, RetinueError, ServiceBusy, ServiceRefused, ServiceUnavailable

NO_COMPLETION = "the language model's service did not answer with a chat completion"
_DEFAULT_PAUSE = 5.0
_ABOUT_FORMAT = ("response_format", "json_schema", "json schema", "json_object", "structured output", "guided")
_ABOUT_LENGTH = ("context_length", "context length", "maximum context", "too many tokens", "too long")
_MOST_READ = 4096
"""Characters of a refusal that are looked at. They are strangers' words: looked at, and never passed on."""


class Why(StrEnum):
    """What a failure means for the other models."""

    SERVICE = "the service"
    FORMAT = "the form in which JSON was asked for"
    STREAM = "the pieces in which the answer was asked for"
    LENGTH = "a conversation that does not fit"
    REQUEST = "the request, for a reason that only its own words tell"
    CUT = "an answer that does not fit"


class Failure(Exception):
    """What went wrong at one model. It stays inside this capability: others see `error`."""

    def __init__(self, error: RetinueError, why: Why = Why.SERVICE) -> None:
        super().__init__(error.message)
        self.error = error
        self.why = why


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
                    completion = await streamed(self._client, request, heard)
                else:
                    completion = await self._client.chat.completions.create(**request)
        except (openai.OpenAIError, ValueError, TimeoutError, httpx2.HTTPError, BrokeOff) as error:
            # `from None`: the SDK's texts repeat request, headers and sometimes the key
            failure = self._translated(error, seconds, formatted="response_format" in extra)
            raise (self._of_a_stream(error, failure) if heard else failure) from None
        return completion

    def use(self, completion: ChatCompletion) -> ModelUse:
        """What it used, as far as the service says so in numbers; a good answer is not refused for its bookkeeping."""
        used = completion.usage
        input_tokens = _count(getattr(used, "prompt_tokens", 0))
        details = getattr(used, "prompt_tokens_details", None)
        cached = min(_count(getattr(details, "cached_tokens", 0)), input_tokens)
        return self.used(input_tokens, cached, _count(getattr(used, "completion_tokens", 0)))

    def used(self, input_tokens: int, cached_tokens: int, output_tokens: int) -> ModelUse:
        """One request with so many tokens, and what it costs."""
        return ModelUse(
            requests=1,
            input_tokens=input_tokens,
            cached_tokens=cached_tokens,
            output_tokens=output_tokens,
            cost=self.spec.cost(input_tokens, cached_tokens, output_tokens),
        )

    def _translated(self, error: Exception, seconds: float, *, formatted: bool) -> Failure:
        if isinstance(error, (openai.APITimeoutError, TimeoutError)):
            return Failure(ServiceUnavailable(f"the language model did not answer within {seconds:g} seconds"))
        if isinstance(error, openai.APIStatusError):
            return self._by_status(error, formatted=formatted)
        if isinstance(error, openai.APIConnectionError):
            return Failure(ServiceUnavailable(f"the language model at {self.spec.host} cannot be reached"))
        return Failure(MalformedAnswer(NO_COMPLETION))

    def _of_a_stream(self, error: Exception, failure: Failure) -> Failure:
        """What failed because the answer was to come in pieces: refused, broken off, or not in a form that can be read."""
        if isinstance(error, openai.APIStatusError):
            said = error.response.text[:_MOST_READ].lower()
            if error.status_code in (400, 405, 415, 422, 501) and "stream" in said:
                told = f"the language model at {self.spec.host} refused to answer in pieces"
                return Failure(ServiceRefused(told), Why.STREAM)
            return failure
        if isinstance(error, httpx2.HTTPError | BrokeOff) or type(error) is openai.APIError:
            told = f"the language model at {self.spec.host} broke off in the middle of its answer"
            return Failure(ServiceUnavailable(told), Why.STREAM)
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
        if status >= 500 or status in (408, 409):
            return Failure(ServiceUnavailable(f"the language model at {host} failed with status {status}"))
        return self._refused(error, formatted=formatted)

    def _refused(self, error: openai.APIStatusError, *, formatted: bool) -> Failure:
        said = error.response.text[:_MOST_READ].lower()
        told = f"the language model at {self.spec.host} refused the request with status {error.status_code}"
        if error.status_code == 413 or any(words in said for words in _ABOUT_LENGTH):
            return Failure(ServiceRefused(told, hint="the conversation may be too long for it"), Why.LENGTH)
        if formatted and any(words in said for words in _ABOUT_FORMAT):
            hint = "it lacks this kind of JSON answers; see REASONING_STRUCTURED"
            return Failure(ServiceRefused(told, hint=hint), Why.FORMAT)
        hint = "the conversation may be too long for it, or it may lack JSON-schema answers"
        return Failure(ServiceRefused(told, hint=hint), Why.REQUEST)


def busy(seconds: float) -> ServiceBusy:
    """That a model wants to be asked again after so many seconds, and not before."""
    told = f"the language model is busy and asks to wait {seconds:.0f} seconds"
    return ServiceBusy(told, retry_after=seconds)


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


def _count(value: object) -> int:
    return value if isinstance(value, int) and value > 0 else 0
