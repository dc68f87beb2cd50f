"""JSON values: how large they are, how a large one is cut, what is equal for equal ones. Pure."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from pydantic import JsonValue


def json_size(value: Any) -> int:
    """How many bytes a value takes as JSON."""
    return len(json.dumps(value, ensure_ascii=False).encode())


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no blanks: the same text for equal values."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def json_sha256(value: Any) -> str:
    """SHA-256 (hex) of a value's canonical JSON."""
    return hashlib.sha256(canonical_json(value).encode(errors="surrogatepass")).hexdigest()


def cut(value: JsonValue, limit: int) -> JsonValue:
    """The value, or the beginning of its JSON text with a mark when it takes more than `limit` bytes."""
    text = json.dumps(value, ensure_ascii=False)
    if len(text.encode()) <= limit:
        return value
    return f"{text[: limit // 2]} [cut: {len(text)} characters in all]"
