"""Collects the steps of a plan while clauses are read, with their results for later clauses."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from offline.planner.outcomes import Refuse

Json = Any
"""A JSON value: tool arguments are open by nature, their schema is in the request."""


class Gives(StrEnum):
    """The kind of a step's result."""

    FORECAST = "forecast"
    EVENTS = "events"
    EVENT = "event"
    SLOTS = "slots"
    MAILS = "mails"
    MAIL = "mail"
    CONTACTS = "contacts"
    TASKS = "tasks"
    PAGE = "page"


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of an earlier clause: its step, its kind, and its name in a subject."""

    step: str
    gives: Gives
    label: str


@dataclass(slots=True)
class Step:
    """One step of the plan."""

    id: str
    tool: str
    args: dict[str, Json]
    depends_on: list[str]
    why: str

    def as_json(self) -> dict[str, Json]:
        """Return the step in a plan's format."""
        return {
            "id": self.id,
            "tool": self.tool,
            "args": self.args,
            "depends_on": self.depends_on,
            "why": self.why,
        }


def reference(step: str, path: str) -> dict[str, str]:
    """A place in the result of a step, where a value may stand."""
    return {"$from": step, "path": path}


@dataclass
class Draft:
    """The plan so far, limited to the tools that the request offers.

    Attributes:
        schemas: The tools that may be used, by name, with the schemas of their arguments and results.
        facts: What is remembered of the person, by kind.
        used_ids: The highest number of an earlier step's id; the ids of new steps follow it.
    """

    schemas: Mapping[str, Mapping[str, Json]]
    used_ids: int = 0
    steps: list[Step] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)
    facts: Mapping[str, str] = field(default_factory=dict)

    def add(self, tool: str, args: dict[str, Json], why: str, after: Sequence[str] = ()) -> str:
        """Add a step and return its id. A reading step that is there already is not added twice.

        Raises:
            Refuse: The agent that owns the tool is not available.
        """
        self.require(tool)
        for step in self.steps:
            if step.tool == tool and step.args == args and tool in ("contacts.find", "weather.forecast"):
                return step.id
        name = f"s{self.used_ids + len(self.steps) + 1}"
        own = {step.id for step in self.steps}
        needs = sorted({*after, *_sources(args)} & own, key=lambda step: int(step[1:]))
        self.steps.append(Step(name, tool, args, needs, why[:300]))
        return name

    def require(self, tool: str) -> None:
        """Check that a tool is available, before asking about its arguments.

        Raises:
            Refuse: Its agent is not available.
        """
        if tool in self.schemas:
            return
        agent = tool.partition(".")[0]
        if any(name.startswith(f"{agent}.") for name in self.schemas):
            raise Refuse(f"I can't do this: the {agent} agent offers no tool {tool} right now.")
        raise Refuse(f"I can't do this, since no {agent} agent is available right now.")

    def argument(self, tool: str, name: str) -> Mapping[str, Json] | None:
        """The schema of one argument, or None where the tool does not take it."""
        args = self.schemas.get(tool, {}).get("args") or {}
        found = args.get("properties", {}).get(name)
        return found if isinstance(found, Mapping) else None

    def result_field(self, tool: str, name: str) -> bool:
        """Whether a tool's result has a field."""
        return name in self.result_fields(tool)

    def result_fields(self, tool: str) -> list[str]:
        """The fields of a tool's result, as far as its schema names them."""
        result = self.schemas.get(tool, {}).get("result") or {}
        return list(result.get("properties", {}))

    def note(self, step: str, gives: Gives, label: str) -> None:
        """Store the result of a step."""
        self.outcomes.append(Outcome(step, gives, label))

    def last(self, *kinds: Gives) -> list[Outcome]:
        """Return the results of earlier clauses of these kinds, in order."""
        return [outcome for outcome in self.outcomes if outcome.gives in kinds]


def _sources(value: Json) -> list[str]:
    if isinstance(value, dict):
        if "$from" in value:
            return [value["$from"]]
        return [source for item in value.values() for source in _sources(item)]
    if isinstance(value, list):
        return [source for item in value for source in _sources(item)]
    return []
