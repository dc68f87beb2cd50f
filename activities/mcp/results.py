"""What a call returned, in a form that fits into a run: text is cut, pictures and files are listed and never inlined."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from mcp_types import (
    AudioContent,
    BlobResourceContents,
    CallToolResult,
    EmbeddedResource,
    ImageContent,
    ResourceLink,
    TextContent,
    TextResourceContents,
)
from pydantic import BaseModel, Field

from retinue.operator_config import Redaction
from retinue.schemas.validator import Checker
from retinue.text import clip

_MAX_TEXT_BYTES = 160 * 1024
"""As JSON, of the 256 KiB that may leave a tool."""
_MAX_STRUCTURED_BYTES = 64 * 1024
"""Beside a text; alone it may have what the edge lets through."""
_MAX_ALONE_BYTES = 240 * 1024
_LONGEST_STRINGS = (32_000, 8_000, 2_000, 0)
"""Characters, tried in turn: long texts are cut until the whole fits. After the last one it is given up."""
_LONGEST_PLACE = 100
_PLAIN_NAME = re.compile(r"\w{1,40}", re.ASCII)
_MAX_LISTED = 40
_MAX_LISTED_TEXT = 500
_RESULTS = Checker()
_CUT = " [cut: the rest did not fit]"


class Outcome(BaseModel):
    """What came of a call: a result, or why there is none, in words of ours. It is what the ledger keeps."""

    result: dict[str, Any] = Field(default_factory=dict)
    failure: str = ""
    acted: bool = False
    """With a failure: the server says that it did it, and only its answer is of no use."""


def outcome(answer: CallToolResult, *, tool: str, schema: Mapping[str, Any] | None, redaction: Redaction) -> Outcome:
    """Read an answer.

    Args:
        answer: Of the server.
        tool: Our name, for messages.
        schema: Of the structured content, where the manifest says that this is the result.
        redaction: Hides secrets that the server repeats.
    """
    if answer.is_error:
        return Outcome(failure=f"the MCP server says that {tool} failed; its own words stay there")
    if schema is not None:
        return _structured(answer, tool, schema, redaction)
    return Outcome(result=_general(answer, redaction))


def _structured(answer: CallToolResult, tool: str, schema: Mapping[str, Any], redaction: Redaction) -> Outcome:
    content = redaction.value(answer.structured_content)
    if wrong := _mismatch(content, schema):
        return Outcome(
            failure=f"{tool} was called, but its answer is not what the MCP server had announced: {wrong}", acted=True
        )
    size = len(json.dumps(content))
    for longest in _LONGEST_STRINGS:
        if len(json.dumps(content)) <= _MAX_ALONE_BYTES:
            return Outcome(result=content)
        content = _with_short_strings(content, longest)
    return Outcome(
        failure=f"{tool} was called, but its answer of {size // 1024} KiB does not fit into a run; ask for less",
        acted=True,
    )


def _mismatch(content: Any, schema: Mapping[str, Any]) -> str:
    """What of an answer breaks its schema, in our words and the schema's; nothing where it fits."""
    if not isinstance(content, dict):
        return "it has no structured content"
    try:
        error = next(_RESULTS.errors(content, schema), None)
    except (re.error, ArithmeticError, RecursionError):
        return "its schema cannot be used"
    if error is None:
        return ""
    place = "/".join(_shown(part) for part in error.absolute_path)
    said = f"{error.validator} {error.validator_value}" if error.validator == "type" else f"{error.validator}"
    return f"/{place[:_LONGEST_PLACE]} breaks `{said}`"


def _shown(part: str | int) -> str:
    """Return a part of a path: names may be the server's words, so only those that look like names are repeated."""
    return str(part) if isinstance(part, int) or _PLAIN_NAME.fullmatch(part) else "?"


def _with_short_strings(value: Any, longest: int) -> Any:
    if isinstance(value, str):
        return value if len(value) <= longest else value[:longest] + _CUT
    if isinstance(value, dict):
        return {name: _with_short_strings(item, longest) for name, item in value.items()}
    if isinstance(value, list):
        return [_with_short_strings(item, longest) for item in value]
    return value


def _general(answer: CallToolResult, redaction: Redaction) -> dict[str, Any]:
    said = "\n".join(_texts(answer))
    text = _cut(redaction.text(said))
    listed = [redaction.value(entry) for entry in _listed(answer)]
    result: dict[str, Any] = {"text": text, "content": listed[:_MAX_LISTED]}
    content = redaction.value(answer.structured_content)
    fits = len(json.dumps(content)) <= _MAX_STRUCTURED_BYTES
    if content is not None and fits:
        result["structured"] = content
    return {**result, "truncated": text.endswith(_CUT) or len(listed) > _MAX_LISTED or not fits}


def _texts(answer: CallToolResult) -> Iterator[str]:
    for block in answer.content:
        if isinstance(block, TextContent):
            yield block.text
        elif isinstance(block, EmbeddedResource) and isinstance(block.resource, TextResourceContents):
            yield block.resource.text


def _listed(answer: CallToolResult) -> Iterator[dict[str, Any]]:
    for block in answer.content:
        if isinstance(block, ImageContent | AudioContent):
            yield {"type": block.type, "mime_type": clip(block.mime_type, 100), "bytes": len(block.data) * 3 // 4}
        elif isinstance(block, ResourceLink):
            yield _entry(block.type, block.uri, block.mime_type, name=block.name, bytes=block.size)
        elif isinstance(block, EmbeddedResource):
            held = block.resource
            yield _entry(block.type, held.uri, held.mime_type, bytes=_size(held))


def _size(held: TextResourceContents | BlobResourceContents) -> int:
    if isinstance(held, TextResourceContents):
        return len(held.text.encode(errors="replace"))
    return len(held.blob) * 3 // 4


def _entry(kind: str, uri: str, mime_type: str | None, **more: Any) -> dict[str, Any]:
    entry = {
        "type": kind,
        "uri": clip(str(uri), _MAX_LISTED_TEXT),
        "mime_type": clip(mime_type or "", 100),
        **more,
    }
    return {
        name: clip(value, _MAX_LISTED_TEXT) if isinstance(value, str) else value
        for name, value in entry.items()
        if value is not None
    }


def _cut(text: str) -> str:
    """As much of the beginning as fits, counted as the JSON that it becomes."""
    if (size := len(json.dumps(text))) <= _MAX_TEXT_BYTES:
        return text
    kept = text[: len(text) * _MAX_TEXT_BYTES // size]
    while len(json.dumps(kept)) > _MAX_TEXT_BYTES:
        kept = kept[: len(kept) * 9 // 10]
    return kept + _CUT
