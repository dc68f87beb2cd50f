"""One request to a language model, with every way it can go wrong as a typed error.

Only Chat Completions is used, since every compatible server speaks it. The SDK's own retries are off: Temporal retries.
"""

from __future__ import annotations

from collections.abc import Iterable
from email.utils import parsedate_to_datetime
from math import isfinite
from time import time
from typing import Any
from urllib.parse import urlsplit

import openai
from openai import AsyncOpenAI
from openai.types.chat import ChatCompletion

from activities.reasoning.contract import Usage
from activities.reasoning.settings import ReasoningSettings
from retinue.errors import CutAnswer, MalformedAnswer, RetinueError, ServiceBusy, ServiceRefused, ServiceUnavailable

MAX_ANSWER_CHARS = 100_000
_DEFAULT_PAUSE = 5.0
_NO_COMPLETION = "the language model's service did not answer with a chat completion"


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
        self, messages: Iterable[dict[str, str]], *, response_format: dict[str, Any] | None = None
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
        try:
            completion = await self._client.chat.completions.create(
                model=self._settings.model,
                messages=list(messages),  # type: ignore[arg-type]  # role and content are checked by the endpoint
                max_completion_tokens=self._settings.max_output_tokens,
                **extra,
            )
        except (openai.OpenAIError, ValueError) as error:
            # `from None`: the SDK's texts repeat request, headers and sometimes the key
            raise self._translated(error) from None
        try:
            return _text(completion), _usage(completion)
        except (AttributeError, TypeError, LookupError):  # the SDK does not check the shape of what it parses
            raise MalformedAnswer(_NO_COMPLETION) from None

    def _translated(self, error: Exception) -> RetinueError:
        host = urlsplit(self._settings.base_url).hostname or self._settings.base_url
        if isinstance(error, openai.APITimeoutError):
            return ServiceUnavailable(f"the language model did not answer within {self._settings.timeout:g} seconds")
        if isinstance(error, openai.APIStatusError):
            return _by_status(error.status_code, error.response.headers, model=self._settings.model, host=host)
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
            f"{host} knows no model {model!r}", hint="check RETINUE_MODEL and OPENAI_BASE_URL (it usually ends in /v1)"
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


def _text(completion: ChatCompletion) -> str:
    choices = getattr(completion, "choices", None)
    if not choices or choices[0].message is None:
        raise MalformedAnswer("the language model's service answered without a message")
    if choices[0].finish_reason == "length":
        raise CutAnswer("the language model's answer was cut off at its token limit")
    if choices[0].finish_reason == "content_filter":
        raise CutAnswer("the language model's provider withheld the answer")
    text = choices[0].message.content
    if not isinstance(text, str) or not text.strip():
        raise MalformedAnswer("the language model's answer is empty")
    if len(text) > MAX_ANSWER_CHARS:
        raise CutAnswer(f"the language model's answer has {len(text)} characters; at most {MAX_ANSWER_CHARS} are read")
    return text


def _usage(completion: ChatCompletion) -> Usage:
    """What it used, as far as the service says so in numbers; a good answer is not refused for its bookkeeping."""
    used = completion.usage
    return Usage(
        requests=1,
        input_tokens=_count(getattr(used, "prompt_tokens", 0)),
        output_tokens=_count(getattr(used, "completion_tokens", 0)),
    )


def _count(value: object) -> int:
    return value if isinstance(value, int) and value > 0 else 0
