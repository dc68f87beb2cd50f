"""The tiny requests by which it is found out in which form an endpoint answers in JSON: one, at most two.

A schema with an optional field is asked for by `strict: true`. Services with OpenAI's strict mode refuse such a schema before
any model is asked; servers that build a grammar from a schema keep to it, although the question wants another answer; and
others ignore it.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from openai.types.chat import ChatCompletion

from activities.reasoning.answers import json_of
from activities.reasoning.endpoint import Failure, Why
from activities.reasoning.settings import Structured
from activities.reasoning.structured import json_in
from retinue.errors import CutAnswer, RetinueError

MESSAGES: list[Mapping[str, Any]] = [{"role": "user", "content": "Name one vegetable."}]
NAME = "probe"
MAX_TOKENS = 300
"""Of an answer; models that think first need some."""
_FRUIT = "kiwi"
_SCHEMA = {
    "type": "object",
    "properties": {"fruit": {"type": "string", "enum": [_FRUIT]}, "note": {"type": "string"}},
    "required": ["fruit"],
    "additionalProperties": False,
}
_BY_SCHEMA = {"type": "json_schema", "json_schema": {"name": NAME, "strict": True, "schema": _SCHEMA}}
_BESIDE_OBJECT = {"type": "json_object", "schema": _SCHEMA}
_REFUSALS = (Why.FORMAT, Why.RULES, Why.REQUEST)
Ask = Callable[[dict[str, Any]], Awaitable[ChatCompletion]]
"""Sends the request with these further fields.

Raises:
    Failure: There is no answer.
"""


async def find_form(ask: Ask) -> tuple[Structured, str]:
    """Return in which form an endpoint answers in JSON, and how that is known, in words.

    Raises:
        Failure: It did not answer, for a reason that has nothing to do with the form.
    """
    unclear = False
    try:
        kept = _keeps(await ask({"response_format": _BY_SCHEMA}))
    except Failure as failure:
        if failure.why is Why.RULES:
            return Structured.STRICT, "takes JSON schemas in strict mode"
        if failure.why not in _REFUSALS:
            raise
        kept, unclear = False, failure.why is Why.REQUEST
    if kept is None:
        return Structured.JSON_SCHEMA, "takes JSON schemas; whether it keeps to them is not known"
    if kept:
        return Structured.JSON_SCHEMA, "keeps to JSON schemas"
    return await _by_object(ask, unclear=unclear)


async def _by_object(ask: Ask, *, unclear: bool) -> tuple[Structured, str]:
    """Find it out where JSON schemas are refused or ignored; `unclear` where the refusal may be about something else."""
    try:
        completion = await ask({"response_format": _BESIDE_OBJECT})
    except Failure as failure:
        if failure.why not in _REFUSALS or (unclear and failure.why is Why.REQUEST):
            raise
        return Structured.JSON_OBJECT, "takes no JSON schemas; they are told in words, and every plan is checked"
    if _keeps(completion):
        return Structured.OBJECT_SCHEMA, "keeps to JSON schemas that are sent beside the form of a JSON object"
    if _is_object(completion):
        return Structured.JSON_OBJECT, "keeps to no JSON schema, but to JSON; they are told in words"
    return Structured.PROMPT, "ignores in which form it is asked to answer; schemas are told in words"


def _keeps(completion: ChatCompletion) -> bool | None:
    """Whether an answer keeps to the schema; None where it was cut before that was to be seen."""
    try:
        value = json.loads(json_in(json_of(completion, NAME)))
    except Failure as failure:
        return None if isinstance(failure.error, CutAnswer) else False
    except RetinueError:
        return False
    return bool(value.get("fruit") == _FRUIT and value.keys() <= {"fruit", "note"})


def _is_object(completion: ChatCompletion) -> bool:
    try:
        json_in(json_of(completion, NAME))
    except (Failure, RetinueError):
        return False
    return True
