"""What endpoints ask for, by name."""

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
from api.services.links import LinkMaker
from api.services.runs import Runs
from api.services.schedule_updates import ScheduleUpdates
from api.services.schedules import Schedules
from api.services.view_cache import KnownViews
from api.settings import ApiSettings
from api.storage.idempotency import IdempotencyKeys
from retinue.errors import CallerError, ServiceUnavailable
from retinue.network.ttl_cache import TtlCache
from retinue.provenance.credential import Credential
from retinue.temporal.registry import Directory, check_keys
from workflows.rules.policy import Policy

_CONNECT = 5.0
_SEEN = timedelta(seconds=15)
"""How old the pauses of models may be that a page shows which is refreshed all the time."""


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass
class AppState:
    """What lives as long as the process."""

    client: Client
    keys: IdempotencyKeys
    directory: Directory
    settings: ApiSettings
    policies: Mapping[str, Policy]
    rates: RateLimiter
    broadcasters: RunBroadcasters
    people: Authenticator
    links: LinkMaker
    known: KnownViews = field(default_factory=KnownViews)
    pauses: TtlCache[PausesResult] = field(default_factory=lambda: TtlCache(size=1, lifetime=_SEEN, clock=_now))
    rights_changed: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when somebody may do less than before, for what was allowed with their rights."""
    ready: bool = False
    connected: bool = False
    worker_started: datetime | None = None
    """When the workflow worker did, as far as `/readyz` has seen."""
    worker_restarted: bool = False

    async def connect(self) -> None:
        """Make sure that the lazy client has connected once; later outages show as `RPCError` in each call.

        Raises:
            ServiceUnavailable: Temporal cannot be reached yet, or our keys do not open what stands there.
        """
        if self.connected:
            return
        try:
            async with asyncio.timeout(_CONNECT):
                await self.client.service_client.check_health()
        except (RuntimeError, TimeoutError):  # RuntimeError is the SDK's word for a first connection that failed
            raise ServiceUnavailable(
                "Temporal cannot be reached; nothing was changed", hint="try again in a few seconds"
            ) from None
        await check_keys(self.client)
        self.connected = True


def state_at_rest(request: Request) -> AppState:
    """The process's own things, whether Temporal is there or not."""
    state: AppState = request.app.state.house
    return state


async def connected_state(state: Annotated[AppState, Depends(state_at_rest)]) -> AppState:
    """The process's own things, connected to Temporal."""
    await state.connect()
    return state


async def caller(
    request: Request,
    state: Annotated[AppState, Depends(state_at_rest)],
    _bearer: Annotated[Any, Security(BEARER)],
    _session: Annotated[Any, Security(SESSION)],
) -> Person:
    """Who calls, once per request. What is asked for and not read tells the OpenAPI document how people are recognised."""
    session = await session_credential(request)
    found = request.state.recognised = await state.people.caller(request.headers, session)
    if found.how is AuthMethod.SINGLE_USER and not state.settings.retinue_private_address:
        check_arrival(request.scope)
    return found.person


class Needs:
    """What a route asks of its caller, as a dependency that every route declares."""

    def __init__(self, permission: Permission) -> None:
        self.permission = permission

    def __call__(
        self,
        request: Request,
        person: Annotated[Person, Depends(caller)],
        state: Annotated[AppState, Depends(state_at_rest)],
    ) -> None:
        """Refuse whoever may not, or asks too often.

        Raises:
            NotAllowed: Their roles, or the key they use, do not allow it.
            TooMany: They used up what `RETINUE_RATE_LIMIT` gives them.
        """
        state.rates.acquire(request.scope, person.owner)
        person.check(self.permission)


def needs(permission: Permission) -> Any:
    """For `dependencies=[...]` of a route."""
    return Depends(Needs(permission))


def my_runs(state: Annotated[AppState, Depends(connected_state)], person: Annotated[Person, Depends(caller)]) -> Runs:
    """The caller's runs."""
    return runs_of(state, person.owner, person.credential, audits=person.audits())


def runs_of(state: AppState, owner: str, credential: Credential | None, *, audits: bool = False) -> Runs:
    """The runs of an owner, as whoever comes with a credential has them."""
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
    """What brings schedules up to date."""

    def schedules_of(owner: str, credential: Credential | None) -> Schedules:
        return Schedules(state.client, state.links, owner=owner, runs=runs_of(state, owner, credential))

    return ScheduleUpdates(state.client, state.people, schedules_of, state.rights_changed)


def my_events(
    state: Annotated[AppState, Depends(connected_state)],
    person: Annotated[Person, Depends(caller)],
    runs: Annotated[Runs, Depends(my_runs)],
) -> RunEvents:
    """The events of the caller's runs."""
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
    """The caller's key, checked.

    Raises:
        CallerError: It is none, or there are two: nobody knows which counts.
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
