"""JSON values: how large they are, and how a large one is cut. Pure."""

from __future__ import annotations

import json
from typing import Any

from pydantic import JsonValue


def json_size(value: Any) -> int:
    """How many bytes a value takes as JSON."""
    return len(json.dumps(value, ensure_ascii=False).encode())


def cut(value: JsonValue, limit: int) -> JsonValue:
    """The value, or the beginning of its JSON text with a mark when it takes more than `limit` bytes."""
    text = json.dumps(value, ensure_ascii=False)
    if len(text.encode()) <= limit:
        return value
    return f"{text[: limit // 2]} [cut: {len(text)} characters in all]"
