"""FastAPI dependencies of the routes."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from fastapi import Depends, Header, Request, Security
from temporalio.client import Client

from activities.reasoning.contract import PausesResult
from api.auth.authenticator import Authenticator, AuthMethod
from api.auth.loopback_only import check_arrival
from api.auth.openapi_schemes import BEARER, SESSION
from api.auth.principals import Permission, Person
from api.auth.sessions import session_credential
from api.events.broker import RunBroadcasters, RunEvents
from api.http.rate_limits import RateLimiter
from api.services.cluster_metrics import ClusterMetrics
from api.services.links import LinkMaker
from api.services.runs import Runs
from api.services.schedule_updates import ScheduleUpdates
from api.services.schedules import Schedules
from api.services.triggers import Triggers
from api.services.view_cache import KnownViews
from api.settings import ApiSettings
from api.storage.idempotency import IdempotencyKeys
from retinue.accounts.service import AccountsService
from retinue.errors import CallerError, ServiceUnavailable
from retinue.network.ttl_cache import TtlCache
from retinue.provenance.credential import Credential
from retinue.temporal.connection_words import unreachable
from retinue.temporal.registry import Directory, check_keys
from workflows.rules.policy import Policy

_CONNECT = 5.0
_SEEN = timedelta(seconds=15)
"""Maximum age in seconds of the model pauses on a page that refreshes constantly."""


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass
class AppState:
    """State that lives as long as the process."""

    client: Client
    keys: IdempotencyKeys
    directory: Directory
    cluster_metrics: ClusterMetrics
    settings: ApiSettings
    policies: Mapping[str, Policy]
    rates: RateLimiter
    account_tests: RateLimiter
    broadcasters: RunBroadcasters
    people: Authenticator
    links: LinkMaker
    accounts: AccountsService | None = None
    """The service that keeps people's accounts elsewhere; None if it is not set up."""
    known: KnownViews = field(default_factory=KnownViews)
    pauses: TtlCache[PausesResult] = field(default_factory=lambda: TtlCache(size=1, lifetime=_SEEN, clock=_now))
    rights_changed: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when a person's rights were reduced, so that their schedules are updated."""
    ready: bool = False
    connected: bool = False
    worker_started: datetime | None = None
    """When the workflow worker started, as last seen by `/readyz`."""
    worker_restarted: bool = False

    async def connect(self) -> None:
        """Connect the lazy client once; later outages raise `RPCError` in each call.

        Raises:
            ServiceUnavailable: Temporal cannot be reached yet, or our keys do not decrypt its data.
        """
        if self.connected:
            return
        try:
            async with asyncio.timeout(_CONNECT):
                await self.client.service_client.check_health()
        except (RuntimeError, TimeoutError) as error:  # the SDK raises RuntimeError when the first connection fails
            raise ServiceUnavailable(
                f"{unreachable(error)}; nothing was changed", hint="try again in a few seconds"
            ) from None
        await check_keys(self.client)
        self.connected = True


def state_at_rest(request: Request) -> AppState:
    """Return the application state; Temporal may be down."""
    state: AppState = request.app.state.house
    return state


async def connected_state(state: Annotated[AppState, Depends(state_at_rest)]) -> AppState:
    """Return the application state, connected to Temporal."""
    await state.connect()
    return state


async def caller(
    request: Request,
    state: Annotated[AppState, Depends(state_at_rest)],
    _bearer: Annotated[Any, Security(BEARER)],
    _session: Annotated[Any, Security(SESSION)],
) -> Person:
    """Authenticate the caller, once per request. Unused parameters declare the security schemes in OpenAPI."""
    session = await session_credential(request)
    found = request.state.recognised = await state.people.caller(request.headers, session)
    if found.how is AuthMethod.SINGLE_USER and not state.settings.retinue_private_address:
        check_arrival(request.scope)
    return found.person


class Needs:
    """The permission that a route requires, as a dependency that every route declares."""

    def __init__(self, permission: Permission) -> None:
        self.permission = permission

    async def __call__(
        self,
        request: Request,
        person: Annotated[Person, Depends(caller)],
        state: Annotated[AppState, Depends(state_at_rest)],
    ) -> None:
        """Refuse callers without the permission or over their rate limit.

        Raises:
            NotAllowed: The caller's roles, or the key in use, do not include the permission.
            TooMany: The caller exceeded `RETINUE_RATE_LIMIT`.
        """
        await state.rates.acquire(request.scope, person.owner)
        person.check(self.permission)


def needs(permission: Permission) -> Any:
    """Return the dependency for `dependencies=[...]` of a route."""
    return Depends(Needs(permission))


def my_runs(state: Annotated[AppState, Depends(connected_state)], person: Annotated[Person, Depends(caller)]) -> Runs:
    """Return the service for the caller's runs."""
    return runs_of(state, person.owner, person.credential, audits=person.audits())


def runs_of(state: AppState, owner: str, credential: Credential | None, *, audits: bool = False) -> Runs:
    """Return the service for an owner's runs, as reached with this credential."""
    return Runs(
        state.client,
        owner=owner,
        policies=state.policies,
        keys=state.keys,
        known=state.known,
        turns_per_run=state.settings.retinue_chat_turns,
        audits=audits,
        notifies=state.settings.retinue_webhooks,
        credential=credential,
        day_timezone=state.settings.retinue_timezone,
    )


def schedule_updates(state: AppState) -> ScheduleUpdates:
    """Return the service that updates schedules and triggers."""

    def schedules_of(owner: str, credential: Credential | None) -> Schedules:
        return Schedules(state.client, state.links, owner=owner, runs=runs_of(state, owner, credential))

    def triggers_for(owner: str, credential: Credential | None) -> Triggers:
        return triggers_of(state, owner, runs_of(state, owner, credential))

    every = state.settings.retinue_trigger_seconds
    return ScheduleUpdates(state.client, state.people, schedules_of, triggers_for, state.rights_changed, every)


def triggers_of(state: AppState, owner: str, runs: Runs) -> Triggers:
    """Return the service for an owner's triggers."""
    return Triggers(
        state.client,
        state.links,
        owner=owner,
        runs=runs,
        directory=state.directory,
        every=state.settings.retinue_trigger_seconds,
    )


def my_events(
    state: Annotated[AppState, Depends(connected_state)],
    person: Annotated[Person, Depends(caller)],
    runs: Annotated[Runs, Depends(my_runs)],
) -> RunEvents:
    """Return the event source for the caller's runs."""
    return RunEvents(runs, state.broadcasters, owner=person.owner)


def idempotency_key(
    request: Request,
    value: Annotated[
        str | None,
        Header(
            alias="Idempotency-Key",
            description="any text of 1 to 200 visible ASCII characters, new per request; a UUID is a good key",
            json_schema_extra={"minLength": 1, "maxLength": 200, "pattern": "^[!-~]+$"},
        ),
    ] = None,
) -> str | None:
    """Return the caller's validated Idempotency-Key.

    Raises:
        CallerError: It is malformed, or there are several.
    """
    if len(request.headers.getlist("idempotency-key")) > 1:
        raise CallerError("there are several Idempotency-Key headers", hint="send one")
    if value is not None and not (0 < len(value) <= 200 and all(33 <= ord(char) <= 126 for char in value)):
        raise CallerError("Idempotency-Key must be 1 to 200 visible ASCII characters", hint="a UUID is a good key")
    return value


StateAtRest = Annotated[AppState, Depends(state_at_rest)]
State = Annotated[AppState, Depends(connected_state)]
Caller = Annotated[Person, Depends(caller)]
MyRuns = Annotated[Runs, Depends(my_runs)]
MyEvents = Annotated[RunEvents, Depends(my_events)]
Key = Annotated[str | None, Depends(idempotency_key)]
