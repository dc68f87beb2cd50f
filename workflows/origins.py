"""Where the values of an action came from: the person's own words, an earlier step, or the model."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from enum import StrEnum

from pydantic import BaseModel, Field, JsonValue

from activities.reasoning.contract import Reasoning
from retinue.plan import BoundStep, pointer, references
from retinue.text import safe

_FIELDS_SHOWN = 5
_FIELD_CHARS = 100


class Source(StrEnum):
    """Who a value comes from."""

    USER = "user"
    CONTACTS = "contacts"
    OWN = "own"
    STRANGERS = "strangers"
    MODEL = "model"

    @classmethod
    def _missing_(cls, value: object) -> Source | None:
        """Runs that ended before 0.2 recorded 'step' for every value taken from a result."""
        return cls.STRANGERS if value == "step" else None


class Origin(BaseModel):
    """Where one value of an action came from."""

    path: str = Field(description="JSON pointer into the arguments")
    source: Source = Field(
        description="'user' typed it, 'contacts' are the person's address book, 'own' is other data of the person's, "
        "'strangers' may have written it, 'model' made it up"
    )
    step_id: str | None = Field(None, description="the earlier step whose result it was taken from")
    tool: str | None = None
    out_of: list[str] = Field(
        default_factory=list,
        description="the steps before that one, as 's2 (email.read)', out of whose results strangers' words came into it",
    )
    trusted: bool = Field(description="false where strangers may have written it or nobody typed it")


def trace(
    step: BoundStep,
    steps: Mapping[str, BoundStep],
    said: Sequence[str],
    *,
    typed: Collection[str] = (),
    known: Collection[str] = (),
    after_strangers: bool = False,
) -> list[Origin]:
    """The origins of every referenced value of a step and of every value that decides where data goes.

    Args:
        step: The step with its arguments as planned, references unresolved.
        steps: All steps of the run by id.
        said: What the person typed, in sentences.
        typed: Whole values that the person wrote into arguments, in lower case.
        known: Addresses that stand in results from the person's address book, in lower case.
        after_strangers: An agent wrote the arguments after it had read strangers' words, so they count as theirs.
    """
    words = "\n".join(said).casefold()
    found = {origin.path: origin for origin in _references("", step.args, steps)}
    for path in step.annotations.sensitive:
        for leaf, value in leaves(path, at(step.args, path)):
            if leaf not in found:
                text = str(value).casefold()
                theirs = text in typed or _stands_in(text, words)
                source = _source_of(text, theirs, known, after_strangers=after_strangers)
                found[leaf] = Origin(path=leaf, source=source, trusted=source in (Source.USER, Source.CONTACTS))
    return list(found.values())


def _source_of(value: str, theirs: bool, known: Collection[str], *, after_strangers: bool) -> Source:
    """Whose a written value is. What the person typed or has in the address book is theirs, whoever repeats it."""
    if theirs:
        return Source.USER
    if value in known:
        return Source.CONTACTS
    return Source.STRANGERS if after_strangers else Source.MODEL


def addresses(result: JsonValue, fields: Collection[str]) -> Iterator[str]:
    """Every text in a result at a field of one of these names, in lower case."""
    if isinstance(result, dict):
        for name, value in result.items():
            if name in fields and isinstance(value, str):
                yield value.casefold()
            else:
                yield from addresses(value, fields)
    elif isinstance(result, list):
        for item in result:
            yield from addresses(item, fields)


_BEFORE = r"""(?:(?<![^\s<(\[{"“«,;:])|(?<=\s'))"""
_AFTER = r"""(?=[.!?:>)\]}"”»']*(?:[\s,;]|$))"""
"""What may stand around a value that counts as typed. Everything else may be a part of an address, so that with
`o'brien@example.com` only the whole is typed, and no `brien@example.com`."""


def _stands_in(value: str, words: str) -> bool:
    """Whether the person typed exactly this, and not something that only begins or ends like it."""
    return re.search(f"{_BEFORE}{re.escape(value)}{_AFTER}", f" {words}") is not None


def describe(args: Mapping[str, JsonValue], results: Mapping[str, JsonValue]) -> dict[str, str]:
    """By argument, what the thing is of which a referenced value is only a part: the event behind an `event_id`.

    Taken from the true result of the step that was referred to. It may hold the words of strangers and is only shown.
    """
    found: dict[str, str] = {}
    for name, value in args.items():
        if isinstance(value, dict) and "$from" in value and (parent := _parent(value, results)):
            found[name] = "; ".join(
                f"{safe(key.replace('_', ' '))} {safe(_short(text))}" for key, text in parent.items()
            )
    return found


def _parent(reference: Mapping[str, JsonValue], results: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """The plain fields beside the one that was taken, ids left out; none when the value is no object's field."""
    path, _, last = str(reference.get("path") or "").rpartition("/")
    try:
        around = pointer(results[str(reference["$from"])], path)
    except LookupError:
        return {}
    fields = around if isinstance(around, dict) and isinstance(around.get(last), str) and last.endswith("_id") else {}
    plain = {key: text for key, text in fields.items() if isinstance(text, str) and text and not key.endswith("_id")}
    return dict(list(plain.items())[:_FIELDS_SHOWN])


def _short(value: JsonValue) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= _FIELD_CHARS else f"{text[: _FIELD_CHARS - 1]}…"


def _references(path: str, value: JsonValue, steps: Mapping[str, BoundStep]) -> Iterator[Origin]:
    if isinstance(value, dict):
        if "$from" in value:
            source = steps[str(value["$from"])]
            whose = _source_of_result(source, str(value.get("path") or ""), steps)
            yield Origin(
                path=path,
                source=whose,
                step_id=source.id,
                tool=source.tool,
                out_of=list(_out_of(source, steps, {source.id})) if whose is Source.STRANGERS else [],
                trusted=whose in (Source.CONTACTS, Source.OWN),
            )
        else:
            for key, item in value.items():
                yield from _references(f"{path}/{key}", item, steps)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _references(f"{path}/{index}", item, steps)


def _out_of(step: BoundStep, steps: Mapping[str, BoundStep], seen: set[str]) -> Iterator[str]:
    """The nearest steps before this one that strangers could write into; a model's text only passes on what it read."""
    for step_id, _ in references(step.args):
        before = steps.get(step_id)
        if before is None or step_id in seen or trusted(before, steps):
            continue
        seen.add(step_id)
        if before.annotations.trusted_output or before.capability == Reasoning.name:
            yield from _out_of(before, steps, seen)
        else:
            yield f"{before.id} ({before.tool})"


def _source_of_result(source: BoundStep, path: str, steps: Mapping[str, BoundStep]) -> Source:
    if path.rpartition("/")[2] in source.annotations.known_destinations:
        return Source.CONTACTS
    return Source.OWN if trusted(source, steps) else Source.STRANGERS


def trusted(source: BoundStep, steps: Mapping[str, BoundStep], known: dict[str, bool] | None = None) -> bool:
    """A result is as trusted as its tool, whoever chose its arguments, and all that went into it: tools echo.

    What went into it in a turn of a chat that is forgotten by now counts as strangers'.
    """
    known = {} if known is None else known
    if source.id not in known:
        known[source.id] = (
            source.annotations.trusted_output
            and not source.steered
            and all(
                step_id in steps and trusted(steps[step_id], steps, known) for step_id, _ in references(source.args)
            )
        )
    return known[source.id]


def leaves(path: str, value: JsonValue) -> Iterator[tuple[str, JsonValue]]:
    """Every plain value inside a value with its JSON pointer, references left out."""
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from leaves(f"{path}/{index}", item)
    elif isinstance(value, dict):
        if "$from" not in value:
            for key, item in value.items():
                yield from leaves(f"{path}/{key}", item)
    elif value is not None:
        yield path, value


def at(args: Mapping[str, JsonValue], path: str) -> JsonValue:
    """What stands at a JSON pointer, None where nothing does."""
    try:
        return pointer(dict(args), path)
    except LookupError:
        return None
