"""Provenance: the origin of each value of an action: the person's words, an earlier step, or the model."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from itertools import chain

from pydantic import BaseModel, Field, JsonValue

from activities.memory.contract import RecalledFact
from activities.reasoning.contract import Reasoning
from retinue.conversation import Message
from retinue.plan import BoundStep, pointer, pointer_parts, references
from retinue.provenance.credential import Credential, decides
from retinue.provenance.fields import Whose, kept, texts
from retinue.provenance.fields import at as fields_at
from retinue.text import safe, safe_line
from workflows.rules.json_args import at, leaves, touches

_FIELDS_SHOWN = 5
_FIELD_CHARS = 100


class Source(StrEnum):
    """Who a value comes from."""

    USER = "user"
    CONTACTS = "contacts"
    OWN = "own"
    STRANGERS = "strangers"
    MODEL = "model"
    REMEMBERED = "remembered"
    """Stands in a fact that the memory capability keeps of the person. It may be out of date, so it is no known destination."""
    KEY = "key"
    """Requested in the person's name through an API key that may not decide, so it is unknown who typed it."""

    @classmethod
    def _missing_(cls, value: object) -> Source | None:
        """Runs that ended before 0.2 recorded 'step' for every value taken from a result."""
        return cls.STRANGERS if value == "step" else None


class Origin(BaseModel):
    """The origin of one value of an action."""

    path: str = Field(description="JSON pointer into the arguments")
    source: Source = Field(
        description="'user' typed it, 'contacts' are the person's address book, 'own' is other data of the person's, "
        "'strangers' may have written it, 'model' made it up, or wrote it in the step `step_id`, 'remembered' stands in what "
        "the person had remembered, 'key' was asked through an API key that may not decide"
    )
    step_id: str | None = Field(None, description="the earlier step whose result it was taken from")
    tool: str | None = None
    out_of: list[str] = Field(
        default_factory=list,
        description="earlier steps, as 's2 (email.read)', whose results brought strangers' words into it; for a text by "
        "the model without such words, the steps whose results it was made from",
    )
    trusted: bool = Field(description="false if strangers may have written it, or the model made it up")
    through: str | None = Field(None, description="for 'key': through which, as in \"key 'notes app'\"")
    fact_id: str | None = Field(None, description="for 'remembered': the fact in which it stands")
    fact: str | None = Field(None, description="for 'remembered': its text, and where that comes from")


class TypedValue(BaseModel):
    """A whole value that was written into arguments, or chosen among several, with a credential that may not decide."""

    text: str = Field(description="in lower case")
    through: Credential


@dataclass(frozen=True)
class Words:
    """The person's messages of a run, and the values that they wrote into arguments.

    The last message decides what is done now. So what the person typed before a message with a credential that may not
    decide counts as that credential's: otherwise the credential could send its own mail to an earlier address.

    Attributes:
        said: The person's messages, each with its credential.
        typed: Whole values that the person wrote into arguments, in lower case.
        typed_through: Those that came with credentials that may not decide.
        remembered: What the planner was shown of what the person had remembered.
    """

    said: Sequence[Message] = ()
    typed: Collection[str] = ()
    typed_through: Sequence[TypedValue] = ()
    remembered: Sequence[RecalledFact] = ()

    def in_person(self) -> str:
        """Return what the person typed, in lower case. What they only clicked is a model's."""
        typed = (message.text for message in self.said[self._taken_over() :] if not message.offered)
        return "\n".join(typed).casefold()

    def _taken_over(self) -> int:
        """Return the number of messages up to the last one with a credential that may not decide."""
        return max((place for place, said in enumerate(self.said, 1) if not decides(said.through)), default=0)

    @cached_property
    def _not_the_persons(self) -> list[tuple[str, Credential | None]]:
        """Return the messages that count as a credential's that may not decide, in lower case, each with that credential."""
        last = self._taken_over()
        taken_by = self.said[last - 1].through if last else None
        return [
            (said.text.casefold(), taken_by if decides(said.through) else said.through) for said in self.said[:last]
        ]

    def through(self, value: str) -> Credential | None:
        """Return the credential that a value came with, if it may not decide; else None."""
        for text, credential in self._not_the_persons:
            if _is_typed_in(value, text):
                return credential
        return self.written_through(value)

    def fact_with(self, value: str) -> RecalledFact | None:
        """Return the remembered fact in which a value stands, or None."""
        return next((fact for fact in self.remembered if _is_typed_in(value, fact.text.casefold())), None)

    def written_through(self, value: str) -> Credential | None:
        """Return the same, of whole values that were written into arguments, or chosen among several."""
        return next((typed.through for typed in self.typed_through if typed.text == value), None)


class Taint:
    """Taint analysis: which parts of a run's results strangers may have written, by field, value and arguments.

    A tool may echo its arguments, so its own text is as trusted as they are. Data (numbers, dates, enumerations, ids) are
    always trusted. Arguments from a dropped turn of a chat count as strangers'.

    Args:
        steps: All steps of the run by id.
        results: Their results so far.
    """

    def __init__(self, steps: Mapping[str, BoundStep], results: Mapping[str, JsonValue]) -> None:
        self._steps = steps
        self._results = results
        self._whose: dict[tuple[str, str], frozenset[Whose]] = {}
        self._echoes: dict[str, bool] = {}

    def strangers_in(self, step_id: str, path: str = "") -> bool:
        """Whether strangers may have written any text at a pointer of a step's result."""
        whose = self.whose(step_id, path)
        return Whose.STRANGERS in whose or (Whose.OWN in whose and self.echoes_strangers(step_id))

    def echoes_strangers(self, step_id: str) -> bool:
        """Whether a step's arguments contain strangers' words, or an agent chose them after reading some."""
        step = self._steps[step_id]
        if step_id not in self._echoes:
            self._echoes[step_id] = step.steered or any(self.strangers_in(*used) for used in references(step.args))
        return self._echoes[step_id]

    def whose(self, step_id: str, path: str = "") -> frozenset[Whose]:
        """Return whose texts a pointer of a step's result holds, ignoring its arguments; before it ran, all that it may hold."""
        if step_id not in self._steps:
            return frozenset({Whose.STRANGERS})
        if (step_id, path) not in self._whose:
            self._whose[step_id, path] = frozenset(self._texts(self._steps[step_id], path))
        return self._whose[step_id, path]

    def _texts(self, step: BoundStep, path: str) -> Iterator[Whose]:
        other = Whose.OWN if step.annotations.trusted_output else Whose.STRANGERS
        try:
            fields = fields_at(step.result_fields, pointer_parts(path))
            value = pointer(self._results[step.id], path)
        except LookupError:
            yield other  # no result yet, or never
            return
        yield from texts(value, fields, other=other)

    def without_strangers(self, step_id: str) -> JsonValue:
        """Return a step's result with None in place of each text that strangers may have written."""
        allowed = {Whose.DATA} if self.echoes_strangers(step_id) else {Whose.DATA, Whose.OWN}
        return kept(self._results.get(step_id), self._steps[step_id].result_fields, allowed=frozenset(allowed))

    def out_of(self, step_id: str, seen: set[str] | None = None) -> Iterator[str]:
        """Return the nearest earlier steps, as 's2 (email.read)', whose results brought strangers' words into this one."""
        seen = {step_id} if seen is None else seen
        for source, path in references(self._steps[step_id].args):
            if source not in self._steps or source in seen or not self.strangers_in(source, path):
                continue
            seen.add(source)
            if Whose.STRANGERS in self.whose(source, path):
                yield f"{source} ({self._steps[source].tool})"
            else:
                yield from self.out_of(source, seen)

    def sources(self, step_id: str) -> list[str]:
        """Return the steps whose results this one uses, as 's1 (weather.forecast)'."""
        used = dict.fromkeys(source for source, _ in references(self._steps[step_id].args))
        return [f"{source} ({self._steps[source].tool})" for source in used if source in self._steps]


def trace(
    step: BoundStep,
    steps: Mapping[str, BoundStep],
    words: Words,
    *,
    results: Mapping[str, JsonValue],
    known: Collection[str] = (),
    after_strangers: bool = False,
) -> list[Origin]:
    """Return the origins of every referenced value of a step and of every value that decides where data goes.

    Args:
        step: The step with its arguments as planned, references unresolved.
        steps: All steps of the run by id.
        words: The person's messages and the values written into arguments.
        results: The steps' results so far.
        known: Addresses in results from the person's address book, in lower case.
        after_strangers: Whether an agent wrote the arguments after reading strangers' words, so they count as theirs.
    """
    taint = Taint(steps, results)
    in_person = words.in_person()
    found = {origin.path: origin for origin in _references("", step.args, steps, taint)}
    found |= {
        path: _given_back(origin, at(step.args, path), results, words, in_person)
        for path, origin in found.items()
        if any(touches(path, place) for place in step.annotations.sensitive)
    }
    for path in step.annotations.sensitive:
        for leaf, value in leaves(path, at(step.args, path)):
            if leaf not in found:
                text = str(value).casefold()
                theirs = text in words.typed or _is_typed_in(text, in_person)
                found[leaf] = _written(leaf, text, theirs, words, known, after_strangers=after_strangers)
    return list(found.values())


def _given_back(
    origin: Origin, reference: JsonValue, results: Mapping[str, JsonValue], words: Words, in_person: str
) -> Origin:
    """Return the origin of a referenced value. A value that a tool or model only repeats keeps its first origin.

    So a key that may not decide gains nothing by first having its words written on a list, or into a text. What stands in
    the address book is trusted whoever names it, unless such a key has chosen it among several.
    """
    if origin.source not in (Source.OWN, Source.MODEL, Source.CONTACTS) or not isinstance(reference, dict):
        return origin
    credential_of = words.written_through if origin.source is Source.CONTACTS else words.through
    try:
        value = pointer(results[str(reference["$from"])], str(reference.get("path") or ""))
    except LookupError:
        return origin
    given = {str(leaf).casefold() for _, leaf in leaves("", value)} - {""}
    for text in sorted(given):
        theirs = text in words.typed or _is_typed_in(text, in_person)
        if not theirs and (credential := credential_of(text)):
            return origin.model_copy(update={"source": Source.KEY, "trusted": False, "through": credential.label})
    return origin


def _written(
    path: str, value: str, theirs: bool, words: Words, known: Collection[str], *, after_strangers: bool
) -> Origin:
    """Return the origin of a literal value. If the person typed it or has it in the address book, it is theirs."""
    if theirs:
        return Origin(path=path, source=Source.USER, trusted=True)
    if value in known and not words.written_through(value):
        return Origin(path=path, source=Source.CONTACTS, trusted=True)
    if credential := words.through(value):
        return Origin(path=path, source=Source.KEY, trusted=False, through=credential.label)
    if not after_strangers and (fact := words.fact_with(value)):
        said = f"{_quoted(fact.text)}, {fact.says}" if fact.says else _quoted(fact.text)
        return Origin(path=path, source=Source.REMEMBERED, trusted=False, fact_id=fact.fact_id, fact=said)
    return Origin(path=path, source=Source.STRANGERS if after_strangers else Source.MODEL, trusted=False)


def _quoted(text: str) -> str:
    return f"'{safe_line(text, _FIELD_CHARS)}'"


def addresses(result: JsonValue, fields: Collection[str]) -> Iterator[str]:
    """Yield every text in fields with these names of a result, in lower case."""
    if not fields:
        return
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
"""Characters that may surround a value that counts as typed. Others may be a part of an address: in
`o'brien@example.com` only the whole is typed, not `brien@example.com`."""


def _is_typed_in(value: str, words: str) -> bool:
    """Whether the person typed exactly this, not something that begins or ends like it.

    It searches for plain text first, since the expression alone takes seconds on a long conversation with many values.
    """
    text = f" {words}"
    places = _places(value, text)
    if (first := next(places, None)) is None:
        return False
    exactly = re.compile(f"{_BEFORE}{re.escape(value)}{_AFTER}")
    return any(exactly.match(text, place) for place in chain([first], places))


def _places(value: str, text: str) -> Iterator[int]:
    place = text.find(value)
    while place >= 0:
        yield place
        place = text.find(value, place + 1)


def describe(args: Mapping[str, JsonValue], results: Mapping[str, JsonValue]) -> dict[str, str]:
    """Return by argument the thing that a referenced value is a part of, such as the event of an `event_id`.

    It comes from the referenced step's result, may contain strangers' words and is only shown.
    """
    found: dict[str, str] = {}
    for name, value in args.items():
        if isinstance(value, dict) and "$from" in value and (parent := _parent(value, results)):
            found[name] = "; ".join(
                f"{safe(key.replace('_', ' '))} {safe_line(str(text), _FIELD_CHARS)}" for key, text in parent.items()
            )
    return found


def _parent(reference: Mapping[str, JsonValue], results: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """Return the plain sibling fields of a referenced value without ids; empty if it is not a field of an object."""
    path, _, last = str(reference.get("path") or "").rpartition("/")
    try:
        around = pointer(results[str(reference["$from"])], path)
    except LookupError:
        return {}
    fields = around if isinstance(around, dict) and isinstance(around.get(last), str) and last.endswith("_id") else {}
    plain = {key: text for key, text in fields.items() if isinstance(text, str) and text and not key.endswith("_id")}
    return dict(list(plain.items())[:_FIELDS_SHOWN])


def _references(path: str, value: JsonValue, steps: Mapping[str, BoundStep], taint: Taint) -> Iterator[Origin]:
    if isinstance(value, dict):
        if "$from" in value:
            yield _origin_of(path, steps[str(value["$from"])], str(value.get("path") or ""), taint)
        else:
            for key, item in value.items():
                yield from _references(f"{path}/{key}", item, steps, taint)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _references(f"{path}/{index}", item, steps, taint)


def _origin_of(path: str, source: BoundStep, place: str, taint: Taint) -> Origin:
    """Return the origin of a referenced value; for a model's text without strangers' words it names the source steps."""
    if place.rpartition("/")[2] in source.annotations.known_destinations:
        whose, out_of = Source.CONTACTS, []
    elif taint.strangers_in(source.id, place):
        whose, out_of = Source.STRANGERS, list(taint.out_of(source.id))
    elif source.capability == Reasoning.name:
        whose, out_of = Source.MODEL, taint.sources(source.id)
    else:
        whose, out_of = Source.OWN, []
    return Origin(
        path=path,
        source=whose,
        step_id=source.id,
        tool=source.tool,
        out_of=out_of,
        trusted=whose is not Source.STRANGERS,
    )
