"""Answers in JSON from endpoints of every kind: how each is asked for them, and how they are read."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from activities.reasoning.settings import Structured

Messages = list[Mapping[str, Any]]
_ORDER = list(Structured)
_FENCED = re.compile(r"```(?:json)?[ \t]*\n(.*?)\n?[ \t]*```", re.DOTALL | re.IGNORECASE)
_THOUGHT = re.compile(r"\s*<think>.*?</think>", re.DOTALL | re.IGNORECASE)
_AS_TEXT = {"type": "string", "description": "a JSON object, written as text"}
_STRICT = "Write every value whose type is a string that holds a JSON object as such text."


def asked_less(form: Structured) -> Structured | None:
    """The form that asks less of an endpoint; None where nothing less can be asked."""
    place = _ORDER.index(form) + 1
    return _ORDER[place] if place < len(_ORDER) else None


def asked(
    messages: Iterable[Mapping[str, Any]], response_format: Mapping[str, Any] | None, form: Structured
) -> tuple[Messages, dict[str, Any]]:
    """The messages and further fields with which an endpoint of this form is asked for what `response_format` says."""
    said = list(messages)
    if response_format is None:
        return said, {}
    if response_format["type"] != "json_schema" or form is Structured.JSON_SCHEMA:
        return said, {"response_format": dict(response_format)}
    schema = response_format["json_schema"]["schema"]
    if form is Structured.STRICT:
        written = {**response_format["json_schema"], "schema": strict(schema), "strict": True}
        return _told(said, _STRICT), {"response_format": {"type": "json_schema", "json_schema": written}}
    told = f"Your answer is one JSON object and nothing else. Its JSON schema:\n{json.dumps(schema)}"
    return _told(said, told), {"response_format": {"type": "json_object"}} if form is Structured.JSON_OBJECT else {}


def _told(messages: Messages, told: str) -> Messages:
    """Added to the first message, since some models take no further ones of the system."""
    if not messages:
        return [{"role": "system", "content": told}]
    first = {**messages[0], "content": f"{messages[0]['content']}\n\n{told}"}
    return [first, *messages[1:]]


def strict(schema: Any) -> Any:
    """The schema as OpenAI's strict mode takes it: all fields required, none added, and free objects as text."""
    if isinstance(schema, list):
        return [strict(item) for item in schema]
    if not isinstance(schema, Mapping):
        return schema
    if schema.get("type") == "object" and not schema.get("properties"):
        return dict(_AS_TEXT)
    inner = {name: strict(value) for name, value in schema.items()}
    if "properties" in inner:
        inner |= {"required": list(inner["properties"]), "additionalProperties": False}
    return inner


def json_in(text: str) -> str:
    """The one JSON object that a text holds: alone, in the one fence, or between words. Else the text as it is.

    Two objects are none: nobody could tell which one is meant, and whoever reads the answer says so to the model.
    """
    said = _THOUGHT.sub("", text, count=1).strip() if _THOUGHT.match(text) else text.strip()
    if said.startswith("{"):
        return said
    fenced = _FENCED.findall(said)
    if fenced:
        return str(fenced[0]).strip() if len(fenced) == 1 else text
    return _only_object(said) or text


def _only_object(said: str) -> str | None:
    start = said.find("{")
    if start < 0:
        return None
    try:
        _, end = json.JSONDecoder().raw_decode(said, start)
    except (ValueError, RecursionError):
        return None
    return None if "{" in said[end:] else said[start:end]
