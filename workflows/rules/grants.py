"""Grants, approval counts and daily usage of a person: types and pure rules; `workflows/person.py` stores them.

A grant allows future actions without asking. Its scope is written out, pattern by pattern, and never grows; an action that
does not fit needs an approval as before.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, ValidationError

from retinue.json_values import canonical_json, json_sha256
from retinue.provenance.credential import Credential, CredentialKind
from retinue.schemas.plain_number import PLAIN_NUMBER
from retinue.text import safe
from retinue.times import Moment
from workflows.rules.json_args import at
from workflows.rules.triggers import TRIGGER_PREFIX

EQUAL_APPROVALS = 3
"""The number of equal approvals after which a grant is offered."""
LOG_USES = 50
LONGEST = timedelta(days=366)
"""The longest time until a grant's expiry."""
LONG_TEXT = 500
"""Characters. Only the digest of a longer value is stored, so that no mail's text is stored here."""
MAX_SCOPE = 16 * 1024
_SHOWN = 100
_PLAIN = re.compile(r"[\w.@+:/~-]+")

Pattern = Annotated[str, Field(max_length=3 * LONG_TEXT)]
Place = Annotated[str, Field(max_length=200, pattern=r"^(/[^/]+)+$")]
ToolName = Annotated[str, Field(max_length=200)]
Key = Annotated[str, Field(min_length=1, max_length=200)]
Name = Annotated[str, Field(max_length=200)]


def _small(patterns: dict[str, list[str]]) -> dict[str, list[str]]:
    if len(canonical_json(patterns)) > MAX_SCOPE:
        raise ValueError(f"the patterns are larger than {MAX_SCOPE // 1024} KiB together")
    return patterns


Patterns = Annotated[
    dict[Place, Annotated[list[Pattern], Field(max_length=50)]],
    Field(
        max_length=50,
        description="by JSON pointer, what each value there must fit: one of these glob patterns",
        json_schema_extra={"additionalProperties": False},
    ),
    AfterValidator(_small),
]
ScheduleId = Annotated[str | None, Field(max_length=200, description="only runs that this schedule starts")]
Uses = Annotated[int | None, Field(ge=0, le=1000, description="how often it may still be used; null is without end")]


class AlsoFor(StrEnum):
    """Which runs a grant covers besides those that the person starts in person."""

    SCHEDULES = "schedules"
    KEYS = "keys"


Reach = Annotated[
    tuple[AlsoFor, ...],
    Field(
        max_length=2,
        description="which runs it covers besides those that you start in person or with the key that creates it: "
        "'schedules' for scheduled runs, 'keys' for runs started with your other API keys",
    ),
]


class Scope(BaseModel):
    """Which arguments a grant covers. An empty list of patterns means that no value may be there.

    A list fits if each of its values does; an object counts as one value: its JSON with sorted keys and no blanks.
    """

    args: Patterns = Field(default_factory=dict)
    closed: bool = Field(False, description="no argument may have a value that `args` does not name")


class Use(BaseModel):
    """One action that a grant allowed."""

    key: str = Field(description="assistant id/step id")
    assistant_id: str
    at: Moment


AccountId = Annotated[
    str | None,
    Field(
        max_length=100,
        description="id of the account at a service elsewhere for which it is; null: the capability's own data",
    ),
]


class Grant(Scope):
    """A scoped permission for future actions."""

    grant_id: Name
    tool: ToolName
    account: AccountId = None
    account_words: str = Field("", max_length=500, description="the account as its card showed it")
    uses: Uses = None
    expires_at: Moment | None = None
    schedule_id: ScheduleId = None
    also_for: Reach = ()
    through: Credential | None = Field(None, description="the credential that created it")
    created_at: Moment
    created_by: Name = "local"
    from_approval: Name | None = Field(
        None, description="'assistant id/approval id', if it was created with an approval"
    )
    revoked_at: Moment | None = None
    used: int = 0
    log: list[Use] = Field(default_factory=list, description=f"the last {LOG_USES} uses, newest last")


class GrantRequest(BaseModel):
    """A grant requested with an approval. Without `args` it covers exactly what was approved."""

    model_config = ConfigDict(extra="forbid")

    args: Patterns | None = Field(
        None,
        description="by JSON pointer, glob patterns that each value there must fit; without it exactly the approved "
        "values of the arguments that decide where data goes, or of all arguments if none does; {} is any arguments",
    )
    uses: Annotated[int, Field(ge=1, le=1000), PLAIN_NUMBER] | None = Field(
        None, description="how often it may be used"
    )
    expires_at: Moment | None = None
    schedule_id: ScheduleId = None
    also_for: Reach = ()


class CheckGrant(BaseModel):
    """Input of the update `check_grant`: may this step run without asking?"""

    key: Key = Field(description="assistant id/step id; the same key never uses a grant twice")
    assistant_id: Name
    tool: ToolName
    args: dict[str, JsonValue] = Field(description="as they will run; see `digested`")
    sensitive: tuple[Place, ...] = ()
    schedule_id: ScheduleId = None
    keys: tuple[Name, ...] = Field((), description="ids of the API keys through which the run was asked for")
    account: AccountId = None


class CheckGrantResult(BaseModel):
    """A grant that covers the step, or the scope of one to offer with the approval, or neither."""

    grant_id: str | None = None
    says: str | None = Field(None, description="the grant in words")
    offer: Scope | None = None


class RecordApproval(BaseModel):
    """Input of the update `record_approval`: a person approved this action, perhaps with a grant."""

    key: Key = Field(description="assistant id/step id; the same key counts once")
    tool: ToolName
    args: dict[str, JsonValue] = Field(description="as they were approved; see `digested`")
    sensitive: tuple[Place, ...] = ()
    approval: Name | None = Field(None, description="assistant id/approval id")
    by: Name = "local"
    through: Credential | None = None
    wish: GrantRequest | None = None
    account: AccountId = None
    account_words: str = Field("", max_length=500)


class NewGrant(Scope):
    """Input of the update `add_grant`. The caller sets the id, so that a repeated request is one grant."""

    grant_id: Name
    tool: ToolName
    uses: int | None = Field(None, ge=1, le=1000)
    expires_at: Moment | None = None
    schedule_id: ScheduleId = None
    also_for: Reach = ()
    through: Credential | None = None
    by: Name = "local"
    account: AccountId = None


class Revoke(BaseModel):
    """Input of the update `revoke_grant`."""

    grant_id: Name


class Amounts(BaseModel):
    """Usage, by the names of a budget."""

    requests: int = Field(0, ge=0, le=10**9)
    tokens: int = Field(0, ge=0, le=10**12)
    cost: float = Field(0, ge=0, le=10**9, allow_inf_nan=False)
    steps: int = Field(0, ge=0, le=10**9)
    tool_calls: int = Field(0, ge=0, le=10**9)
    seconds: float = Field(0, ge=0, le=10**9, allow_inf_nan=False)

    def plus(self, more: Amounts) -> Amounts:
        """Return the sums; money rounded to a millionth, so that many small amounts do not drift."""
        return Amounts(**{name: round(getattr(self, name) + getattr(more, name), 6) for name in Amounts.model_fields})


class RecordUsage(BaseModel):
    """Input of the update `record_usage`."""

    key: Key = Field(description="the same key counts once")
    day: date = Field(description="today, in the time zone of the installation")
    delta: Amounts


class DayUsage(Amounts):
    """A person's usage in one day."""

    day: date


class PersonState(BaseModel):
    """Input of `PersonWorkflow`: its state when it continues as new."""

    grants: list[Grant] = Field(default_factory=list)
    approvals: dict[str, int] = Field(default_factory=dict, description="equal approvals, by `sameness`")
    keys: dict[str, str] = Field(default_factory=dict, description="digests of used keys and the grant that was used")
    days: dict[str, DayUsage] = Field(default_factory=dict)
    facts: int = Field(0, description="how many facts the memory capability keeps of the person")
    facts_revision: int = Field(0, description="of that number; a lower one is older")


def scope_of(tool_args: Mapping[str, JsonValue], sensitive: Sequence[str]) -> Scope | None:
    """Return the narrowest useful scope of an action: its destinations, or all its arguments if it has none.

    None if that is too large, such as for a mail to hundreds.
    """
    args = digested(tool_args)
    try:
        return _where_it_goes(args, sensitive) if sensitive else _as_it_is(args)
    except ValidationError:
        return None


def requested_scope(wish: GrantRequest, args: Mapping[str, JsonValue], sensitive: Sequence[str]) -> Scope | None:
    """Return the scope of a grant requested with an approval; None if it names none and the arguments are too large."""
    return scope_of(args, sensitive) if wish.args is None else Scope(args=wish.args)


def _where_it_goes(args: dict[str, JsonValue], sensitive: Sequence[str]) -> Scope:
    return Scope(args={place: sorted({_exactly(text) for text in _values(at(args, place))}) for place in sensitive})


def _as_it_is(args: dict[str, JsonValue]) -> Scope:
    """Return a pattern for an exact value. A list counts as a whole: another order is another action."""
    given = {_place(name): [_exactly(_text(value))] for name, value in sorted(args.items()) if _is_given(value)}
    return Scope(args=given, closed=True)


def covers(
    grant: Grant,
    tool: str,
    args: Mapping[str, JsonValue],
    schedule_id: str | None,
    now: datetime,
    *,
    keys: Collection[str] = (),
    account: str | None = None,
) -> bool:
    """Whether a grant allows an action at this time."""
    return is_live(grant, now) and fits(grant, tool, args, schedule_id, keys=keys, account=account)


def is_live(grant: Grant, now: datetime) -> bool:
    """Whether a grant is neither revoked nor used up nor expired."""
    ended = grant.revoked_at is not None or grant.uses == 0
    return not ended and (grant.expires_at is None or now < grant.expires_at)


def fits(
    grant: Grant,
    tool: str,
    args: Mapping[str, JsonValue],
    schedule_id: str | None,
    *,
    keys: Collection[str] = (),
    account: str | None = None,
) -> bool:
    """Whether an action is within a grant's scope, even if the grant has ended.

    Args:
        grant: The grant.
        tool: Of the action.
        args: Resolved.
        schedule_id: The schedule or trigger that started the run, if any.
        keys: Ids of the API keys through which the run was requested.
        account: Id of the account that it uses; None: the own data.
    """
    if grant.tool != tool or grant.account != account or not _is_for_run(grant, schedule_id, keys):
        return False
    known = digested(args)
    named = {place.split("/")[1] for place in grant.args}
    if grant.closed and any(_place(name)[1:] not in named for name, value in known.items() if _is_given(value)):
        return False
    return all(_fit(at(known, place), patterns) for place, patterns in grant.args.items())


def _is_trigger(schedule_id: str) -> bool:
    """Whether strangers decide when such runs start: a grant counts for them only if it names the trigger."""
    return schedule_id.startswith(TRIGGER_PREFIX)


def _is_for_run(grant: Grant, schedule_id: str | None, keys: Collection[str]) -> bool:
    """Whether a grant covers a run that this schedule or trigger started, or that was requested through these keys."""
    if grant.schedule_id is not None:
        of_schedule = grant.schedule_id == schedule_id
    else:
        of_schedule = schedule_id is None or (AlsoFor.SCHEDULES in grant.also_for and not _is_trigger(schedule_id))
    given_with = grant.through.id if grant.through else ""
    return of_schedule and (AlsoFor.KEYS in grant.also_for or all(key == given_with for key in keys))


def sameness(tool: str, scope: Scope, account: str | None = None) -> str:
    """Return a key that is equal for the same tool with the same scope, on the same account."""
    patterns = canonical_json({place: sorted(patterns) for place, patterns in scope.args.items()})
    return digest(tool, patterns, scope.closed, *([account] if account else []))


def digest(*parts: object) -> str:
    """Return a short digest of the parts."""
    return json_sha256(parts)[:16]


def digested(args: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """Return the arguments with every long text replaced by its digest; idempotent."""
    return {name: _digested(value) for name, value in args.items()}


def check_expiry(expires_at: datetime | None, now: datetime) -> str | None:
    """Return what is wrong with a grant's expiry, or None."""
    if expires_at is None or now < expires_at <= now + LONGEST:
        return None
    return "expires_at must be in the future, at most one year ahead; omit it for a grant without expiry"


def describe(grant: Grant) -> str:
    """Return a grant in one plain sentence, computed from what it allows."""
    account = [f"with the account {safe(grant.account_words or grant.account)}"] if grant.account else []
    parts = [safe(grant.tool), *account, *(_phrase(place, patterns) for place, patterns in grant.args.items())]
    if not grant.args:
        parts.append("without any arguments" if grant.closed else "WHATEVER its arguments are")
    elif grant.closed:
        parts.append("and nothing else")
    if grant.schedule_id is not None:
        parts.append(f"only in runs of the schedule {_shown(grant.schedule_id)}")
    bounds = [_how_often(grant.uses), _how_long(grant.expires_at), _for_which_runs(grant)]
    return f"Allowed: {', '.join([*parts, *filter(None, bounds)])}"


def _for_which_runs(grant: Grant) -> str:
    """Return in words who may have started the run."""
    any_key = AlsoFor.KEYS in grant.also_for
    if grant.schedule_id is not None:
        return "whichever of your API keys made it" if any_key else ""
    key = grant.through if grant.through and grant.through.kind is CredentialKind.KEY else None
    through = " or through any of your API keys" if any_key else f" or through the {key.label}" if key else ""
    scheduled = AlsoFor.SCHEDULES in grant.also_for
    only = "" if any_key or scheduled else "only "
    return f"{only}when you ask in person{through}{', and in scheduled runs' if scheduled else ''}"


def _how_often(uses: int | None) -> str:
    if uses is None:
        return "any number of times"
    return {0: "no more times", 1: "once more"}.get(uses, f"{uses} more times")


def _how_long(expires_at: datetime | None) -> str:
    if expires_at is None:
        return "until it is revoked"
    at_midnight = (expires_at.hour, expires_at.minute, expires_at.second) == (0, 0, 0)
    return f"until {expires_at:%Y-%m-%d}" if at_midnight else f"until {expires_at:%Y-%m-%d %H:%M %Z}"


def _phrase(place: str, patterns: Sequence[str]) -> str:
    label = safe(place[1:].replace("/", " ").replace("_", " "))
    if not patterns:
        return f"no {label}"
    if "*" in patterns:
        return f"ANY {label}"
    exact = [_shown(_literal(pattern)) for pattern in patterns if _is_exact(pattern)]
    wide = [f"anything like {_shown(pattern)}" for pattern in patterns if not _is_exact(pattern)]
    return f"{label} {' or '.join([*(f'exactly {text}' for text in exact[:1]), *exact[1:], *wide])}"


def _shown(text: str) -> str:
    """Return a value quoted, so that it cannot be mistaken for a part of the sentence."""
    if len(text) > _SHOWN and any(char.isspace() for char in text):  # an address is shown in full
        text = f"{text[:_SHOWN]}… ({len(text)} characters)"
    return text if _PLAIN.fullmatch(text) and text.isascii() else json.dumps(safe(text), ensure_ascii=False)


def _fit(value: JsonValue, patterns: Sequence[str]) -> bool:
    values = list(_values(value))
    if not patterns or not values:
        return not patterns and not values
    return _exactly(_text(value)) in patterns or all(
        any(fnmatchcase(text, pattern) for pattern in patterns) for text in values
    )


def _values(value: JsonValue) -> Iterator[str]:
    """Yield the values at a JSON pointer as texts: none for null or an empty list, each value of a list."""
    if isinstance(value, list):
        for item in value:
            yield from _values(item)
    elif value is not None:
        yield _text(value)


def _is_given(value: JsonValue) -> bool:
    return next(_values(value), None) is not None


def _text(value: JsonValue) -> str:
    text = value if isinstance(value, str) else canonical_json(value)
    return str(_digested(text))


def _digested(value: JsonValue) -> JsonValue:
    if isinstance(value, str):
        return (
            value
            if len(value) <= LONG_TEXT
            else f"sha256:{hashlib.sha256(value.encode(errors='surrogatepass')).hexdigest()}"
        )
    if isinstance(value, list):
        return [_digested(item) for item in value]
    return digested(value) if isinstance(value, dict) else value


def _place(name: str) -> str:
    return "/" + name.replace("~", "~0").replace("/", "~1")


def _exactly(text: str) -> str:
    """Return the glob pattern that matches only this text."""
    return re.sub(r"([*?[])", r"[\1]", text)


def _literal(pattern: str) -> str:
    return re.sub(r"\[([*?[])\]", r"\1", pattern)


def exact_text(patterns: Sequence[str]) -> str | None:
    """Return the only text that fits these patterns; None if several do or only its digest is known."""
    only = patterns[0] if len(patterns) == 1 and _is_exact(patterns[0]) else None
    return None if only is None or only.startswith("sha256:") else _literal(only)


def _is_exact(pattern: str) -> bool:
    return _exactly(_literal(pattern)) == pattern
