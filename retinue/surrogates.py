"""Half characters: JSON can name one half of a UTF-16 pair, and no encoder, database or Temporal payload takes it."""

from __future__ import annotations

from pydantic import JsonValue


def whole(text: str) -> str:
    """Return the text with pairs of halves joined, and each half without its partner replaced by U+FFFD (�)."""
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def whole_values(value: JsonValue) -> JsonValue:
    """Return a JSON value in which every text and every name is `whole`."""
    if isinstance(value, str):
        return whole(value)
    if isinstance(value, list):
        return [whole_values(item) for item in value]
    if isinstance(value, dict):
        return {whole(name): whole_values(item) for name, item in value.items()}
    return value
