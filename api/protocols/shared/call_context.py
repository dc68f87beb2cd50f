"""The caller of a protocol and the services for them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from api.auth.principals import Person
from api.deps import AppState, Caller, MyEvents, MyRuns, State
from api.events.broker import RunEvents
from api.services.runs import Runs


@dataclass(frozen=True)
class CallContext:
    """One call through a protocol.

    Args:
        person: The caller.
        runs: The caller's runs.
        events: The events of those runs.
        state: The application state.
        base: The API's address as the caller reached it, with a trailing slash.
    """

    person: Person
    runs: Runs
    events: RunEvents
    state: AppState
    base: str


def call_context(request: Request, runs: MyRuns, events: MyEvents, state: State, me: Caller) -> CallContext:
    """Build the context of one call, as a dependency of a route."""
    return CallContext(me, runs, events, state, str(request.base_url))


Call = Annotated[CallContext, Depends(call_context)]
