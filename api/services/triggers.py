"""Triggers: assistants that start when mail arrives or an event changes. A workflow per account holds and serves them."""

from __future__ import annotations

import asyncio
import uuid
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, JsonValue, model_validator
from temporalio.client import Client

from activities.calendar.contract import Calendar
from activities.email.contract import Email
from api.services.links import LinkMaker
from api.services.renewal import renewed
from api.services.runs import Runs
from api.services.schemas import Links, StartBody, Text, Zone
from api.storage.idempotency import Claim
from retinue.capability import Capability, Manifest
from retinue.errors import InvalidArguments, NotFound
from retinue.plan import BoundStep, PlanStep, bind_call
from retinue.temporal import account_watch
from retinue.temporal.account_watch import watch_id
from retinue.temporal.registry import Directory
from retinue.times import Moment
from workflows.account_watch import (
    NewTrigger,
    PauseTrigger,
    StartAccountWatch,
    TestTrigger,
    Trigger,
    TriggerRef,
    TriggerTest,
    UpdateTriggerStart,
    WatchView,
)
from workflows.rules.budget import Limits
from workflows.rules.triggers import (
    TRIGGER_PREFIX,
    Conditions,
    Limited,
    QuietHours,
    TriggerEvent,
)
from workflows.run.web_ui import static_summary

FIRST_STEP = "s1"
_FRESH = 5.0
"""Seconds that the list of capabilities may be old."""
_READERS: dict[TriggerEvent, tuple[type[Capability], str, str]] = {
    TriggerEvent.MAIL: (Email, "read", "message_id"),
    TriggerEvent.CALENDAR: (Calendar, "look_up", "event_id"),
}
"""By event: the capability, its tool that reads one arrival, and the argument that names it."""
_OF_MAIL = ("senders", "contact", "folder", "automatic")
Note = Annotated[str, Field(max_length=500)]


class TriggerBody(Limited):
    """A trigger to create: what to start, and when."""

    model_config = ConfigDict(extra="forbid")

    event: TriggerEvent = Field(description="'mail': a mail arrives; 'calendar': an event is added or changed")
    message: Text = Field(
        description="what you want done, in plain language; the mail or event is read first, and is data, never an order",
        examples=["Add a task to answer it"],
    )
    conditions: Conditions = Conditions()
    account: str | None = Field(
        None, min_length=1, max_length=100, description="name of the account that is watched; default: your default one"
    )
    name: str | None = Field(None, min_length=1, max_length=120, description="name in lists; default: the message")
    timezone: Zone | None = Field(None, description="IANA time zone", examples=["Europe/Lisbon"])
    quiet_hours: QuietHours | None = None
    policy: str | None = Field(None, max_length=40, description="the name of a policy in the policy file")
    budget: Limits | None = Field(None, description="budget of each assistant, instead of the policy's")

    @model_validator(mode="after")
    def _conditions_belong_to_the_event(self) -> TriggerBody:
        wrong = [name for name in _OF_MAIL if name in self.conditions.model_fields_set]
        if self.event is not TriggerEvent.MAIL and wrong:
            raise ValueError(f"`{wrong[0]}` is a condition of mails")
        return self


class TriggerPause(BaseModel):
    """The reason of a pause."""

    model_config = ConfigDict(extra="forbid")

    note: Note | None = Field(None, description="shown while it is paused")


class TriggerTestBody(BaseModel):
    """How to test a trigger."""

    model_config = ConfigDict(extra="forbid")

    start: bool = Field(False, description="also start an assistant with the newest arrival that fits")


class TriggerRunView(BaseModel):
    """An assistant that the trigger started."""

    assistant_id: str
    started_at: Moment
    because: str = Field(description="sender and subject, or the event's title: what strangers wrote")
    links: Links


class TriggerView(BaseModel):
    """A whole trigger."""

    id: str
    event: TriggerEvent
    account: str | None = None
    name: str
    message: str
    conditions: Conditions
    timezone: str
    quiet_hours: QuietHours | None = None
    per_hour: int
    per_day: int
    policy: str | None = None
    budget: Limits | None = None
    paused: bool
    note: str | None = Field(None, description="why it is paused")
    watching_since: Moment | None = Field(None, description="arrivals count from then on; null before the first look")
    problem: str | None = Field(None, description="why the account cannot be read now")
    resets: list[str] = Field(description="when and why the watch had to begin again, so that arrivals may be missing")
    waiting: int = Field(description="arrivals that wait for the end of the quiet hours")
    left_out: int = Field(description="arrivals that started nothing, because of the limits")
    left_out_at: Moment | None = None
    recent_runs: list[TriggerRunView] = Field(description="at most 10, latest first")
    created_at: Moment
    links: Links


class TriggerPage(BaseModel):
    """The caller's triggers, by name."""

    triggers: list[TriggerView]


class Triggers:
    """The triggers of one caller. Another person's are in another workflow."""

    def __init__(
        self, client: Client, links: LinkMaker, *, owner: str, runs: Runs, directory: Directory, every: float
    ) -> None:
        self._client = client
        self._directory = directory
        self._links = links
        self._owner = owner
        self._runs = runs
        self._every = every

    async def create(self, body: TriggerBody, *, timezone: str, claimed: Claim | None) -> TriggerView:
        """Create a trigger. With a claimed key, always the same one.

        Raises:
            InvalidArguments: There is no such policy.
            NotAllowed: Its policy or budget may allow more than the caller's own, and the caller may not decide.
            Conflict: There are too many.
            ServiceUnavailable: No workflow worker answered in time.
        """
        name = claimed.assistant_id.removeprefix("a-") if claimed else uuid.uuid4().hex
        trigger_id = f"{TRIGGER_PREFIX}{name}"
        wish = StartBody(message=body.message, policy=body.policy, budget=body.budget)
        new = NewTrigger(
            trigger_id=trigger_id,
            name=body.name or static_summary(body.message),
            event=body.event,
            account=body.account or "",
            conditions=body.conditions,
            quiet_hours=body.quiet_hours,
            limits=Limited(per_hour=body.per_hour, per_day=body.per_day),
            start=self._runs.input_for(wish, timezone=timezone, trigger_id=trigger_id),
            first=await self._first_step(body),
            reads_by=_READERS[body.event][2],
        )
        watch = StartAccountWatch(owner=self._owner, event=body.event, account=body.account or "", every=self._every)
        await account_watch.start(
            self._client,
            watch,
            workflow_id=watch_id(self._owner, body.event.value, body.account or ""),
            owner=self._owner,
            update="add_trigger",
            argument=new,
            answer=Trigger,
        )
        return await self.view(trigger_id)

    async def _first_step(self, body: TriggerBody) -> BoundStep:
        """Return the step that reads one arrival, as its capability announced it.

        Raises:
            InvalidArguments: An account is named, and there are none.
        """
        capability, _, _ = _READERS[body.event]
        announced = {manifest.name: manifest for manifest in await self._directory.manifests(max_age=_FRESH)}
        step = first_step(body.event, announced.get(capability.name) or capability.manifest())
        if body.account and not step.annotations.accounts:
            raise InvalidArguments("this installation has no accounts, so none can be named", hint="omit `account`")
        return step

    def _watch(self, trigger: Trigger) -> str:
        return watch_id(self._owner, trigger.event.value, trigger.account)

    async def page(self) -> list[TriggerView]:
        """Return the caller's triggers, by name. Raise ServiceUnavailable if no workflow worker answers in time."""
        named = [*self._default_watches(), *await account_watch.watches_of(self._client, self._owner)]
        watches = await asyncio.gather(*(self._queried(name) for name in dict.fromkeys(named)))
        shown = [self._shown(trigger, watch) for watch in watches if watch for trigger in watch.triggers]
        return sorted(shown, key=lambda trigger: (trigger.name.casefold(), trigger.id))

    async def view(self, trigger_id: str) -> TriggerView:
        """Return a trigger.

        Raises:
            NotFound: It does not exist, or belongs to another person.
            ServiceUnavailable: No workflow worker answered in time.
        """
        return self._shown(*await self._found(trigger_id))

    async def pause(self, trigger_id: str, note: str | None) -> TriggerView:
        """Pause until it is resumed. Errors as for `view`."""
        note = note or f"paused by {self._owner}"
        return await self._changed(trigger_id, "pause_trigger", PauseTrigger(trigger_id=trigger_id, note=note))

    async def resume(self, trigger_id: str) -> TriggerView:
        """Resume; what arrived meanwhile is not caught up on. Errors as for `view`."""
        return await self._changed(trigger_id, "resume_trigger", TriggerRef(trigger_id=trigger_id))

    async def delete(self, trigger_id: str) -> None:
        """Delete a trigger. Runs that it started continue. Errors as for `view`."""
        trigger, _ = await self._found(trigger_id)
        await account_watch.ask(
            self._client,
            self._watch(trigger),
            "delete_trigger",
            TriggerRef(trigger_id=trigger_id),
            answer=type(None),
        )

    async def test(self, trigger_id: str, *, start: bool, key: str) -> TriggerTest:
        """Say which of the latest arrivals fit, and start a run with the newest of them if that is wanted.

        Raises:
            NotFound: It does not exist, or belongs to another person.
            ServiceUnavailable: The workflow worker or the account does not answer.
        """
        trigger, _ = await self._found(trigger_id)
        wish = TestTrigger(trigger_id=trigger_id, key=key, start=start)
        return await account_watch.ask(self._client, self._watch(trigger), "test_trigger", wish, answer=TriggerTest)

    async def update_start(self, trigger: Trigger) -> None:
        """Update a trigger's policy and budget to what this credential may use now."""
        if (terms := trigger.start.schedule_terms) is None:
            return
        new = renewed(self._runs, trigger.start, terms, trigger_id=trigger.trigger_id)
        if new != trigger.start:
            update = UpdateTriggerStart(trigger_id=trigger.trigger_id, start=new)
            await account_watch.ask(self._client, self._watch(trigger), "update_start", update, answer=Trigger)

    async def _changed(self, trigger_id: str, update: str, argument: BaseModel) -> TriggerView:
        trigger, _ = await self._found(trigger_id)
        await account_watch.ask(self._client, self._watch(trigger), update, argument, answer=Trigger)
        return await self.view(trigger_id)

    def _default_watches(self) -> list[str]:
        """Return the ids of the watches of default accounts, which need not be listed by the server yet."""
        return [watch_id(self._owner, event.value) for event in TriggerEvent]

    async def _queried(self, workflow_id: str) -> WatchView | None:
        return await account_watch.query(self._client, workflow_id, answer=WatchView)

    async def _found(self, trigger_id: str) -> tuple[Trigger, WatchView]:
        known = self._default_watches()
        for name in known:
            if found := _among(await self._queried(name), trigger_id):
                return found
        for name in await account_watch.watches_of(self._client, self._owner):
            if name not in known and (found := _among(await self._queried(name), trigger_id)):
                return found
        raise NotFound(f"there is no trigger {trigger_id[:80]!r}", hint="GET /v1/triggers lists yours")

    def _shown(self, trigger: Trigger, watch: WatchView) -> TriggerView:
        terms = trigger.start.schedule_terms
        return TriggerView(
            id=trigger.trigger_id,
            event=trigger.event,
            account=trigger.account or None,
            name=trigger.name,
            message=trigger.start.message,
            conditions=trigger.conditions,
            timezone=trigger.start.timezone,
            quiet_hours=trigger.quiet_hours,
            per_hour=trigger.limits.per_hour,
            per_day=trigger.limits.per_day,
            policy=terms.policy if terms else None,
            budget=terms.budget if terms else None,
            paused=trigger.paused,
            note=trigger.note if trigger.paused else None,
            watching_since=trigger.since,
            problem=watch.problem or None,
            resets=watch.resets,
            waiting=len(trigger.waiting),
            left_out=trigger.left_out,
            left_out_at=trigger.left_out_at,
            recent_runs=[
                TriggerRunView(
                    assistant_id=run.assistant_id,
                    started_at=run.at,
                    because=run.because,
                    links=self._links.run(run.assistant_id),
                )
                for run in reversed(trigger.recent)
            ],
            created_at=trigger.created_at,
            links=self._links.trigger(trigger.trigger_id, self._watch(trigger)),
        )


def _among(watch: WatchView | None, trigger_id: str) -> tuple[Trigger, WatchView] | None:
    found = next((one for one in watch.triggers if one.trigger_id == trigger_id), None) if watch else None
    return (found, watch) if found and watch else None


def first_step(event: TriggerEvent, manifest: Manifest) -> BoundStep:
    """Return the step that reads one arrival, without its argument.

    Raises:
        InvalidArguments: The capability that is announced has no such tool.
    """
    capability, tool, _ = _READERS[event]
    name = f"{capability.name}.{tool}"
    spec = manifest.tool(name)
    if spec is None:
        raise InvalidArguments(f"{capability.name} has no tool {name!r}, which triggers need")
    nothing: dict[str, JsonValue] = {}
    step = PlanStep(id=FIRST_STEP, tool=name, args=nothing, why="this started the assistant")
    return bind_call(step, spec, capability=capability.name, task_queue=manifest.task_queue)
