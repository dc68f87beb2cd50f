"""A chat completion that comes in pieces, put together to what it would have been in one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from openai import AsyncOpenAI, AsyncStream
from openai.types.chat import ChatCompletion, ChatCompletionChunk

MAX_ANSWER_CHARS = 100_000
"""The rest of a longer answer is not read, since the caller refuses it."""


class BrokeOff(Exception):
    """The pieces ended before the answer did."""


async def streamed(client: AsyncOpenAI, request: dict[str, Any], heard: Callable[[str], None]) -> ChatCompletion:
    """Send a request and read the answer piece by piece.

    A server that knows no streams, and answers in one piece, is understood too.

    Args:
        client: Of the endpoint.
        request: As for an answer in one piece.
        heard: Told each piece of text.

    Raises:
        BrokeOff: The pieces ended too soon.
        openai.OpenAIError: As for an answer in one piece.
        ValueError: It is neither a completion nor a stream of one.
    """
    answer = await client.chat.completions.with_raw_response.create(
        **request, stream=True, stream_options={"include_usage": True}
    )
    if "text/event-stream" not in answer.headers.get("content-type", ""):
        whole = answer.http_response
        await whole.aread()
        return _completion(whole.json())
    pieces: AsyncStream[ChatCompletionChunk] = answer.parse()
    try:
        return await _put_together(pieces, heard)
    finally:
        await pieces.close()


async def _put_together(pieces: AsyncStream[ChatCompletionChunk], heard: Callable[[str], None]) -> ChatCompletion:
    text: list[str] = []
    refusal: list[str] = []
    length, finish_reason, usage = 0, None, None
    async for piece in pieces:
        usage = getattr(piece, "usage", None) or usage
        for choice in (piece.choices or [])[:1]:
            finish_reason = choice.finish_reason or finish_reason
            content = _text(choice.delta)
            refusal.append(getattr(choice.delta, "refusal", None) or "")
            text.append(content)
            length += len(content)
            heard(content)
        if length > MAX_ANSWER_CHARS:
            finish_reason = "stop"
            break
    if finish_reason is None:
        raise BrokeOff
    message = {"role": "assistant", "content": "".join(text), "refusal": "".join(refusal)}
    choices = [{"index": 0, "finish_reason": finish_reason, "message": message}]
    return _completion({"choices": choices, "usage": usage})


def _text(delta: Any) -> str:
    """What a piece adds; where it is a list of parts, their texts and not the thoughts."""
    content = getattr(delta, "content", None)
    if isinstance(content, list):
        content = "".join(part.get("text") or "" for part in content if part.get("type") == "text")
    return content if isinstance(content, str) else ""


def _completion(content: Any) -> ChatCompletion:
    if not isinstance(content, dict):
        raise ValueError("no completion")
    return ChatCompletion.construct(**content)
