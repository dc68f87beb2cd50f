"""JSON values: size, shortening, canonical form and hash. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any

from pydantic import JsonValue

from retinue.text import whole


def json_size(value: Any) -> int:
    """Return the size of a value as JSON, in bytes."""
    return len(json.dumps(value, ensure_ascii=False).encode())


def canonical_json(value: Any) -> str:
    """Return JSON with sorted keys and no blanks: the same text for equal values."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def json_sha256(value: Any) -> str:
    """Return the SHA-256 (hex) of a value's canonical JSON."""
    return hashlib.sha256(canonical_json(value).encode(errors="surrogatepass")).hexdigest()


def map_texts(value: Any, change: Callable[[str], str]) -> Any:
    """Return a JSON value with every text and every name in it mapped."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return {change(str(name)): map_texts(item, change) for name, item in value.items()}
    return [map_texts(item, change) for item in value] if isinstance(value, list) else value


def whole_values(value: JsonValue) -> JsonValue:
    """Return a JSON value in which every text and every name is `whole`."""
    changed: JsonValue = map_texts(value, whole)
    return changed


def cut(value: JsonValue, limit: int) -> JsonValue:
    """Return the value, or the marked beginning of its JSON text if it exceeds `limit` bytes."""
    text = json.dumps(value, ensure_ascii=False)
    if len(text.encode()) <= limit:
        return value
    return f"{text[: limit // 2]} [cut: {len(text)} characters in all]"
