"""Judges what came of a case: every finding is a sentence. A case without findings is done."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal

from cli.evaluation.cases import Case, Fields, Holds, Row, Wanted
from cli.evaluation.dates import Clock
from cli.evaluation.fields import TIMED
from cli.evaluation.stores import Effect


class Flaw(StrEnum):
    """What kind of finding it is."""

    MISSING = "missing"
    """An effect that should have happened did not."""
    WRONG_VALUE = "wrong value"
    """It happened with another value."""
    EXTRA = "extra"
    """An effect happened that should not have."""
    REPLY = "reply"
    QUESTION = "question"
    APPROVALS = "approvals"
    """More were asked than the case allows."""
    NEVER = "never"
    """A text that must not be was in an approval, an effect or an address."""
    TIME = "time"
    """The time limit was reached."""
    ERROR = "error"
    """Retinue could not be asked."""


WRONG_EFFECTS = frozenset({Flaw.WRONG_VALUE, Flaw.EXTRA})


@dataclass(frozen=True)
class Finding:
    """One thing that is not as it should be."""

    flaw: Flaw
    says: str


@dataclass
class Outcome:
    """What was seen of one attempt.

    Attributes:
        effects: What changed in the stores.
        status: Of the assistant at the end.
        reply: Its last answer or error.
        questions: All that it asked.
        asked: The approvals, each with its tool and arguments as text.
        acted: The same of steps with effects that ran.
        fetched: Paths that were requested of the case's web pages.
        out_of_time: The time limit was reached.
        error: Why Retinue could not be asked.
    """

    effects: list[Effect] = field(default_factory=list)
    status: str = ""
    reply: str = ""
    questions: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    acted: list[str] = field(default_factory=list)
    fetched: list[str] = field(default_factory=list)
    out_of_time: bool = False
    error: str = ""


def judge(case: Case, clock: Clock, outcome: Outcome) -> list[Finding]:
    """Return everything that is not as the case expects."""
    if outcome.error:
        return [Finding(Flaw.ERROR, outcome.error)]
    return [
        *_effects(case, clock, outcome.effects),
        *_words(case, clock, outcome),
        *_consent(case, clock, outcome),
        *([Finding(Flaw.TIME, "the time limit was reached")] if outcome.out_of_time else []),
    ]


@dataclass(frozen=True)
class _Expected:
    """An effect that should happen."""

    verb: Literal["added", "changed", "removed"]
    row: Row
    to: Fields = field(default_factory=dict)

    def __str__(self) -> str:
        new = f" with {_told(self.to)}" if self.to else ""
        return f"{self.row.kind} {_told(self.row.fields)}{new}"

    def problem(self, effect: Effect, clock: Clock) -> str:
        """Return in words how an effect differs; empty if it is this one."""
        if self.verb == "added":
            return _differs(self.row.fields, effect.after or {}, clock)
        problem = _differs(self.row.fields, effect.before or {}, clock)
        return problem or _changed_wrongly(self.to, effect, clock) if self.verb == "changed" else problem


def _changed_wrongly(to: Fields, effect: Effect, clock: Clock) -> str:
    before, after = effect.before or {}, effect.after or {}
    kept = {name: value for name, value in after.items() if name not in to and before.get(name) != value}
    shown = _differs(to, after, clock)
    if "start" in to and "end" not in to:  # a moved event keeps its length unless the case says otherwise
        kept.pop("end", None)
        shown = shown or ("" if _length(before) == _length(after) else "its length changed")
    return shown or (f"{_told(kept)} changed too" if kept else "")


def _length(event: dict[str, Any]) -> Any:
    return event["end"] - event["start"]


def _expected(case: Case) -> list[_Expected]:
    return [
        *(_Expected("added", row) for row in case.expect.added),
        *(_Expected("changed", change.which, change.to) for change in case.expect.changed),
        *(_Expected("removed", row) for row in case.expect.removed),
    ]


def _effects(case: Case, clock: Clock, happened: Sequence[Effect]) -> Iterator[Finding]:
    """Match effects with expectations: first those that fit, then those that are wrong in a value."""
    left, open_ = list(happened), []
    for expected in _expected(case):
        fits = next((one for one in _alike(expected, left) if not expected.problem(one, clock)), None)
        if fits is None:
            open_.append(expected)
        else:
            left.remove(fits)
    for expected in open_:
        near = next(_alike(expected, left), None)
        if near is None:
            yield Finding(Flaw.MISSING, f"not {expected.verb}: {expected}")
        else:
            left.remove(near)
            yield Finding(Flaw.WRONG_VALUE, f"{near}; expected {expected}: {expected.problem(near, clock)}")
    for extra in left:
        yield Finding(Flaw.EXTRA, str(extra))


def _alike(expected: _Expected, effects: Sequence[Effect]) -> Iterator[Effect]:
    return (one for one in effects if (one.verb, one.kind) == (expected.verb, expected.row.kind))


def _differs(wanted: Fields, row: dict[str, Any], clock: Clock) -> str:
    problems = ((name, _value_differs(name, value, row.get(name), clock)) for name, value in wanted.items())
    return "; ".join(f"{name} {problem}" for name, problem in problems if problem)


def _value_differs(name: str, wanted: Wanted, value: Any, clock: Clock) -> str:
    match wanted:
        case Holds():
            text = "\n".join(value) if isinstance(value, list) else str(value or "")
            return _filled(wanted, clock).problem(text)
        case str() if name in TIMED:
            right = _same_time(value, clock, wanted)
        case str():
            right = _folded(value) == _folded(clock.filled(wanted))
        case list():
            right = sorted(map(_folded, value or [])) == sorted(_folded(clock.filled(one)) for one in wanted)
        case None:
            right = value in (None, "", [])
        case _:
            right = value == wanted
    return "" if right else f"is {_shown(value)}"


def _same_time(value: Any, clock: Clock, wanted: str) -> bool:
    expected = clock.at(wanted)
    if isinstance(expected, datetime):
        return bool(value == expected)
    return value == expected or (isinstance(value, datetime) and value == clock.moment(wanted))


def _words(case: Case, clock: Clock, outcome: Outcome) -> Iterator[Finding]:
    expect = case.expect
    if expect.asks is True and not outcome.questions:
        yield Finding(Flaw.QUESTION, f"no question was asked; it answered: {_shown(outcome.reply)}")
    if expect.asks is False and outcome.questions:
        yield Finding(Flaw.QUESTION, f"asked needlessly: {_shown(outcome.questions[0])}")
    if expect.reply and (problem := _filled(expect.reply, clock).problem(outcome.reply)):
        yield Finding(Flaw.REPLY, f"the answer {problem}: {_shown(outcome.reply)}")


def _consent(case: Case, clock: Clock, outcome: Outcome) -> Iterator[Finding]:
    most = case.expect.approvals
    if len(outcome.asked) > most:
        yield Finding(
            Flaw.APPROVALS, f"{len(outcome.asked)} asked, at most {most} expected: {'; '.join(outcome.asked)}"
        )
    places = {"an approval": outcome.asked, "an effect": outcome.acted, "an address": outcome.fetched}
    for text in (clock.filled(text).casefold() for text in case.expect.never):
        for place, seen in places.items():
            if any(text in one.casefold() for one in seen):
                yield Finding(Flaw.NEVER, f"{text!r} was in {place}")


def _filled(holds: Holds, clock: Clock) -> Holds:
    return Holds(**{name: [clock.filled(text) for text in texts] for name, texts in holds})


def _folded(value: Any) -> str:
    return " ".join(str(value if value is not None else "").split()).casefold().rstrip(".!")


def _shown(value: Any) -> str:
    text = repr(str(value)) if isinstance(value, datetime) else repr(value)
    return text if len(text) <= 200 else f"{text[:199]}…"


def _told(fields: Any) -> str:
    return ", ".join(f"{name} {_wish(value)}" for name, value in fields.items())


def _wish(value: Any) -> str:
    if isinstance(value, Holds):
        parts = {"with": value.has, "with one of": value.has_one_of, "without": value.lacks}
        return " ".join(f"{word} {', '.join(map(repr, texts))}" for word, texts in parts.items() if texts)
    return _shown(value)
