"""Where the values of an action came from: the person's own words, an earlier step, or the model."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from itertools import chain

from pydantic import BaseModel, Field, JsonValue

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
    KEY = "key"
    """The person's name stands on it, but it came through an API key that may not decide. Nobody knows who typed it."""

    @classmethod
    def _missing_(cls, value: object) -> Source | None:
        """Runs that ended before 0.2 recorded 'step' for every value taken from a result."""
        return cls.STRANGERS if value == "step" else None


class Origin(BaseModel):
    """Where one value of an action came from."""

    path: str = Field(description="JSON pointer into the arguments")
    source: Source = Field(
        description="'user' typed it, 'contacts' are the person's address book, 'own' is other data of the person's, "
        "'strangers' may have written it, 'model' made it up, or wrote it in the step `step_id`, 'key' was asked through an "
        "API key that may not decide"
    )
    step_id: str | None = Field(None, description="the earlier step whose result it was taken from")
    tool: str | None = None
    out_of: list[str] = Field(
        default_factory=list,
        description="the steps before that one, as 's2 (email.read)', out of whose results strangers' words came into it; "
        "of a text by the model without such words, the steps whose results it was made of",
    )
    trusted: bool = Field(description="false where strangers may have written it, or the model chose it by itself")
    through: str | None = Field(None, description="for 'key': through which, as in \"key 'notes app'\"")


class TypedValue(BaseModel):
    """A whole value that was written into arguments, or chosen among several, with a credential that may not decide."""

    text: str = Field(description="in lower case")
    through: Credential


@dataclass(frozen=True)
class Words:
    """What was said in a run, and what was written into arguments.

    Who spoke last has chosen what is done now. So what the person had typed before a message with a credential that may
    not decide counts as asked with that credential: else it could have a mail of its own sent to an old address.

    Attributes:
        said: The person's messages, each with its credential.
        typed: Whole values that the person wrote into arguments, in lower case.
        typed_through: Those that came with credentials that may not decide.
    """

    said: Sequence[Message] = ()
    typed: Collection[str] = ()
    typed_through: Sequence[TypedValue] = ()

    def in_person(self) -> str:
        """What the person typed, in lower case."""
        return "\n".join(message.text for message in self.said[self._taken_over() :]).casefold()

    def _taken_over(self) -> int:
        """How many messages there are up to the last one with a credential that may not decide."""
        return max((place for place, said in enumerate(self.said, 1) if not decides(said.through)), default=0)

    @cached_property
    def _not_the_persons(self) -> list[tuple[str, Credential | None]]:
        """The messages that count as asked with a credential that may not decide, in lower case, each with that one."""
        last = self._taken_over()
        taken_by = self.said[last - 1].through if last else None
        return [
            (said.text.casefold(), taken_by if decides(said.through) else said.through) for said in self.said[:last]
        ]

    def through(self, value: str) -> Credential | None:
        """The credential, one that may not decide, with which a value came."""
        for text, credential in self._not_the_persons:
            if _stands_in(value, text):
                return credential
        return self.written_through(value)

    def written_through(self, value: str) -> Credential | None:
        """The same, of whole values that were written into arguments, or chosen among several."""
        return next((typed.through for typed in self.typed_through if typed.text == value), None)


class Taint:
    """Which parts of a run's results strangers may have written: by field, by the true values, and by what went in.

    A tool echoes: its own text is as trusted as its arguments. Data (numbers, dates, enumerations, ids) stay data whatever
    went in. What went in in a turn of a chat that is forgotten by now counts as strangers'.

    Args:
        steps: All steps of the run by id.
        results: What they returned, as far as they have.
    """

    def __init__(self, steps: Mapping[str, BoundStep], results: Mapping[str, JsonValue]) -> None:
        self._steps = steps
        self._results = results
        self._whose: dict[tuple[str, str], frozenset[Whose]] = {}
        self._echoes: dict[str, bool] = {}

    def strangers_in(self, step_id: str, path: str = "") -> bool:
        """Whether any text at a place of a step's result may be strangers'."""
        whose = self.whose(step_id, path)
        return Whose.STRANGERS in whose or (Whose.OWN in whose and self.echoes_strangers(step_id))

    def echoes_strangers(self, step_id: str) -> bool:
        """Whether strangers' words went into a step's arguments, or an agent chose them after reading such."""
        step = self._steps[step_id]
        if step_id not in self._echoes:
            self._echoes[step_id] = step.steered or any(self.strangers_in(*used) for used in references(step.args))
        return self._echoes[step_id]

    def whose(self, step_id: str, path: str = "") -> frozenset[Whose]:
        """Whose texts stand at a place of a step's result, its arguments aside; as if all were there while it has none."""
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
            yield other  # not there yet, or never
            return
        yield from texts(value, fields, other=other)

    def without_strangers(self, step_id: str) -> JsonValue:
        """A step's result with only those texts that no stranger can have written; None stands for the others."""
        allowed = {Whose.DATA} if self.echoes_strangers(step_id) else {Whose.DATA, Whose.OWN}
        return kept(self._results.get(step_id), self._steps[step_id].result_fields, allowed=frozenset(allowed))

    def out_of(self, step_id: str, seen: set[str] | None = None) -> Iterator[str]:
        """The nearest steps before this one, as 's2 (email.read)', out of whose results strangers' words came into it."""
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
        """The steps whose results were used for this one, as 's1 (weather.forecast)'."""
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
    """The origins of every referenced value of a step and of every value that decides where data goes.

    Args:
        step: The step with its arguments as planned, references unresolved.
        steps: All steps of the run by id.
        words: What was said in the run, and written into arguments.
        results: What the steps returned, as far as they have run.
        known: Addresses that stand in results from the person's address book, in lower case.
        after_strangers: An agent wrote the arguments after it had read strangers' words, so they count as theirs.
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
                theirs = text in words.typed or _stands_in(text, in_person)
                found[leaf] = _written(leaf, text, theirs, words, known, after_strangers=after_strangers)
    return list(found.values())


def _given_back(
    origin: Origin, reference: JsonValue, results: Mapping[str, JsonValue], words: Words, in_person: str
) -> Origin:
    """The origin of a referenced value; what a tool or a model only gives back came from whoever said it.

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
        theirs = text in words.typed or _stands_in(text, in_person)
        if not theirs and (credential := credential_of(text)):
            return origin.model_copy(update={"source": Source.KEY, "trusted": False, "through": credential.label})
    return origin


def _written(
    path: str, value: str, theirs: bool, words: Words, known: Collection[str], *, after_strangers: bool
) -> Origin:
    """Whose a written value is. What the person typed or has in the address book is theirs, whoever repeats it."""
    if theirs:
        return Origin(path=path, source=Source.USER, trusted=True)
    if value in known and not words.written_through(value):
        return Origin(path=path, source=Source.CONTACTS, trusted=True)
    if credential := words.through(value):
        return Origin(path=path, source=Source.KEY, trusted=False, through=credential.label)
    return Origin(path=path, source=Source.STRANGERS if after_strangers else Source.MODEL, trusted=False)


def addresses(result: JsonValue, fields: Collection[str]) -> Iterator[str]:
    """Every text in a result at a field of one of these names, in lower case."""
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
"""What may stand around a value that counts as typed. Everything else may be a part of an address, so that with
`o'brien@example.com` only the whole is typed, and no `brien@example.com`."""


def _stands_in(value: str, words: str) -> bool:
    """Whether the person typed exactly this, and not something that only begins or ends like it.

    Found as plain text first: a long conversation against many values would take seconds by the expression alone.
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
    """By argument, what the thing is of which a referenced value is only a part: the event behind an `event_id`.

    Taken from the true result of the step that was referred to. It may hold the words of strangers and is only shown.
    """
    found: dict[str, str] = {}
    for name, value in args.items():
        if isinstance(value, dict) and "$from" in value and (parent := _parent(value, results)):
            found[name] = "; ".join(
                f"{safe(key.replace('_', ' '))} {safe_line(str(text), _FIELD_CHARS)}" for key, text in parent.items()
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
    """Whose a referenced value is. What a model wrote from data without strangers' words says which data that were."""
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
