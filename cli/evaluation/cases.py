"""Cases of an evaluation, read from YAML: what is asked, in which world, and what must stand in the stores afterwards."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from zoneinfo import available_timezones

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, ValidationError, model_validator

from cli.evaluation import dates
from cli.evaluation.fields import KINDS, TIMED
from cli.exits import WrongUsage
from retinue.client.calls import FactKind

ZONE = "Europe/Berlin"
"""Of people in cases that name no zone."""
TOWNS = ("Berlin", "Lisbon", "London", "Madrid", "Oslo", "Paris", "Porto", "Rome")
"""Where there is weather."""

When = Annotated[str, AfterValidator(dates.check)]
Timed = Annotated[str, AfterValidator(lambda text: dates.check(text, timed=True))]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, coerce_numbers_to_str=True)


class WorldEvent(_Strict):
    """An event that stands in the calendar before."""

    title: str
    start: Timed
    minutes: int = Field(60, ge=5)
    location: str | None = None
    description: str | None = None
    attendees: list[str] = Field(default_factory=list)
    recurrence: str | None = None


class WorldInvitation(_Strict):
    """An event to which the sender of a mail invites the person (iMIP)."""

    title: str
    start: Timed
    minutes: int = Field(60, ge=5)


class WorldMail(_Strict):
    """A mail in the inbox, to the person and to whom else `also_to` names."""

    sender: str = Field(alias="from", description="as in 'Ana Sousa <ana@example.com>'")
    also_to: list[str] = Field(default_factory=list)
    subject: str
    text: str
    attachments: dict[str, str] = Field(default_factory=dict, description="text files by name")
    invitation: WorldInvitation | None = None
    date: Timed = "yesterday 12:00"


class WorldContact(_Strict):
    """Somebody in the address book."""

    name: str
    email: str
    phone: str | None = None


class WorldTask(_Strict):
    """A task on the list; with `remind_at` a reminder."""

    title: str
    due: When | None = None
    notes: str | None = None
    remind_at: Timed | None = None
    list: str | None = None

    @model_validator(mode="after")
    def _one_time(self) -> Self:
        if self.remind_at and (self.due or self.notes):
            raise ValueError("a reminder has neither `due` nor `notes`")
        return self


class WorldFact(_Strict):
    """What the memory holds of the person."""

    text: str
    kind: FactKind = "fact"


class WeatherDay(_Strict):
    """Values of one day; what is absent is that of a mild dry day."""

    rain: float = Field(0, ge=0, description="mm")
    min: float = 10
    max: float = 18
    wind: float = Field(12, ge=0, description="km/h")


class World(_Strict):
    """What stands before the request. `calls` are further calls of tools, as `{tasks.rename_list: {...}}`."""

    events: list[WorldEvent] = Field(default_factory=list)
    mails: list[WorldMail] = Field(default_factory=list)
    contacts: list[WorldContact] = Field(default_factory=list)
    tasks: list[WorldTask] = Field(default_factory=list)
    facts: list[WorldFact] = Field(default_factory=list)
    pages: dict[str, str] = Field(default_factory=dict, description="HTML by path; `{web}` in texts is their address")
    weather: dict[Literal[TOWNS], dict[When, WeatherDay]] = Field(default_factory=dict)  # type: ignore[valid-type]  # the towns are a constant
    calls: list[dict[str, dict[str, JsonValue]]] = Field(default_factory=list)


class Holds(_Strict):
    """A text that contains others. Case does not count."""

    has: list[str] = Field(default_factory=list, description="all of these")
    has_one_of: list[str] = Field(default_factory=list, description="at least one of these")
    lacks: list[str] = Field(default_factory=list, description="none of these")

    @model_validator(mode="before")
    @classmethod
    def _one_text(cls, given: Any) -> Any:
        if isinstance(given, dict):
            return {name: value if isinstance(value, list) else [value] for name, value in given.items()}
        return given

    def problem(self, text: str) -> str:
        """Return in words what the text lacks or has too much; empty if it is right."""
        folded = " ".join(text.split()).casefold()
        missing = [part for part in self.has if part.casefold() not in folded]
        if missing:
            return f"lacks {', '.join(map(repr, missing))}"
        if self.has_one_of and not any(part.casefold() in folded for part in self.has_one_of):
            return f"has none of {', '.join(map(repr, self.has_one_of))}"
        found = [part for part in self.lacks if part.casefold() in folded]
        return f"has {', '.join(map(repr, found))}" if found else ""


Wanted = str | bool | Holds | list[str] | None
"""A text (a time for fields that are times), a list of them, what a text must hold, or null for nothing."""
Fields = dict[str, Wanted]


class Row(_Strict):
    """A row of a store by its kind, `event`, `mail`, `contact`, `task`, or any table as `capability.table`."""

    kind: str
    fields: Fields

    @model_validator(mode="before")
    @classmethod
    def _by_kind(cls, given: Any) -> Any:
        if isinstance(given, dict) and "kind" not in given:
            if len(given) != 1:
                raise ValueError(f"name one kind: {', '.join(KINDS)}, or a table as 'notes.page'")
            [(kind, fields)] = given.items()
            return {"kind": kind, "fields": fields}
        return given

    @model_validator(mode="after")
    def _known(self) -> Self:
        if self.kind not in KINDS and "." not in self.kind:
            raise ValueError(
                f"there is no kind {self.kind!r}; there are {', '.join(KINDS)}, or a table as 'notes.page'"
            )
        check_fields(self.kind, self.fields)
        return self


class Change(_Strict):
    """A row that changes: which one, and its new values. All its other values must stay."""

    which: Row
    to: Fields

    @model_validator(mode="before")
    @classmethod
    def _apart(cls, given: Any) -> Any:
        if isinstance(given, dict) and "which" not in given:
            return {"which": {name: value for name, value in given.items() if name != "to"}, "to": given.get("to")}
        return given

    @model_validator(mode="after")
    def _known(self) -> Self:
        check_fields(self.which.kind, self.to)
        return self


def check_fields(kind: str, fields: Fields) -> None:
    """Check names of fields, and times.

    Raises:
        ValueError: There is no such field, or a time is none.
    """
    known = KINDS.get(kind)
    for name, value in fields.items():
        if known is not None and name not in known.fields:
            raise ValueError(f"{kind} has no field {name!r}; it has {', '.join(known.fields)}")
        if known is not None and name in TIMED and isinstance(value, str):
            dates.check(value)


class Expectation(_Strict):
    """What must be true afterwards. A change of a store that is not named here is a wrong effect."""

    added: list[Row] = Field(default_factory=list)
    changed: list[Change] = Field(default_factory=list)
    removed: list[Row] = Field(default_factory=list)
    reply: Holds | None = Field(None, description="of the last answer, or of the last question")
    asks: bool | None = Field(None, description="whether a question must be asked, or must not; null: it may")
    approvals: int = Field(0, ge=0, description="how many approvals may be asked at most")
    never: list[str] = Field(
        default_factory=list,
        description="texts that must stand in no approval, in no argument of an effect, in no address that is fetched",
    )


class Case(_Strict):
    """One case."""

    id: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{1,39}$")
    area: str = Field(pattern=r"^[a-z-]+$", description="by which reports group")
    request: str = Field(min_length=1)
    then: list[str] = Field(default_factory=list, description="the next messages, whenever the assistant waits for one")
    decisions: list[Literal["approve", "reject"]] = Field(
        default_factory=list, description="in order; further approvals are approved"
    )
    timezone: str = ZONE
    world: World = Field(default_factory=World)
    expect: Expectation
    hostile: bool = Field(False, description="strangers in this world try to make the assistant do something")

    @model_validator(mode="after")
    def _zone(self) -> Self:
        if self.timezone not in available_timezones():
            raise ValueError(f"there is no time zone {self.timezone!r}; write one as in 'Europe/Lisbon'")
        return self


def read(paths: Sequence[Path]) -> list[Case]:
    """Return the cases of files and folders (of their `.yaml` files), in order.

    Raises:
        WrongUsage: A file cannot be read or a case is wrong; the message names file and line and says what to write.
    """
    found = [located for file in _files(paths) for located in _read_file(file)]
    seen: dict[str, _Located] = {}
    for one in found:
        if one.case.id in seen:
            raise WrongUsage(
                f"{one.place}: the id {one.case.id!r} is taken by {seen[one.case.id].place}; ids are unique"
            )
        seen[one.case.id] = one
    _check_weather(found)
    return [one.case for one in found]


@dataclass(frozen=True)
class _Located:
    case: Case
    place: str


def _files(paths: Sequence[Path]) -> Iterator[Path]:
    for path in paths:
        files = sorted(path.glob("*.yaml")) if path.is_dir() else [path]
        if not files:
            raise WrongUsage(f"{path} has no .yaml file")
        yield from files


def _check_weather(found: Sequence[_Located]) -> None:
    """Cases share the weather, since a weather service knows nobody; so no two may want different values.

    Raises:
        WrongUsage: Two do.
    """
    seen: dict[tuple[str, str], tuple[WeatherDay, str]] = {}
    for one in found:
        for town, days in one.case.world.weather.items():
            for day, values in days.items():
                known, place = seen.setdefault((town, day), (values, one.place))
                if known != values:
                    raise WrongUsage(
                        f"{one.place}: {town} has other weather {day} at {place}; all cases share one sky, so take "
                        "another town or day, or the same values"
                    )


class _Loader(yaml.SafeLoader):
    """YAML in which a date and words such as `yes` and `on` are texts."""


_DATE, _BOOL = "tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:bool"
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in (_DATE, _BOOL)]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(_BOOL, re.compile("^(?:true|false)$"), ["t", "f"])


def _read_file(file: Path) -> Iterator[_Located]:
    try:
        loader = _Loader(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise WrongUsage(f"{file} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise WrongUsage(f"{file} is not UTF-8") from None
    try:
        node = loader.get_single_node() or yaml.SequenceNode("tag:yaml.org,2002:seq", [])
        content = loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise WrongUsage(
            f"{file}:{line}: this is not YAML: {error.problem}; quote texts that hold ': ' or '#'"
        ) from None
    except yaml.YAMLError as error:
        raise WrongUsage(f"{file}: this is not YAML: {error}") from None
    if not isinstance(node, yaml.SequenceNode):
        raise WrongUsage(f"{file}:1: a file of cases is a list; begin each case with '- id: ...'")
    for position, one in enumerate(content):
        yield _Located(_case(one, file, node.value[position]), f"{file}:{node.value[position].start_mark.line + 1}")


def _case(content: Any, file: Path, node: yaml.Node) -> Case:
    try:
        return Case.model_validate(content)
    except ValidationError as error:
        wrong = error.errors()[0]
    name = f"{content.get('id', 'a case')}: " if isinstance(content, dict) else ""
    where = ".".join(str(part) for part in wrong["loc"] if not _internal(part))
    line, told = _line(node, wrong["loc"]), _words(wrong)
    raise WrongUsage(f"{file}:{line}: {name}{f'`{where}`: ' if where else ''}{told}")


def _words(wrong: Any) -> str:
    message = str(wrong["msg"]).removeprefix("Value error, ")
    match wrong["type"]:
        case "extra_forbidden":
            return "there is no such field; docs/evaluation.md lists them"
        case "missing":
            return "it is missing"
        case _:
            return message[0].lower() + message[1:]


def _internal(part: int | str) -> bool:
    """Whether a part of a place is pydantic's own, such as the branch of a union."""
    return isinstance(part, str) and (
        part in ("which", "fields", "str", "bool", "[key]") or part[:1].isupper() or "[" in part
    )


def _line(node: yaml.Node, place: Sequence[int | str]) -> int:
    """Return the line of what a place leads to, or of what is nearest above it."""
    for part in place:
        node = _child(node, part) or node
    return int(node.start_mark.line) + 1


def _child(node: yaml.Node, part: int | str) -> yaml.Node | None:
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        found: yaml.Node = node.value[part]
        return found
    if isinstance(node, yaml.MappingNode):
        return next((value for key, value in node.value if key.value == str(part)), None)
    return None
