"""Capabilities: the contract in Python, and the manifest that it announces.

A contract is an abstract class. Each tool is a method with two decorators: `@activity.defn(name=...)`, so that typed
workflows can schedule it, and `@tool(...)`, which adds what planning, consent and scheduling need. A capability in another
language announces the same `Manifest` as JSON and needs no Python class.
"""

from __future__ import annotations

import inspect
from abc import ABC
from collections.abc import Awaitable, Callable, Iterator
from datetime import timedelta
from typing import Annotated, Any, ClassVar, Self, TypedDict, TypeVar, get_type_hints

from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict
from temporalio import activity
from temporalio.common import RetryPolicy

from retinue.effect_status import EffectLedger
from retinue.provenance.fields import KEYWORD

WORKFLOW_QUEUE = "workflows"
"""The task queue of the workflow workers; no capability may use it."""
ToolMethod = TypeVar("ToolMethod", bound=Callable[..., Awaitable[Any]])


class Annotations(BaseModel):
    """The effects of a tool, in MCP's terms. The defaults are careful: an undeclared tool needs approval."""

    model_config = ConfigDict(frozen=True)

    read_only: bool = Field(False, description="It changes nothing.")
    destructive: bool = Field(True, description="It may overwrite or remove data irreversibly.")
    idempotent: bool = Field(False, description="The same call twice has no further effect.")
    open_world: bool = Field(True, description="It reaches people or systems outside the capability's own store.")
    sensitive: tuple[Annotated[str, Field(pattern=r"^(/[^/]+)+$")], ...] = Field(
        (), description="JSON pointers of arguments that decide where data goes."
    )
    trusted_output: bool = Field(
        False,
        description="No text in its result comes from outside; it only repeats its arguments or is the capability's own. "
        "Where it is false, the result schema may still say so of single fields (`x-origin`).",
    )
    own_errors: bool = Field(
        False, description="Its error messages quote nothing but its arguments, though its result may."
    )
    known_destinations: tuple[str, ...] = Field(
        (),
        description="Names of result fields with addresses of people whom the person knows, as an address book's "
        "`email`: only these values count as known destinations.",
    )
    picks: tuple[str, str] | None = Field(
        None,
        description="Names of two result fields of a look-up: the only match, else null, and the list of all matches. If a "
        "later step needs the match and there are several, the person is asked which.",
    )
    ordered: bool = Field(
        False,
        description="The list of `picks` has an order that people mean, such as earliest first: a step that needs its first "
        "item is clear, and nobody is asked.",
    )
    finds: str = Field(
        "",
        max_length=40,
        description="What a look-up searches, as a noun: 'event'. If a later step needs it and there is none, the assistant "
        "answers 'I found no event' and does not fail.",
    )
    lookups: dict[str, str] = Field(
        default_factory=dict,
        description="By argument with an id: the read-only tool of the same capability that reads the thing it refers to, "
        "called with the id alone. An approval shows the result.",
    )
    fills_in: dict[str, str] = Field(
        default_factory=dict,
        description="By argument: the read-only tool of the same capability that returns further arguments when this one is "
        "given, such as the recipients of a reply. It is called with those arguments that it knows, before anything is "
        "decided. Its result's fields become the arguments with these names that the plan leaves out.",
    )
    advice: str | None = Field(
        None,
        description="The read-only tool of the same capability that knows what is worth knowing before the action; called "
        "with those of its arguments that it takes. An approval shows the texts in `notes` of its result.",
    )
    undo: str | None = Field(None, description="The tool that compensates this one.")
    accounts: bool = Field(
        False,
        description="It works on one of the person's accounts at services elsewhere. Its optional argument `account` names "
        "one, else their default one is used; the activity `<capability>.which_account` on the same task queue tells which "
        "one that is, and the field `account` of its result which one it was.",
    )
    personal: bool = Field(
        False,
        description="Its data belong to one person: the worker is told for whom the step is done, by the Temporal header "
        "`retinue-person`.",
    )

    def replace(self, **changes: object) -> Self:
        """Return a copy with these fields changed; a field that does not exist is a ValidationError."""
        return self.model_validate({**self.model_dump(exclude_unset=True), **changes}, extra="forbid")


READ = Annotations(read_only=True, destructive=False, idempotent=True, open_world=False)
"""Reads data of the capability's own store or account."""
OWN_WRITE = Annotations(read_only=False, destructive=False, idempotent=False, open_world=False)
"""Adds or changes data of the capability's own store or account; nothing is lost and nothing leaves it."""
SENDS = Annotations(read_only=False, destructive=True, idempotent=False, open_world=True)
"""Reaches other people or systems, and cannot be undone."""
DESTRUCTIVE = Annotations(read_only=False, destructive=True, idempotent=True, open_world=False)
"""Removes or overwrites data of the capability's own store or account."""


OwnText = Annotated[str, Field(json_schema_extra={KEYWORD: "own"})]
"""Type of a result's text that is the capability's own, or only repeats its arguments."""
Id = Annotated[str, Field(json_schema_extra={KEYWORD: "id"})]
"""Type of a result's id that the capability made of hexadecimal digits. Any other text there counts as strangers'."""
PLANS_KEYWORD = "x-plans"
NOT_FOR_PLANS: JsonDict = {PLANS_KEYWORD: False}
"""`json_schema_extra` of a field that plans have no use for, such as what only an undo needs: models do not read of it."""


ACCOUNT = "account"
"""The argument of a tool with accounts, and the field of its result."""
OWN = "own"
"""Stands in the place of an account for the capability's own data; no account may have this name."""
_ACCOUNT_ARGUMENT: JsonDict = {
    "anyOf": [{"type": "string", "maxLength": 100}, {"type": "null"}],
    "default": None,
    "description": "name of the person's account; else the default one",
    **NOT_FOR_PLANS,
}
_ACCOUNT_USED: JsonDict = {
    "type": "string",
    "description": "id of the account, or `own`",
    KEYWORD: "own",
    **NOT_FOR_PLANS,
}


def which_account(capability: str) -> str:
    """Return the activity that tells which account a tool of a capability with accounts would use."""
    return f"{capability}.which_account"


class ToolOptions(BaseModel):
    """How a tool is scheduled. All times are seconds."""

    model_config = ConfigDict(frozen=True)

    start_to_close: float = Field(30, gt=0, description="The longest one attempt may take.")
    heartbeat: float = Field(10, gt=0, description="A worker that is silent for so long counts as dead.")
    attempts: int = Field(5, ge=1, le=20, description="How often it is tried before the step fails.")
    first_retry_after: float = Field(1, gt=0, description="Pause before the second attempt; it doubles each time.")
    longest_pause: float = Field(20, gt=0, description="No pause between attempts is longer.")
    patience: float = Field(24 * 3600, gt=0, description="How long a step waits for a worker before it fails.")


class ActivityOptions(TypedDict):
    """The keyword arguments of `workflow.start_activity` that a tool's options decide."""

    start_to_close_timeout: timedelta
    schedule_to_start_timeout: timedelta
    schedule_to_close_timeout: timedelta
    heartbeat_timeout: timedelta
    retry_policy: RetryPolicy


def activity_options(options: ToolOptions, *, schedule_to_start: float) -> ActivityOptions:
    """Turn a tool's options into Temporal's, waiting at most `schedule_to_start` seconds for a free worker."""
    pauses = options.longest_pause * (options.attempts - 1)
    return ActivityOptions(
        start_to_close_timeout=timedelta(seconds=options.start_to_close),
        schedule_to_start_timeout=timedelta(seconds=schedule_to_start),
        schedule_to_close_timeout=timedelta(
            seconds=schedule_to_start + options.start_to_close * options.attempts + pauses
        ),
        heartbeat_timeout=timedelta(seconds=options.heartbeat),
        retry_policy=RetryPolicy(
            initial_interval=timedelta(seconds=options.first_retry_after),
            backoff_coefficient=2,
            maximum_interval=timedelta(seconds=options.longest_pause),
            maximum_attempts=options.attempts,
        ),
    )


STORE_ATTEMPTS = 1_000_000
"""Attempts of an activity that waits for its worker's database; `retinue.activity_adapter` ends them on other errors."""
_STORE_CYCLE = timedelta(hours=1)


def store_options(options: ToolOptions, left: timedelta) -> ActivityOptions:
    """Return Temporal's options while a worker's own database does not work: the server retries without history events.

    Args:
        options: Of the tool.
        left: How long the step may still wait; after an hour the workflow checks again.
    """
    lasting = max(timedelta(seconds=1), min(_STORE_CYCLE, left))
    return ActivityOptions(
        start_to_close_timeout=timedelta(seconds=options.start_to_close),
        schedule_to_start_timeout=lasting,
        schedule_to_close_timeout=lasting,
        heartbeat_timeout=timedelta(seconds=options.heartbeat),
        retry_policy=RetryPolicy(
            initial_interval=timedelta(seconds=5),
            backoff_coefficient=2,
            maximum_interval=timedelta(seconds=20),
            maximum_attempts=STORE_ATTEMPTS,
        ),
    )


class ToolSpec(BaseModel):
    """One tool as the manifest announces it. `args_schema` and `result_schema` are JSON Schema (draft 2020-12)."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_-]*\.[a-z][a-z0-9_]*$", description="capability.verb_object, for ever.")
    title: str = Field(min_length=1, max_length=80, description="What it does, as a person would say: 'Send a mail'.")
    description: str = Field(description="What the model reads: units, time zones, effects.")
    summary: str = Field(
        "",
        max_length=200,
        pattern=r"^([^{}]|\{[a-z_][a-z0-9_]*\})*$",
        description="One line about a call; '{to}' is replaced by the argument `to`.",
    )
    args_schema: dict[str, Any]
    result_schema: dict[str, Any] = Field(default_factory=dict)
    annotations: Annotations = Annotations()
    options: ToolOptions = ToolOptions()
    plannable: bool = Field(True, description="False for tools that only workflows and code call.")
    rare: bool = Field(
        False,
        description="Seldom needed: a plan's request only names it, unless it fits what was said or the model asks for it.",
    )
    examples: tuple[Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\r\n]+$")], ...] = Field(
        (),
        max_length=50,
        description="Requests that this tool serves, as people say them: 'what is on tomorrow?'. By them it is found among "
        "many tools; the model does not read them.",
    )


MOST_LEFT_OUT = 100
LONGEST_PROBLEM = 300
"""Characters."""


class Manifest(BaseModel):
    """What a capability announces when its worker starts."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_-]{0,39}$")
    version: str = Field(min_length=1, max_length=40)
    description: str = Field(min_length=1, max_length=400)
    instructions: str = Field("", max_length=8000, description="How the model should use this capability.")
    task_queue: str = Field(min_length=1, max_length=200)
    tools: list[ToolSpec] = Field(min_length=1, max_length=100)
    notice: str = Field(
        "",
        max_length=300,
        description="What people should know about it in this installation, such as that its values are simulated.",
    )
    problem: str = Field(
        "",
        max_length=LONGEST_PROBLEM,
        description="Why its steps wait now, such as a database that cannot be written; empty while it works.",
    )
    left_out: list[Annotated[str, Field(max_length=300)]] = Field(
        default_factory=list,
        max_length=MOST_LEFT_OUT,
        description="Tools of an external service that cannot be used, each with the reason.",
    )

    def tool(self, name: str) -> ToolSpec | None:
        """Return the tool with this full name (`calendar.create_event`), or None."""
        return next((spec for spec in self.tools if spec.name == name), None)


def tool(
    *,
    title: str,
    summary: str = "",
    annotations: Annotations,
    options: ToolOptions | None = None,
    plannable: bool = True,
    rare: bool = False,
    examples: tuple[str, ...] = (),
) -> Callable[[ToolMethod], ToolMethod]:
    """Mark a contract method as a tool. Its docstring is the description that a model reads.

    The method takes one pydantic model (its fields are the tool's arguments) or nothing, and returns a pydantic model.
    `examples` are requests that the tool serves, as people say them.
    """

    def mark(method: ToolMethod) -> ToolMethod:
        method.__retinue_tool__ = {  # type: ignore[attr-defined]  # functions carry attributes; their type does not say so
            "title": title,
            "summary": summary,
            "annotations": annotations,
            "options": options or ToolOptions(),
            "plannable": plannable,
            "rare": rare,
            "examples": examples,
        }
        return method

    return mark


class Capability(ABC):
    """Base class of contracts; derives the manifest from the methods marked with `@tool`."""

    name: ClassVar[str]
    version: ClassVar[str]
    description: ClassVar[str]
    instructions: ClassVar[str]
    ledger: EffectLedger | None = None
    """Set by tools that have effects."""
    uses_accounts: ClassVar[bool] = False
    """Whether its tools may work on accounts of people at services elsewhere."""
    without_account: ClassVar[frozenset[str]] = frozenset()
    """Those of its tools that take no account all the same."""

    @classmethod
    def task_queue(cls) -> str:
        """Return the Temporal task queue that only this capability's workers poll."""
        return cls.name

    @classmethod
    def tool_methods(cls) -> Iterator[tuple[str, Callable[..., Awaitable[Any]]]]:
        """Yield full tool names and contract methods, in the order of declaration."""
        for owner in reversed(cls.__mro__):
            for method in vars(owner).values():
                if hasattr(method, "__retinue_tool__"):
                    definition = activity._Definition.from_callable(method)
                    if definition is None or definition.name is None:
                        raise TypeError(f"{method.__qualname__} has @tool but no @activity.defn(name=...) above it")
                    yield definition.name, method

    @classmethod
    def options(cls, method_name: str) -> ToolOptions:
        """Return the scheduling options of one contract method, for typed workflows."""
        options: ToolOptions = getattr(cls, method_name).__retinue_tool__["options"]
        return options

    @classmethod
    def manifest(cls, *, notice: str = "", accounts: bool = False) -> Manifest:
        """Return the manifest.

        Args:
            notice: What people should know about this installation's capability.
            accounts: Whether there is an accounts service.
        """
        tools = [_spec(name, method) for name, method in cls.tool_methods()]
        if accounts and cls.uses_accounts:
            tools = [spec if spec.name in cls.without_account else _with_account(spec) for spec in tools]
        return Manifest(
            name=cls.name,
            version=cls.version,
            description=cls.description,
            instructions=cls.instructions,
            task_queue=cls.task_queue(),
            tools=tools,
            notice=notice,
        )


def _spec(name: str, method: Callable[..., Awaitable[Any]]) -> ToolSpec:
    arguments, result = signature_models(method)
    return ToolSpec(
        name=name,
        description=inspect.cleandoc(method.__doc__ or ""),
        args_schema=_schema(arguments) if arguments else {"type": "object", "properties": {}},
        result_schema=_schema(result, mode_is_result=True),
        **method.__retinue_tool__,  # type: ignore[attr-defined]  # set by @tool
    )


def _with_account(spec: ToolSpec) -> ToolSpec:
    """Return a tool whose arguments may name an account, and whose result names the one that was used."""
    given = {**spec.args_schema, "properties": {**spec.args_schema.get("properties", {}), ACCOUNT: _ACCOUNT_ARGUMENT}}
    told = {**spec.result_schema, "properties": {**spec.result_schema.get("properties", {}), ACCOUNT: _ACCOUNT_USED}}
    annotations = spec.annotations.replace(accounts=True)
    return spec.model_copy(update={"args_schema": given, "result_schema": told, "annotations": annotations})


def signature_models(method: Callable[..., Awaitable[Any]]) -> tuple[type[BaseModel] | None, type[BaseModel]]:
    """Return the argument model (None for a tool without arguments) and the result model of a contract method."""
    hints = get_type_hints(method)
    result = hints.pop("return")
    models = list(hints.values())
    return (models[0] if models else None), result


def _schema(model: type[BaseModel], *, mode_is_result: bool = False) -> dict[str, Any]:
    schema = model.model_json_schema(by_alias=True, mode="serialization" if mode_is_result else "validation")
    if not mode_is_result:  # by it, tools that return the same say so in one word
        schema.pop("title", None)
    schema.pop("description", None)
    _drop_titles(schema)
    return schema


def _drop_titles(node: Any) -> None:
    """Remove the titles that pydantic gives every field: they only repeat its name and cost tokens and history."""
    if isinstance(node, dict):
        for fields in (node.get("properties"), node.get("$defs")):
            for field in (fields or {}).values():
                field.pop("title", None)
        for value in node.values():
            _drop_titles(value)
    elif isinstance(node, list):
        for value in node:
            _drop_titles(value)
