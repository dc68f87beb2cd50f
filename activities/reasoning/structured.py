"""Answers in JSON from endpoints of every kind: how each is asked for them, and how they are read."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import JsonValue

from activities.reasoning.plain_schema import Schema, plain, shared
from activities.reasoning.plan_format import AnswerFormat
from activities.reasoning.settings import Structured
from activities.reasoning.strict_schema import IN_WORDS, read_back, strict
from retinue.errors import MalformedAnswer
from retinue.json_values import whole_values

Messages = list[Mapping[str, Any]]
_LESS = {
    Structured.STRICT: Structured.JSON_SCHEMA,
    Structured.JSON_SCHEMA: Structured.JSON_OBJECT,
    Structured.OBJECT_SCHEMA: Structured.JSON_OBJECT,
    Structured.JSON_OBJECT: Structured.PROMPT,
}
NAMES = {
    Structured.STRICT: "JSON schemas in strict mode",
    Structured.JSON_SCHEMA: "JSON schemas",
    Structured.OBJECT_SCHEMA: "JSON schemas beside the form of a JSON object",
    Structured.JSON_OBJECT: "the form of a JSON object",
    Structured.PROMPT: "schemas in words",
}
_AROUND = "\ufeff \t\r\n"
_NOTHING = "the language model's answer holds no JSON object"
_TWICE = "a name stands twice in one object"
_FENCE = re.compile(r"```[ \t]*(?:json[5c]?)?[ \t]*\s*(?=\{)", re.IGNORECASE)
_FENCE_BEFORE = re.compile(r"```[ \t]*(?:json[5c]?)?[ \t]*\s*\Z", re.IGNORECASE)
_LONGEST_FENCE = 40
_FENCE_END = re.compile(r"\s*```")
_PROSE = re.compile(r"\{[\w .-]{1,60}\}")
"""Braces around words or a number, such as `{name}`."""
_LAST_COMMA = re.compile(r'"(?:[^"\\]|\\.)*"|(?<=[\w"}\]]),(?=\s*[}\]])', re.DOTALL)
"""Texts, which stay as they are, and commas behind the last value of a list or an object."""
_TAG = r"(?:think|thinking|thought|thoughts|reasoning|seed:think)"
_AFTER_THOUGHTS = re.compile(rf"</{_TAG}>|\[/THINK\]|<\|channel\|>final<\|message\|>", re.IGNORECASE)
_THOUGHTS = re.compile(rf"</?{_TAG}>|\[/?THINK\]|<\|channel\|>", re.IGNORECASE)
_THOUGHTS_BEGIN = re.compile(rf"<{_TAG}>|\[THINK\]|<\|channel\|>analysis", re.IGNORECASE)
_LEADING_THOUGHTS = re.compile(
    rf"<({_TAG})>.*?</\1>|\[THINK\].*?\[/THINK\]|<\|channel\|>analysis.*<\|channel\|>final<\|message\|>",
    re.DOTALL | re.IGNORECASE,
)
_ORPHAN_END = re.compile(rf"^[ \t]*(?:</{_TAG}>|\[/THINK\])[ \t]*\r?$", re.MULTILINE | re.IGNORECASE)
_MOST_THOUGHTS = 8
"""Ends of thoughts that are looked behind, and the last one."""


def asked_less(form: Structured) -> Structured | None:
    """Return the form that asks less of an endpoint; None where nothing less can be asked."""
    return _LESS.get(form)


def asked(
    messages: Iterable[Mapping[str, Any]], answer_format: AnswerFormat | None, form: Structured
) -> tuple[Messages, dict[str, Any]]:
    """Return the messages and further fields with which an endpoint of this form is asked for an answer."""
    said = list(messages)
    if answer_format is None:
        return said, {}
    strictly = _strict_form(answer_format) if form is Structured.STRICT else None
    if strictly:
        return _told(said, IN_WORDS), _by_schema({"name": answer_format.name, "schema": strictly[0], "strict": True})
    exact = shared(answer_format.schema) if answer_format.plain else answer_format.schema
    if form in (Structured.STRICT, Structured.JSON_SCHEMA):
        return said, _by_schema({"name": answer_format.name, "schema": exact})
    if form is Structured.OBJECT_SCHEMA:
        return said, {"response_format": {"type": "json_object", "schema": exact}}
    schema = answer_format.words or answer_format.schema
    told = f"Your answer is one JSON object and nothing else. Its JSON schema:\n{json.dumps(schema)}"
    return _told(said, told), {"response_format": {"type": "json_object"}} if form is Structured.JSON_OBJECT else {}


def holds_json(text: str) -> bool:
    """Whether an answer tries to be JSON; an endpoint that ignores what it was asked for gives words alone."""
    try:
        json_in(text)
    except MalformedAnswer as error:
        return error.message != _NOTHING
    return True


def read_as_asked(text: str, answer_format: AnswerFormat, form: Structured) -> str:
    """Return the JSON text of an answer as `answer_format` says it, in whatever form an endpoint was asked for it.

    An answer without one readable object is returned as it is: who reads it says what is wrong.
    """
    strictly = _strict_form(answer_format) if form is Structured.STRICT else None
    if strictly is None:
        return text
    try:
        value = json.loads(json_in(text))
    except MalformedAnswer:
        return text
    return json.dumps(read_back(value, strictly[1]), ensure_ascii=False)


def _strict_form(answer_format: AnswerFormat) -> tuple[Schema, Schema] | None:
    """Return the schema by which strict mode is asked, and the plain one by which the answer is read.

    None where no schema of the answer fits this mode.
    """
    exact = answer_format.schema if answer_format.plain else plain(answer_format.schema)
    for schema in (exact, answer_format.loose):
        if schema is not None and (found := strict(schema)) is not None:
            return shared(found), schema
    return None


def _by_schema(schema: dict[str, Any]) -> dict[str, Any]:
    return {"response_format": {"type": "json_schema", "json_schema": schema}}


def _told(messages: Messages, told: str) -> Messages:
    """Added to the first message, since some models take no further ones of the system."""
    if not messages:
        return [{"role": "system", "content": told}]
    first = {**messages[0], "content": f"{messages[0]['content']}\n\n{told}"}
    return [first, *messages[1:]]


def json_in(text: str) -> str:
    """Return the one JSON object of an answer as JSON text: alone, in a fence, between words, or after thoughts.

    Only what has one reading is read: a comma before a closing bracket and a line feed inside a text are passed over; two
    objects, a name that stands twice in one object, or an object inside the model's thoughts are refused.

    Raises:
        MalformedAnswer: There is no such object; the message says why, to the model and to the person.
    """
    said = text.strip(_AROUND)
    ends = [found.end() for found in _AFTER_THOUGHTS.finditer(said)]
    problem = None
    for start in (0, *ends[:_MOST_THOUGHTS], *ends[-1:]):
        try:
            return _one_object(said[start:])
        except MalformedAnswer as error:
            problem = error  # the last one is about what follows the thoughts
    raise problem or MalformedAnswer(_NOTHING)


def without_thoughts(text: str) -> str:
    """Return a text without the thoughts that some servers leave before it.

    Raises:
        MalformedAnswer: It holds thoughts and no answer after them.
    """
    said = text.strip(_AROUND)
    if found := _LEADING_THOUGHTS.match(said):
        said = said[found.end() :]
    elif _THOUGHTS_BEGIN.match(said):
        raise MalformedAnswer("the language model's answer ends inside its thoughts")
    elif (found := _ORPHAN_END.search(said)) and not _THOUGHTS.search(said[: found.start()]):
        said = said[found.end() :]
    return said.strip(_AROUND)


@dataclass(frozen=True)
class _Found:
    """An object inside a text: its position, and whether it is alone in a fence."""

    start: int
    end: int
    value: dict[str, JsonValue]
    fenced: bool


def _one_object(said: str) -> str:
    try:
        found, broken = _objects(said)
    except RecursionError:
        raise MalformedAnswer("the language model's answer holds JSON that is nested too deeply") from None
    fenced = [one for one in found if one.fenced]
    if broken and len(fenced) != 1:
        raise MalformedAnswer(f"the language model's answer holds JSON that cannot be read: {broken}")
    objects = fenced or found
    if not objects:
        raise MalformedAnswer(_NOTHING)
    if len(objects) > 1:
        raise MalformedAnswer("the language model's answer holds several JSON objects; write exactly one")
    [one] = objects
    if _THOUGHTS.search(said[: one.start]) or _THOUGHTS.search(said[one.end :]):
        raise MalformedAnswer("the language model's answer ends inside its thoughts")
    return json.dumps(whole_values(one.value), ensure_ascii=False)


def _objects(said: str) -> tuple[list[_Found], str | None]:
    """Return the outermost objects of a text, and what is wrong with the first that cannot be read.

    Braces around plain words are no objects. After broken JSON only a fence can tell where an object begins.
    """
    found: list[_Found] = []
    broken: str | None = None
    start = said.find("{")
    while start >= 0:
        if prose := _PROSE.match(said, start):
            start = said.find("{", prose.end())
            continue
        try:
            value, end = _decoded(said, start)
        except ValueError as error:
            broken = broken or _reason(error, said)
            fence = _FENCE.search(said, start)
            start = fence.end() if fence else -1
            continue
        before = said[max(0, start - _LONGEST_FENCE) : start]
        fenced = bool(_FENCE_BEFORE.search(before)) and bool(_FENCE_END.match(said, end))
        found.append(_Found(start, end, value, fenced))
        start = said.find("{", end)
    return found, broken


def _decoded(said: str, start: int) -> tuple[dict[str, JsonValue], int]:
    try:
        return _DECODER.raw_decode(said, start)
    except ValueError as error:
        # of the same length, so that places stay
        mended = said[:start] + _LAST_COMMA.sub(lambda found: " " if found[0] == "," else found[0], said[start:])
        if mended == said:
            raise
        try:
            return _DECODER.raw_decode(mended, start)
        except ValueError:
            raise error from None


def _once(pairs: list[tuple[str, JsonValue]]) -> dict[str, JsonValue]:
    if len({name for name, _ in pairs}) < len(pairs):
        raise ValueError(_TWICE)
    return dict(pairs)


def _reason(error: ValueError, said: str) -> str:
    if not isinstance(error, json.JSONDecodeError):
        return _TWICE if error.args == (_TWICE,) else "a number is too long"
    if error.pos >= len(said) or error.msg.startswith("Unterminated"):
        return "it ends in the middle"
    return f"{error.msg} at line {error.lineno}, column {error.colno}"


_DECODER = json.JSONDecoder(strict=False, object_pairs_hook=_once)
