"""Policies: rules as data that decide which actions are automatic, asked or denied.

The first rule that matches decides; an action that no rule matches is asked. Rules judge the tool's annotations, the
resolved arguments and the origins of their values, never what a model says about an action.

Rules are authoritative: nothing overrides a rule that allows. Two things limit the harm of a careless rule. Where a value
is unknown or ambiguous, a rule that allows reads its conditions strictly, and one that asks or denies reads them
generously. And the default policy asks about everything that it does not know to be harmless.

Pure: no clock, no randomness, no files, since workflows replay it. A run carries its policy, so that editing the file does
not change a waiting run. Grants are not handled here (see `workflows/consent/gate.py`): they are checked only where the
verdict is "ask", so what is denied stays denied.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Annotated

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    Strict,
    field_validator,
    model_validator,
)

from retinue.capability import Annotations
from retinue.provenance.wording import FOR_GOOD, place_words
from retinue.tenancy import organisation
from workflows.rules.budget import Limits
from workflows.rules.json_args import Values, at_or_reference, holds, leaves_and_references, touches
from workflows.rules.provenance import Origin, Source

UNITS = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
_LONGEST = 400 * UNITS["d"]
_KNOWN_PEOPLE = frozenset({Source.USER, Source.CONTACTS})
ANYBODY = "*"


def _duration(value: object) -> float:
    if isinstance(value, str) and (found := re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)([smhd])", value)):
        return float(found[1]) * UNITS[found[2]]
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    raise ValueError('write a time as a number of seconds, or like "90s", "15m", "2h" or "3d"')


def _some_time(seconds: float) -> float:
    if not 0 < seconds <= _LONGEST:
        raise ValueError("a time must be longer than 0 and at most 400 days")
    return seconds


def _time_or_none(seconds: float) -> float:
    return seconds if seconds == 0 else _some_time(seconds)


def _json_pointer(path: str) -> str:
    if not re.fullmatch(r"(/([^/~]|~[01])+)+", path):
        raise ValueError(f"{path[:80]!r} is not a JSON pointer; the argument `to` is written '/to'")
    return path


Flag = Annotated[bool, Strict()]
Seconds = Annotated[float, BeforeValidator(_duration), AfterValidator(_some_time)]
Hold = Annotated[float, BeforeValidator(_duration), AfterValidator(_time_or_none)]
Pointer = Annotated[str, AfterValidator(_json_pointer)]
Glob = Annotated[str, Field(min_length=1, max_length=200)]
Globs = Annotated[tuple[Glob, ...], Field(min_length=1, max_length=100)]
PersonName = Annotated[str, Field(min_length=1, max_length=200)]
Number = Annotated[float, Strict(), Field(allow_inf_nan=False)]


MAX_NAMES = 1500
"""Characters of the names of those who may decide: a search attribute of the run holds them, at most 2,048."""


class Decision(StrEnum):
    """The decision on an action."""

    AUTO = "auto"
    ASK = "ask"
    DENY = "deny"


class AtExpiry(StrEnum):
    """What happens to an approval that expires."""

    DENY = "deny"
    ALLOW = "allow"
    WAIT = "wait"


class Asking(BaseModel):
    """Who decides about an asked action, and what happens until then. All times are seconds."""

    model_config = ConfigDict(frozen=True)

    approvers: Annotated[int, Strict()] = Field(1, ge=1, le=20, description="how many different people must approve")
    by: tuple[PersonName, ...] = Field(
        (), max_length=100, description="who may decide; empty: the requester; '*': anybody"
    )
    not_the_requester: Flag = Field(False, description="the requester may not decide")
    expires_after: Seconds | None = Field(None, description="None: it never expires")
    at_expiry: AtExpiry = Field(AtExpiry.DENY, description="'wait' marks it as overdue and waits on")
    remind_after: tuple[Seconds, ...] = Field((), max_length=20, description="counted from the request, ascending")
    escalate_after: Seconds | None = Field(None, description="after this `escalate_to` may decide too")
    escalate_to: tuple[PersonName, ...] = Field((), max_length=100)


@dataclass(frozen=True)
class Action:
    """One proposed call, with everything that a policy may consider.

    Attributes:
        tool: Its full name, `email.send`.
        annotations: Its annotations, as announced.
        args: The arguments. In a preview they may contain references (`{"$from": ...}`).
        origins: Of the values of `args`, see `workflows.rules.provenance.trace`.
        caller: The name of the owner of the run.
        scheduled: Whether a schedule started the run.
        after_strangers: Whether an agent chose it after it had read strangers' words.
    """

    tool: str
    annotations: Annotations
    args: Mapping[str, JsonValue]
    origins: Sequence[Origin]
    caller: str
    scheduled: bool = False
    after_strangers: bool = False


class Rule(Asking):
    """One rule: conditions that must all hold, and the decision. An omitted condition always holds.

    Conditions on values depend on the decision. `auto` reads them strictly: case-sensitive, every destination of the
    `origins`, and a reference with an unknown value fits nothing. `ask` and `deny` read them generously: any case,
    surrounding blanks ignored, any one destination, and such a reference may be anything.
    """

    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=1, max_length=60)
    tools: Globs = Field((ANYBODY,), description="globs of tool names: 'email.*'")
    callers: Globs = Field(
        (ANYBODY,),
        description="globs of the owner's name, with the organisation: 'acme:*'",
    )
    read_only: Flag | None = None
    destructive: Flag | None = Field(None, description="a read-only tool is never destructive")
    idempotent: Flag | None = None
    open_world: Flag | None = None
    trusted_output: Flag | None = None
    undoable: Flag | None = Field(None, description="the tool names an undo")
    free_destination: Flag | None = Field(None, description="an argument decides where data goes")
    args: dict[Pointer, tuple[Glob, ...]] = Field(
        {},
        max_length=20,
        description="by JSON pointer: every value there fits a glob, and there is one; []: there is none",
    )
    args_any: dict[Pointer, Globs] = Field(
        {}, max_length=20, description="by JSON pointer: some value there fits a glob"
    )
    args_at_most: dict[Pointer, Number] = Field(
        {}, max_length=20, description="by JSON pointer: every value there is a number and no larger, and there is one"
    )
    origins: Annotated[tuple[Source, ...], Field(min_length=1)] | None = Field(
        None,
        description="origins of the values that decide where data goes: for ask and deny, one of them is from one of "
        "these; for auto, there are some and all are",
    )
    after_strangers: Flag | None = None
    scheduled: Flag | None = None
    decide: Decision
    because: str = Field("", max_length=300, description="why, for the person who is asked or refused")

    @model_validator(mode="after")
    def _only_what_is_asked_has_deciders(self) -> Rule:
        if self.decide is not Decision.ASK and (extra := [name for name in _ASKING if self._says(name)]):
            raise ValueError(f'{", ".join(extra)}: only for rules with decide = "ask"; leave it out here')
        return self

    @model_validator(mode="after")
    def _somebody_can_decide(self) -> Rule:
        if self.not_the_requester and not self.by:
            raise ValueError('not_the_requester needs `by`: name who may decide instead, or "*" for anybody')
        if self.approvers > 1 and not self.by:
            raise ValueError('approvers above 1 needs `by`: name the people who may decide, or "*" for anybody')
        if ANYBODY not in self.by and self.approvers > len(set(self.by)) > 0:
            raise ValueError(
                f"approvers = {self.approvers}, but `by` names {len(set(self.by))}; name more people or lower it"
            )
        return self

    @model_validator(mode="after")
    def _names_fit(self) -> Rule:
        if sum(map(len, {*self.by, *self.escalate_to})) > MAX_NAMES:
            raise ValueError(
                f"`by` and `escalate_to` have more than {MAX_NAMES} characters of names; write fewer, or '*'"
            )
        return self

    @model_validator(mode="after")
    def _escalation_is_whole(self) -> Rule:
        if self.escalate_after is not None and not self.escalate_to:
            raise ValueError("escalate_after needs `escalate_to`: name who may decide then")
        if self.escalate_to and self.escalate_after is None:
            raise ValueError('escalate_to needs `escalate_after`: say when, like "4h"')
        return self

    @model_validator(mode="after")
    def _times_come_in_order(self) -> Rule:
        if self.at_expiry is not AtExpiry.DENY and self.expires_after is None:
            raise ValueError('at_expiry needs `expires_after`: say when, like "3d"')
        if list(self.remind_after) != sorted(set(self.remind_after)):
            raise ValueError("remind_after: write the times in ascending order, each once")
        last = max(self.escalate_after or 0, *self.remind_after, 0)
        if self.expires_after is not None and self.at_expiry is not AtExpiry.WAIT and last >= self.expires_after:
            raise ValueError("remind_after and escalate_after must come before `expires_after`; nobody waits after it")
        return self

    def _says(self, field: str) -> bool:
        return bool(getattr(self, field) != type(self).model_fields[field].default)


_ASKING = tuple(Asking.model_fields)


class Verdict(Asking):
    """A policy's verdict on one action."""

    decision: Decision
    rule: str | None = Field(None, description="the name of the rule that decided; None: no rule matched")
    reasons: list[str] = Field(default_factory=list, description="why it is asked or denied, by code")
    tentative: bool = Field(
        False,
        description="the arguments contain references, so it may become milder once they are known; never true of 'auto'",
    )


class Policy(BaseModel):
    """An ordered list of rules, and the budgets of runs under them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[a-z][a-z0-9_-]{0,39}$")
    rules: tuple[Rule, ...] = Field((), max_length=200)
    hold: Hold = Field(
        10,
        description="seconds for which an automatic action that reaches others and cannot be undone is held, so that a "
        "cancel still stops it; 0: it is not held",
    )
    run_budget: Limits | None = Field(
        Limits(requests=15, steps=30, tool_calls=60), description="what one run may use before the person is asked"
    )
    day_budget: Limits | None = Field(None, description="what all runs of one person may use in a day")

    @field_validator("run_budget", "day_budget")
    @classmethod
    def _no_limit_at_all(cls, limits: Limits | None) -> Limits | None:
        """Read `{}` as no budget, since TOML has no null."""
        return None if limits == Limits() else limits

    @field_validator("rules")
    @classmethod
    def _names_are_unique(cls, rules: tuple[Rule, ...]) -> tuple[Rule, ...]:
        names = [rule.name for rule in rules]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"two rules are named {twice[0]!r}; rename one, since a verdict names its rule")
        return rules

    def judge(self, action: Action) -> Verdict:
        """Decide about one action by the first rule that matches."""
        uncertain = False
        for rule in self.rules:
            sure = matches(rule, action, guess=False)
            perhaps = not sure and matches(rule, action, guess=True)
            uncertain = uncertain or perhaps
            if sure or (perhaps and rule.decide is not Decision.AUTO):
                return _verdict(rule, action, uncertain)
        reasons = ["no rule of the policy matches it", *_why(action)]
        return Verdict(decision=Decision.ASK, reasons=reasons, tentative=uncertain)


def _verdict(rule: Rule, action: Action, uncertain: bool) -> Verdict:
    automatic = rule.decide is Decision.AUTO
    return Verdict(
        decision=rule.decide,
        rule=rule.name,
        reasons=[] if automatic else _reasons(rule, action),
        tentative=uncertain and not automatic,
        **{name: getattr(rule, name) for name in _ASKING},
    )


def _reasons(rule: Rule, action: Action) -> list[str]:
    """Return the rule's reason, then what is true of the action under any rule; never empty."""
    said, facts = rule.because, list(_why(action))
    if not said and rule.decide is Decision.DENY:
        said = f"the rule {rule.name!r} forbids it"
    if not said and not facts:
        said = f"the rule {rule.name!r} asks about it"
    return [said, *facts] if said else facts


def _why(action: Action) -> Iterator[str]:
    """Yield what a person should know before this action happens. A read reaches others only through its arguments."""
    hints, destinations = action.annotations, _destinations(action)
    if hints.open_world and (destinations or not hints.read_only):
        yield "it reaches other people or systems"
    if _destructive(hints):
        yield FOR_GOOD if hints.undo is None else "it may overwrite or remove something"
    blamed = (f"{place_words(one.path)} {_blame(one)}" for one in destinations if one.source not in _KNOWN_PEOPLE)
    yield from dict.fromkeys(blamed)
    if action.after_strangers:
        yield "it was chosen after reading what strangers wrote"


def _blame(origin: Origin) -> str:
    if origin.source == Source.STRANGERS:
        return f"came from {origin.tool or 'what was read'}, which may hold the words of strangers"
    if origin.source == Source.REMEMBERED:
        return f"stands in what you had remembered ({origin.fact}) and was not typed by you now"
    if origin.source == Source.KEY:
        return f"was asked through the {origin.through}, which may not decide"
    if origin.source == Source.OWN and origin.tool:
        return f"came from {origin.tool} and was not typed by you"
    return "was not typed by you"


def matches(rule: Rule, action: Action, *, guess: bool) -> bool:
    """Whether all conditions hold. `guess` is the result of those that a reference leaves unknown."""
    return (
        any(fnmatchcase(action.tool, glob) for glob in rule.tools)
        and _caller_fits(rule, action.caller)
        and all(wanted in (None, found) for wanted, found in _facts(rule, action))
        and _sources_fit(rule, action)
        and _destination_fits(rule, action, guess)
        and _values_fit(rule, action, guess)
    )


def _caller_fits(rule: Rule, caller: str) -> bool:
    """Match the caller. A name without an organisation matches any organisation for ask and deny, none for auto."""
    names = {caller} if rule.decide is Decision.AUTO else {caller, caller.removeprefix(f"{organisation(caller)}:")}
    return any(fnmatchcase(name, glob) for glob in rule.callers for name in names)


def _facts(rule: Rule, action: Action) -> Iterator[tuple[bool | None, bool]]:
    """Yield for each boolean condition the rule's value and the action's."""
    hints = action.annotations
    yield rule.read_only, hints.read_only
    yield rule.destructive, _destructive(hints)
    yield rule.idempotent, hints.idempotent
    yield rule.open_world, hints.open_world
    yield rule.trusted_output, hints.trusted_output
    yield rule.undoable, hints.undo is not None
    yield rule.after_strangers, action.after_strangers
    yield rule.scheduled, action.scheduled


def _destructive(hints: Annotations) -> bool:
    """Whether a tool is destructive, as MCP defines it: never if read-only."""
    return hints.destructive and not hints.read_only


def _sources_fit(rule: Rule, action: Action) -> bool:
    """Match the origins of destinations: for ask and deny any one is enough, for auto all must match.

    For ask and deny, a value requested with a key that may not decide counts as a stranger's, and one that the model took
    from what is remembered as the model's.
    """
    if rule.origins is None:
        return True
    automatic = rule.decide is Decision.AUTO
    also = {} if automatic else {Source.STRANGERS: Source.KEY, Source.MODEL: Source.REMEMBERED}
    named = {*rule.origins, *(counts for source, counts in also.items() if source in rule.origins)}
    fits = [origin.source in named for origin in _destinations(action)]
    return any(fits) and (all(fits) or not automatic)


def _destination_fits(rule: Rule, action: Action, guess: bool) -> bool:
    if rule.free_destination is None:
        return True
    found = [Values.of(action.args, path) for path in action.annotations.sensitive]
    if any(values.known for values in found):
        return rule.free_destination
    return guess if any(values.unknown for values in found) else not rule.free_destination


def _values_fit(rule: Rule, action: Action, guess: bool) -> bool:
    def fits(globs: Sequence[str]) -> Callable[[JsonValue], bool]:
        return lambda value: any(_fits(value, glob, exact=rule.decide is Decision.AUTO) for glob in globs)

    found = {path: Values.of(action.args, path) for path in (*rule.args, *rule.args_any, *rule.args_at_most)}
    return (
        all(
            found[path].every(fits(globs), guess) if globs else found[path].none(guess)
            for path, globs in rule.args.items()
        )
        and all(found[path].some(fits(globs), guess) for path, globs in rule.args_any.items())
        and all(found[path].every(_at_most(limit), guess) for path, limit in rule.args_at_most.items())
    )


def _fits(value: JsonValue, glob: str, *, exact: bool) -> bool:
    text = value if isinstance(value, str) else json.dumps(value)
    return fnmatchcase(text, glob) or (not exact and fnmatchcase(text.strip().casefold(), glob.casefold()))


def _at_most(limit: float) -> Callable[[JsonValue], bool]:
    return lambda value: isinstance(value, int | float) and not isinstance(value, bool) and value <= limit


def _destinations(action: Action) -> list[Origin]:
    """Return the origins of all values that decide where data goes.

    A value without an origin counts as the model's, so that a missing trace never allows it.
    """
    sensitive = action.annotations.sensitive
    traced = [origin for origin in action.origins if any(touches(origin.path, path) for path in sensitive)]
    untraced = [
        Origin(path=leaf, source=Source.MODEL, trusted=False)
        for path in sensitive
        for leaf, _ in leaves_and_references(path, at_or_reference(action.args, path))
        if not any(holds(origin.path, leaf) for origin in traced)
    ]
    return [*traced, *untraced]


DEFAULT_POLICY = Policy(
    name="default",
    rules=(
        Rule(name="reads", read_only=True, open_world=False, free_destination=False, decide=Decision.AUTO),
        Rule(
            name="unknown-destinations",
            origins=(Source.STRANGERS, Source.MODEL, Source.OWN),
            decide=Decision.ASK,
        ),
        Rule(name="chosen-after-strangers", after_strangers=True, decide=Decision.ASK),
        Rule(name="reads-elsewhere", read_only=True, decide=Decision.AUTO),
        Rule(name="reversible-writes", open_world=False, destructive=False, decide=Decision.AUTO),
        Rule(name="consequential", decide=Decision.ASK),
    ),
)
