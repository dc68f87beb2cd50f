"""Adapts a capability's Python methods to Temporal activities.

It validates arguments, translates expected errors into `ApplicationError`s, bounds results, and sends heartbeats while a
tool runs, so that a dead worker is noticed in seconds.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from contextvars import ContextVar
from typing import Any, Protocol, TypeVar

from pydantic import BaseModel, ValidationError
from temporalio import activity
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError

from retinue.capability import ACCOUNT, STORE_ATTEMPTS, Capability, ToolOptions, signature_models, which_account
from retinue.effect_status import CLOSE_EFFECT, EffectId, EffectLedger, EffectStatus, Outcome
from retinue.errors import InvalidArguments, NotServedHere, RetinueError, ServiceRefused, to_application_error
from retinue.runtime.logs import said
from retinue.temporal.failures import non_retryable
from retinue.temporal.tenant_header import current_tenant
from retinue.tenancy import ANY_TENANT, HOME, variable_of

MAX_RESULT_BYTES = 256 * 1024
_log = logging.getLogger("retinue.tools")

Activity = Callable[..., Awaitable[dict[str, Any]]]
Result = TypeVar("Result")


class AccountRouting(Protocol):
    """The tools over the accounts of people; see `retinue.accounts.routing.Routing`."""

    ledger: EffectLedger

    async def run(
        self,
        account: str | None,
        work: Callable[[Any], Awaitable[Result]],
        *,
        own: Callable[[], Awaitable[Result]],
    ) -> tuple[Result, str]:
        """Run a tool on the account of the running step, or on the own data. Returns its result, and where it ran."""

    async def which(self, account: str | None) -> tuple[str, str]:
        """Return the id of the account that `run` would use, and how people know it; `own` and nothing for the own data."""


def build_activities(
    tools: Capability, *, tenant: str = HOME, accounts: AccountRouting | None = None
) -> list[Activity]:
    """Return the Temporal activities of one capability: each contract method, bound to `tools` and adapted.

    Tools with a ledger also serve `ledger.close`, the query for an effect whose run was stopped; those with accounts
    `<capability>.which_account`.

    Args:
        tools: The implementation.
        tenant: The only organisation that is served, since an external account has one owner. `EACH` if all personal
            data is in a `Store`, which separates organisations, or if there is none. The default serves only people
            without an organisation.
        accounts: Serves people with accounts elsewhere; the others, and organisations, as without it.
    """
    calls = [_wrap(name, tools, method, tenant, accounts) for name, method in tools.tool_methods()]
    ledgers = [ledger for ledger in (tools.ledger, accounts.ledger if accounts else None) if ledger is not None]
    asked = [_tell_account(tools.name, accounts)] if accounts else []
    return [*calls, *asked, *([close_effect(*ledgers)] if ledgers else [])]


def keep_open(*things: AbstractAsyncContextManager[Any] | None) -> Callable[[], AbstractAsyncContextManager[None]]:
    """A plugin's `run_context` that enters these in order when the worker starts and exits them when it stops."""

    @asynccontextmanager
    async def opened() -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            for thing in filter(None, things):
                await stack.enter_async_context(thing)
            yield

    return opened


def close_effect(*ledgers: EffectLedger) -> Activity:
    """Return the activity `ledger.close` of a capability, whose effects one of these ledgers may know."""

    @activity.defn(name=CLOSE_EFFECT)
    async def run(arguments: dict[str, Any]) -> dict[str, Any]:
        async with _heartbeats(ToolOptions().heartbeat / 3), _translated(CLOSE_EFFECT):
            effect = EffectId.model_validate(arguments)
            found = [await ledger.close(effect.activity_id) for ledger in ledgers]
        status = next(
            (one for one in found if one.outcome is not Outcome.NOTHING), EffectStatus(outcome=Outcome.NOTHING)
        )
        return status.model_dump(mode="json")

    return run


def _tell_account(capability: str, accounts: AccountRouting) -> Activity:
    """Return the activity that tells which account a tool would use: its id or `own`, and how people know it."""
    name = which_account(capability)

    @activity.defn(name=name)
    async def run(arguments: dict[str, Any] | None = None) -> dict[str, Any]:
        async with _heartbeats(ToolOptions().heartbeat / 3), _translated(name):
            account, _ = _account(arguments)
            used, words = await accounts.which(account)
        return {ACCOUNT: used, "words": words}

    return run


def _wrap(
    name: str,
    tools: Capability,
    contract: Callable[..., Awaitable[Any]],
    tenant: str,
    accounts: AccountRouting | None,
) -> Activity:
    arguments_type, _ = signature_models(contract)
    said: dict[str, Any] = contract.__retinue_tool__  # type: ignore[attr-defined]  # set by @tool
    options: ToolOptions = said["options"]
    plannable: bool = said["plannable"]

    async def call(implementation: Capability, given: Sequence[BaseModel]) -> BaseModel:
        result: BaseModel = await getattr(implementation, contract.__name__)(*given)
        return result

    async def own(given: Sequence[BaseModel]) -> BaseModel:
        _check_served(name, tenant)
        return await call(tools, given)

    @activity.defn(name=name)
    async def run(arguments: dict[str, Any] | None = None) -> dict[str, Any]:
        used: dict[str, Any] = {}
        async with _heartbeats(options.heartbeat / 3), _translated(name):
            account, arguments = _account(arguments) if accounts else (None, arguments)
            given = [_read(arguments_type, arguments)] if arguments_type else []
            if accounts is None:
                result = await own(given)
            else:
                result, used[ACCOUNT] = await accounts.run(
                    account, lambda implementation: call(implementation, given), own=lambda: own(given)
                )
        # results that only workflows read may omit fields; a plan's references need every field
        dumped = result.model_dump(mode="json", by_alias=True, exclude_defaults=not plannable)
        return _bounded(name, {**dumped, **used})

    return run


def _account(arguments: dict[str, Any] | None) -> tuple[str | None, dict[str, Any]]:
    """Return the account that the arguments name, and the others."""
    account = (arguments or {}).get(ACCOUNT)
    if not isinstance(account, str | None):
        raise InvalidArguments("`account` is the name of an account")
    return account or None, {name: value for name, value in (arguments or {}).items() if name != ACCOUNT}


def any_activity(call: Callable[[str, dict[str, Any]], Awaitable[dict[str, Any]]], *, tenant: str = HOME) -> Activity:
    """Return one activity for all tools of a worker, for capabilities whose tools are known only at run time.

    Args:
        call: Takes the tool's full name and its arguments, and validates them.
        tenant: As in `build_activities`.
    """

    @activity.defn(dynamic=True)
    async def run(raw: Sequence[RawValue]) -> dict[str, Any]:
        name = activity.info().activity_type
        async with _heartbeats(ToolOptions().heartbeat / 3), _translated(name):
            _check_served(name, tenant)
            result = await call(name, _read_raw(raw))
        return _bounded(name, result)

    return run


def _check_served(name: str, tenant: str) -> None:
    """Refuse organisations that do not own the account behind a capability.

    `close_effect` does not need it: it answers only the run that made the effect.
    """
    if tenant in (ANY_TENANT, current_tenant()):
        return
    capability = name.partition(".")[0]
    raise ServiceRefused(
        f"{capability} is connected to an account that does not belong to your organisation",
        hint=f"the operator sets its organisation in {variable_of(capability)}",
    )


def _read_raw(raw: Sequence[RawValue]) -> dict[str, Any]:
    try:
        arguments = activity.payload_converter().from_payload(raw[0].payload) if raw else None
    except (ValueError, RuntimeError, NotImplementedError):
        raise InvalidArguments("the arguments are not valid JSON") from None
    if not isinstance(arguments, dict | None):
        raise InvalidArguments("the arguments are not a JSON object")
    return arguments or {}


@asynccontextmanager
async def _translated(name: str) -> AsyncIterator[None]:
    try:
        yield
    except RetinueError as error:
        _log.info("tool failed: %s %s", type(error).__name__, said(error.message), extra={"tool": name})
        raise to_application_error(error, only_store=_only_store()) from None
    except (ApplicationError, asyncio.CancelledError):
        raise
    except Exception:
        # The text of an unexpected error may contain secrets or strangers' words, so the history gets only this
        # sentence and the log gets the trace.
        _log.exception("tool failed unexpectedly", extra={"tool": name})
        raise ApplicationError(
            f"{name} failed with an internal error; the worker's log has the details",
            type="InternalError",
            non_retryable=_only_store(),
        ) from None


def _only_store() -> bool:
    """Whether the running activity is retried while its database does not work, see `store_options`."""
    policy = activity.info().retry_policy
    return policy is not None and policy.maximum_attempts == STORE_ATTEMPTS


def _read(model: type[BaseModel], arguments: dict[str, Any] | None) -> BaseModel:
    """Validate the arguments here, since Temporal retries failures of its own decoding."""
    try:
        return model.model_validate(arguments or {})
    except ValidationError as error:
        if {e["type"] for e in error.errors()} == {"extra_forbidden"}:
            # A plan's arguments were checked against the announced schema, so a newer version has announced it.
            raise NotServedHere("this worker's version does not know all of the arguments") from None
        wrong = "; ".join(f"{'/'.join(map(str, e['loc'])) or 'arguments'}: {e['msg']}" for e in error.errors()[:5])
        raise non_retryable("InvalidArguments", f"wrong arguments: {wrong}") from None


def _bounded(name: str, result: dict[str, Any]) -> dict[str, Any]:
    size = len(json.dumps(result))
    if size > MAX_RESULT_BYTES:
        raise non_retryable(
            "ResultTooLarge",
            f"{name} returned {size // 1024} KiB; at most {MAX_RESULT_BYTES // 1024} KiB fit into a run. Ask for less.",
        )
    return result


class _Pulse:
    """The heartbeats of one activity. Temporal keeps only the last one's details, so each carries the latest progress."""

    def __init__(self) -> None:
        self._told: dict[type[BaseModel], BaseModel] = {}

    def beat(self) -> None:
        """Send a heartbeat."""
        activity.heartbeat(*self._told.values())

    def tell(self, progress: BaseModel) -> None:
        """Add progress to the next heartbeats; it replaces earlier progress of the same type."""
        self._told[type(progress)] = progress


_PULSE: ContextVar[_Pulse] = ContextVar("pulse")


def tell_progress(progress: BaseModel, *, at_once: bool = True) -> None:
    """Report progress in the running activity's heartbeats, which are not part of the history.

    The SDK logs heartbeat details at the level DEBUG, so fields with content need `repr=False`.

    Args:
        progress: Replaces earlier progress of the same type; the next attempt finds it in its `heartbeat_details`.
        at_once: Whether to send a heartbeat now; otherwise the next regular one carries it.
    """
    pulse = _PULSE.get()
    pulse.tell(progress)
    if at_once:
        pulse.beat()


@asynccontextmanager
async def _heartbeats(every: float) -> AsyncIterator[None]:
    pulse = _Pulse()
    _PULSE.set(pulse)

    async def beat() -> None:
        while True:
            await asyncio.sleep(every)
            pulse.beat()

    task = asyncio.create_task(beat())
    try:
        yield
    finally:
        task.cancel()
