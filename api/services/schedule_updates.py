"""Updates schedules and triggers to the current policy file and to the current rights of their creators.

Temporal starts their runs with stored arguments, whether or not the API is running. So the API checks all
schedules at its start, when it reads the policy file, when a key is revoked, and every hour.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta

from temporalio.client import Client, ScheduleActionStartWorkflow
from temporalio.service import RPCError

from api.auth.authenticator import Authenticator
from api.services.run_access import RPC, TYPE
from api.services.schedules import Schedules, action_id
from api.services.triggers import Triggers
from retinue.capability import WORKFLOW_QUEUE
from retinue.errors import RetinueError, ServiceUnavailable
from retinue.provenance.credential import Credential, CredentialKind
from retinue.temporal import account_watch
from retinue.temporal.connection import of_workflow
from retinue.temporal.proofs import is_proved_schedule
from retinue.temporal.search_keys import OWNER
from workflows.account_watch import WatchInterval, WatchView
from workflows.messages import ScheduleTerms, StartAssistant

_EVERY = timedelta(hours=1)
"""So late a role that was taken away, or a key that has expired, counts in schedules at most."""
_WATCHES = f"WorkflowType = '{account_watch.WATCH_TYPE}' AND ExecutionStatus = 'Running'"
_TRY_AGAIN = timedelta(seconds=5)
_log = logging.getLogger("retinue.api")


@dataclass(frozen=True)
class ScheduleUpdates:
    """Updates schedules and triggers.

    Args:
        client: The Temporal client.
        people: The authenticator, for the current rights of credentials.
        schedules_of: Returns the service for an owner's schedules, as reached with a credential.
        triggers_of: Returns the service for an owner's triggers, as reached with a credential.
        soon: Set to check now.
        every: Seconds between two looks of a watch, as the settings say now.
    """

    client: Client
    people: Authenticator
    schedules_of: Callable[[str, Credential | None], Schedules]
    triggers_of: Callable[[str, Credential | None], Triggers]
    soon: asyncio.Event
    every: float

    async def for_ever(self, connected: Callable[[], Awaitable[None]]) -> None:
        """Look at all of them now, and again, as long as the process lives."""
        while True:
            self.soon.clear()
            pause = _EVERY
            try:
                await connected()
                await self.once()
            except (ServiceUnavailable, RPCError) as error:
                _log.warning("schedules are not looked at: %s", error.message)
                pause = _TRY_AGAIN
            with suppress(TimeoutError):
                await asyncio.wait_for(self.soon.wait(), pause.total_seconds())

    async def once(self) -> None:
        """Look at all of them. One that cannot be read or changed stays as it is, and the log says so."""
        async for entry in await self.client.list_schedules(page_size=100, rpc_timeout=RPC):
            if entry.typed_search_attributes.get(OWNER):
                try:
                    await self._update(entry.id, entry.typed_search_attributes.get(OWNER))
                except (RetinueError, RPCError, ValueError, RuntimeError) as error:
                    _log.warning("schedule %s is not updated: %s", entry.id, type(error).__name__)

        async for watch in self.client.list_workflows(_WATCHES, page_size=100, rpc_timeout=RPC):
            try:
                if watch.task_queue == WORKFLOW_QUEUE:  # a stranger's worker shows what it likes
                    await self._update_triggers(watch.id)
            except (RetinueError, RPCError, ValueError, RuntimeError) as error:
                _log.warning("the triggers of %s are not updated: %s", watch.id, type(error).__name__)

    async def _update_triggers(self, watch_id: str) -> None:
        watch = await account_watch.query(self.client, watch_id, answer=WatchView)
        if watch is None:
            return
        if watch.every not in (None, self.every):
            interval = WatchInterval(every=self.every)
            await account_watch.ask(self.client, watch_id, "set_interval", interval, answer=type(None))
        for trigger in watch.triggers:
            start = trigger.start
            if watch_id != account_watch.watch_id(start.owner, trigger.event.value, trigger.account):
                raise ValueError("a trigger of another watch")
            if (terms := start.schedule_terms) is not None:
                credential = await self._credential(terms, start.owner)
                await self.triggers_of(start.owner, credential).update_start(trigger)

    async def _credential(self, terms: ScheduleTerms, owner: str) -> Credential | None:
        """Return the credential with which it was made, as far as it may decide now."""
        still_decides = await self.people.still_decides(terms.through, owner)
        return terms.through if still_decides else _without_decide(terms.through)

    async def _update(self, schedule_id: str, owner: str | None) -> None:
        found = await self.client.get_schedule_handle(schedule_id).describe(rpc_timeout=RPC)
        action = found.schedule.action
        if not isinstance(action, ScheduleActionStartWorkflow) or action.workflow != TYPE:
            return  # a plan in code has no policy
        converter = of_workflow(self.client, action.id)
        [start] = await converter.decode(action.args, [StartAssistant])
        if start.schedule_terms is None:
            return
        if not is_proved_schedule(self.client, action, [start]):
            _log.warning("schedule %s carries no proof that holds: nothing is changed in it", schedule_id)
            return
        if (action.id, start.schedule_id, start.owner) != (action_id(schedule_id), schedule_id, owner):
            raise ValueError("the action of another schedule")
        terms = start.schedule_terms
        credential = await self._credential(terms, start.owner)
        await self.schedules_of(start.owner, credential).update_start(schedule_id, start, terms)


def _without_decide(credential: Credential | None) -> Credential:
    if credential is None:
        return Credential(kind=CredentialKind.TOKEN, may_decide=False, may_remember=False)
    return credential.model_copy(update={"may_decide": False, "may_remember": False})
