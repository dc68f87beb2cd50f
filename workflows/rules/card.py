"""The card of an action: what a person must see before they decide, most important first. Pure.

It lists destinations first, each address in full; then what the ids refer to now; then changes with what they remove; then
texts. The order comes from the tool's schema, never from the model. Every surface shows this card: console, command line,
Temporal Web UI, MCP, A2A, AG-UI and chats; most show the text of `rendered`. Values on the card are sanitized; the
approval's `args` hold the exact values.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, TypeGuard

from pydantic import BaseModel, Field, JsonValue

from retinue.addresses import readable_domain
from retinue.capability import ACCOUNT
from retinue.provenance.wording import origin_words, undo_words
from retinue.text import clip, safe
from workflows.rules.json_args import at, leaves_and_references
from workflows.rules.provenance import Origin

TEXT_SHOWN = 4000
"""Characters of a text that a card shows."""
_LINE = 160
"""Characters; a longer value is a text."""
_FACTS = 8
_FACT = 120
_ADDRESS = 320
"""Characters: no mail address is longer."""
_LISTED = 10
_TEXTS = frozenset({"body", "text", "message", "description", "notes", "content", "instruction"})
_ID = re.compile(r"(?:.*_)?ids?")
_MOMENT = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?(?:Z|[+-]\d{2}:\d{2})")
_MISSING = object()


class Form(StrEnum):
    """The kind of an action, where the console shows it in a familiar form."""

    MAIL = "mail"
    EVENT = "event"
    OTHER = "other"


class Role(StrEnum):
    """The role of a value in an action."""

    DESTINATION = "destination"
    CHANGE = "change"
    TEXT = "text"


class CardLine(BaseModel):
    """One argument of the action."""

    argument: str = Field(description="its name, or a JSON pointer into it")
    label: str = Field(description="its name for people")
    role: Role
    values: list[str] = Field(default_factory=list, description="each in full, unless it is a text")
    note: str = Field("", description="effect on the present value, as in 'removes all 4: ...'")
    length: int | None = Field(None, description="characters of the whole text, if only its beginning is shown")


class CardFact(BaseModel):
    """One field of a thing that an id refers to."""

    label: str
    value: str


class CardThing(BaseModel):
    """The thing that an id refers to."""

    argument: str
    label: str
    id: str
    facts: list[CardFact] = Field(default_factory=list, description="as they are now")
    by_others: bool = Field(False, description="others may have written the facts")
    problem: str = Field("", description="why it is unknown what the id refers to")


class CardOrigin(BaseModel):
    """The origin of a value."""

    label: str
    value: str = ""
    words: str
    trusted: bool


class Card(BaseModel):
    """What would happen, in reading order."""

    form: Form = Form.OTHER
    lines: list[CardLine] = Field(default_factory=list, description="destinations, then changes, then texts")
    things: list[CardThing] = Field(default_factory=list, description="what ids refer to; shown after destinations")
    origins: list[CardOrigin] = Field(default_factory=list)
    undo: str = Field("", description="whether it can be undone, in words")
    notes: list[str] = Field(
        default_factory=list, description="what is worth knowing before, as in 'overlaps with Dentist, 10:00 to 11:00'"
    )


@dataclass(frozen=True)
class Advice:
    """What a capability has to say about an action before it is decided.

    Attributes:
        args: The arguments that it was asked about; it says nothing about others.
        notes: Texts for the person.
        by_others: Whether they may quote what others wrote.
    """

    args: Mapping[str, JsonValue]
    notes: Sequence[str]
    by_others: bool = True


@dataclass(frozen=True)
class Known:
    """What is known about an id in the arguments.

    Attributes:
        value: The id.
        found: The thing as it is now; None if it could not be read.
        fields: The fields that such a thing can have; those missing in `found` are empty.
        problem: Why it could not be read.
        by_others: Whether others may have written it.
    """

    value: JsonValue
    found: Mapping[str, JsonValue] | None = None
    fields: frozenset[str] = frozenset()
    problem: str = ""
    by_others: bool = True


@dataclass(frozen=True)
class Subject:
    """What a card needs besides the arguments.

    Attributes:
        schema: Of the arguments; empty if unknown.
        sensitive: JSON pointers of arguments that decide where data goes.
        things: By argument, what is known about the id in it.
        about: By argument, what an earlier step of the run returned about the thing that its value was taken from.
        origins: Of the values.
        undo: The tool that undoes the action.
        read_only: Whether it changes nothing.
        alone: Whether only the requester decides.
        advice: What the capability has to say about it.
        account: The person's account that it uses, in words; empty for the capability's own data.
    """

    schema: Mapping[str, Any]
    sensitive: Sequence[str] = ()
    things: Mapping[str, Known] | None = None
    about: Mapping[str, str] | None = None
    origins: Sequence[Origin] = ()
    undo: str | None = None
    read_only: bool = False
    alone: bool = True
    advice: Advice | None = None
    account: str = ""


def card_of(args: Mapping[str, JsonValue], subject: Subject) -> Card:
    """Return the card of an action with these arguments."""
    places = {place for place in subject.sensitive if _is_destination(at(args, place))}
    things = [thing for name in _in_order(args, subject.schema) for thing in _thing(name, args[name], subject)]
    shown = {thing.argument.partition("/")[0] for thing in things} | {place[1:] for place in places}
    shown |= {ACCOUNT} if subject.account else set()
    rest = [
        line for name in _in_order(args, subject.schema) if name not in shown for line in _line(name, args, subject)
    ]
    form = _form(args, subject)
    return Card(
        form=form,
        lines=[
            *_account(form, subject.account),
            *(line for place in subject.sensitive if place in places for line in _destination(place, args, subject)),
            *sorted(rest, key=lambda line: line.role is Role.TEXT),
        ],
        things=things,
        origins=[_origin(origin, args, alone=subject.alone) for origin in subject.origins],
        undo=_undo(subject),
        notes=[*_notes(args, subject.advice)],
    )


def rendered(title: str, card: Card) -> str:
    """Return the card as text: the action and all its arguments. A model phrases none of it."""
    first = [line for line in card.lines if line.role is Role.DESTINATION]
    others = [line for line in card.lines if line.role is not Role.DESTINATION]
    parts = (
        [title],
        *(_line_text(line) for line in first),
        *(_thing_text(thing) for thing in card.things),
        *(_line_text(line) for line in others),
        (f"Note: {note}" for note in card.notes),
    )
    return "\n".join(text for part in parts for text in part)


def destinations(title: str, card: Card) -> str:
    """Return the action and its destinations as text, the part of a card that must never be cut."""
    first = [line for line in card.lines if line.role is Role.DESTINATION]
    return rendered(title, Card(lines=first))


def listed(title: str, args: Mapping[str, JsonValue]) -> str:
    """Return arguments as text without knowledge of their tool."""
    card = card_of(args, Subject(schema={}))
    return rendered(title, card.model_copy(update={"things": [_without_problem(thing) for thing in card.things]}))


def _without_problem(thing: CardThing) -> CardThing:
    return thing.model_copy(update={"problem": ""})


def explained(card: Card | None, reasons: Sequence[str], *, why: bool = True) -> str:
    """Return the text below a card: origins of values, undo, and reasons.

    Args:
        card: Of the action; None for other questions.
        reasons: Why an approval is needed.
        why: False if the reasons are shown elsewhere.
    """
    lines = ["Asked because:", *(f"- {safe(reason)}" for reason in reasons)] if why and reasons else []
    if card and card.origins:
        lines += ["Where the values come from:", *(f"- {_origin_text(origin)}" for origin in card.origins)]
    undo = undo_words(card.undo, reasons) if card else ""
    return "\n".join([*lines, *([undo] if undo else [])])


def in_whole(preview: str, card: Card | None, reasons: Sequence[str]) -> str:
    """Return the card as text, with the explanation below it."""
    below = explained(card, reasons)
    return f"{preview}\n\n{below}" if below else preview


def label_of(name: str) -> str:
    """Return an argument's name, or a JSON pointer to it, for people."""
    return " ".join(safe(name.strip("/").replace("/", " ").replace("_", " ")).split())


def _in_order(args: Mapping[str, JsonValue], schema: Mapping[str, Any]) -> list[str]:
    """Return the argument names in the schema's order, then the others by name."""
    known = [name for name in schema.get("properties", {}) if name in args]
    return [*known, *sorted(name for name in args if name not in known)]


def _form(args: Mapping[str, JsonValue], subject: Subject) -> Form:
    names = {*subject.schema.get("properties", {}), *args}
    if {"to", "subject", "body"} <= names:
        return Form.MAIL
    return Form.EVENT if {"start", "end"} <= names and names & {"title", "event_id"} else Form.OTHER


def _account(form: Form, words: str) -> Iterator[CardLine]:
    """Return the line with the account that a mail goes out from, or on which anything else happens."""
    if words:
        label = "from" if form is Form.MAIL else ACCOUNT
        yield CardLine(argument=ACCOUNT, label=label, role=Role.DESTINATION, values=[safe(words)])


def _is_destination(value: JsonValue) -> bool:
    """Whether the value is given, and short enough to be a destination rather than a text."""
    texts = value if isinstance(value, list) else [value]
    return value not in (None, "", []) and not any(isinstance(text, str) and _is_long(text) for text in texts)


def _is_long(text: str) -> bool:
    return "\n" in text or (len(text) > _LINE and any(char.isspace() for char in text))


def _destination(place: str, args: Mapping[str, JsonValue], subject: Subject) -> Iterator[CardLine]:
    values = [
        _address(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
        for _, value in leaves_and_references(place, at(args, place))
    ]
    if values:
        note = _becomes(at(args, place), _present(place[1:], subject), subject)
        yield CardLine(argument=place, label=label_of(place), role=Role.DESTINATION, values=values, note=note)


def _address(value: str) -> str:
    read = readable_domain(value)
    return f"{safe(value)} (that is {safe(read)})" if read else safe(value)


def _notes(args: Mapping[str, JsonValue], advice: Advice | None) -> Iterator[str]:
    """Return the notes, unless they are about other arguments."""
    if advice is None or any(args.get(name) != value for name, value in advice.args.items()):
        return
    by_others = " (others may have written this)" if advice.by_others else ""
    yield from (f"{safe(note)}{by_others}" for note in advice.notes)


def _thing(name: str, value: JsonValue, subject: Subject) -> Iterator[CardThing]:
    """Return the thing that an id refers to, or why it is unknown; of a list of ids each one."""
    if isinstance(value, list):
        yield from _things_of_list(name, value, subject)
        return
    known = (subject.things or {}).get(name)
    about = (subject.about or {}).get(name)
    if not isinstance(value, str | int) or isinstance(value, bool) or value == "":
        return
    if known is None and about is None and (not _ID.fullmatch(name) or f"/{name}" in subject.sensitive):
        return
    base = CardThing(argument=name, label=label_of(name), id=safe(str(value)))
    if known and known.value != value:
        yield base.model_copy(update={"problem": "you changed it, and what it refers to was not read"})
    elif known and known.found is not None:
        facts = [CardFact(label=label, value=text) for label, text in _facts(known.found, skip=str(value))]
        yield base.model_copy(update={"facts": facts[:_FACTS], "by_others": known.by_others})
    elif about:
        earlier = [CardFact(label="", value=safe(about))]
        lost = f"it could not be read now ({known.problem}); this is what the run had read" if known else ""
        yield base.model_copy(update={"facts": earlier, "by_others": True, "problem": lost})
    else:
        reason = f"could not be read: {safe(known.problem)}" if known else "is not known here"
        yield base.model_copy(update={"problem": f"what it refers to {reason}"})


def _things_of_list(name: str, ids: Sequence[JsonValue], subject: Subject) -> Iterator[CardThing]:
    read = [known for place, known in (subject.things or {}).items() if place.startswith(f"{name}/")]
    known = {one.value: one for one in read if isinstance(one.value, str | int)}
    for number, value in enumerate(ids if known else (), start=1):
        base = CardThing(argument=f"{name}/{number - 1}", label=f"{number} of {len(ids)}", id=safe(str(value)))
        one = known.get(value) if isinstance(value, str | int) else None
        if one is None:
            yield base.model_copy(update={"problem": "you added it, and what it refers to was not read"})
        elif one.found is None:
            yield base.model_copy(update={"problem": f"what it refers to could not be read: {safe(one.problem)}"})
        else:
            facts = [CardFact(label=label, value=text) for label, text in _facts(one.found, skip=str(value))]
            yield base.model_copy(update={"facts": facts[:_FACTS], "by_others": one.by_others})


def _facts(found: Mapping[str, JsonValue], *, skip: str) -> Iterator[tuple[str, str]]:
    """Return the plain fields of a thing without ids, each short; addresses are never cut."""
    for name, value in found.items():
        if _ID.fullmatch(name) or value in (None, "", []) or isinstance(value, bool | dict) or value == skip:
            continue
        texts = value if isinstance(value, list) else [value]
        if all(isinstance(text, str | int | float) for text in texts):
            more = [f"and {len(texts) - _LISTED} more"] if len(texts) > _LISTED else []
            yield label_of(name), ", ".join([*(_short(_value(text)) for text in texts[:_LISTED]), *more])


def _short(text: str) -> str:
    """Return a text on one short line; a valid address is never cut."""
    line = " ".join(text.split())
    most = _ADDRESS if "@" in line and " " not in line else _FACT
    return clip(line, most)


def _line(name: str, args: Mapping[str, JsonValue], subject: Subject) -> Iterator[CardLine]:
    value = args[name]
    if value in (None, "", [], {}):
        yield from _cleared(name, value, args, subject)
        return
    present = _present(name, subject)
    base = CardLine(argument=name, label=label_of(name), role=Role.CHANGE, note=_becomes(value, present, subject))
    texts = [_value(item) for item in value] if _is_plain_list(value) else [_value(value)]
    if _is_plain_list(value) and not any(map(_is_long, texts)):
        yield base.model_copy(update={"values": texts})
        return
    text = ", ".join(texts)
    is_text = (isinstance(value, str) and name in _TEXTS) or _is_long(text) or len(text) > _LINE
    cut = {"length": len(text)} if len(text) > TEXT_SHOWN else {}
    role = Role.TEXT if is_text else Role.CHANGE
    yield base.model_copy(update={"role": role, "values": [text[:TEXT_SHOWN] if is_text else text], **cut})


def _is_plain_list(value: JsonValue) -> TypeGuard[list[str]]:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _cleared(name: str, value: JsonValue, args: Mapping[str, JsonValue], subject: Subject) -> Iterator[CardLine]:
    """Return the arguments that empty a field. A value that means "not given", or `[]` for an empty list, empties nothing."""
    schema = subject.schema.get("properties", {}).get(name)
    default = schema.get("default", _MISSING) if isinstance(schema, dict) else _MISSING
    makes_anew = not any(map(_ID.fullmatch, args))
    if (value == default and type(value) is type(default)) or (default is _MISSING and value == [] and makes_anew):
        return
    if value is None and not subject.schema:
        return
    note = _becomes(value, _present(name, subject), subject) or "empty"
    yield CardLine(argument=name, label=label_of(name), role=Role.CHANGE, note=note)


def _present(name: str, subject: Subject) -> JsonValue | object:
    """Return the present value of the field, from the thing that is changed."""
    for argument, known in (subject.things or {}).items():
        found = known.found
        if found is not None and found.get(argument) == known.value and name in {*found, *known.fields}:
            return found.get(name)
    return _MISSING


def _changes_something(subject: Subject) -> bool:
    """Whether an argument names a thing that is changed, even if it could not be read."""
    return any(_ID.fullmatch(argument) for argument in subject.things or {})


def _becomes(value: JsonValue, present: JsonValue | object, subject: Subject) -> str:
    """Return in words how a value affects the present one; empty if there is none to change."""
    empty = value in (None, "", [], {})
    if present is _MISSING:
        return "removes what is there" if empty and _changes_something(subject) else ""
    if isinstance(present, list):
        return _list_becomes(value if isinstance(value, list) else [], present)
    if present in (None, ""):
        return "nothing is there now" if empty else ""
    was = _short(_value(present))  # type: ignore[arg-type]  # what is not missing is JSON
    if empty:
        return f"removes: {was}"
    return "as it is now" if _same(value, present) else f"now: {was}"


def _list_becomes(value: Sequence[JsonValue], present: Sequence[JsonValue]) -> str:
    gone = [_value(item) for item in present if item not in value]
    if not present:
        return "" if value else "nothing is there now"
    if not value:
        return f"removes all {len(gone)}: {', '.join(gone)}"
    return (
        f"removes {len(gone)} of {len(present)}: {', '.join(gone)}"
        if gone
        else "removes none of those that are there now"
    )


def _same(value: JsonValue, present: object) -> bool:
    if isinstance(value, str) and isinstance(present, str) and _MOMENT.fullmatch(value) and _MOMENT.fullmatch(present):
        return datetime.fromisoformat(value) == datetime.fromisoformat(present)
    return value == present


def _value(value: JsonValue) -> str:
    """Return a value for people, sanitized: a time with its weekday, nested values as JSON."""
    if not isinstance(value, str):
        return safe(json.dumps(value, ensure_ascii=False))
    if not _MOMENT.fullmatch(value):
        return safe(value)
    moment = datetime.fromisoformat(value)
    seconds = ":%S" if moment.second else ""
    offset = moment.strftime("%z")
    return f"{moment.strftime(f'%a %Y-%m-%d %H:%M{seconds}')} {offset[:3]}:{offset[3:]}"


def _origin(origin: Origin, args: Mapping[str, JsonValue], *, alone: bool) -> CardOrigin:
    value = at(args, origin.path)
    return CardOrigin(
        label=label_of("/".join(part for part in origin.path.split("/") if not part.isdecimal())) or "everything",
        value=_address(value) if isinstance(value, str) and not _is_long(value) else "",
        words=safe(origin_words(origin, alone=alone)),
        trusted=origin.trusted,
    )


def _undo(subject: Subject) -> str:
    if subject.undo:
        return f"It can be undone ({subject.undo})."
    return "" if subject.read_only else "It cannot be undone."


def _line_text(line: CardLine) -> Iterator[str]:
    text = ", ".join(line.values)
    if len(text.splitlines()) > 1:
        yield f"{line.label}:"
        yield from _indented(text)
    else:
        yield f"{line.label}: {text}".rstrip() if text else f"{line.label}: ({line.note})"
    if line.note and text:
        yield f"    ({line.note})"
    if line.length:
        yield f"    [shortened: {TEXT_SHOWN} of {line.length} characters are shown; the arguments hold all of it]"


def _thing_text(thing: CardThing) -> Iterator[str]:
    yield f"{thing.label}: {thing.id}"
    if thing.facts:
        facts = "; ".join(f"{fact.label} {fact.value}".strip() for fact in thing.facts)
        others = " (others may have written this)" if thing.by_others else ""
        yield f"    which is {facts}{others}"
    if thing.problem:
        yield f"    {thing.problem}"


def _origin_text(origin: CardOrigin) -> str:
    value = f" {origin.value}" if origin.value else ""
    return f"{origin.label}{value}: {origin.words}"


def _indented(text: str) -> Iterator[str]:
    return (f"    {line}" for line in text.splitlines())
