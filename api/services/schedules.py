"""Recurring assistants as Temporal Schedules: the server starts them, without a process of ours.

A schedule belongs to one owner and stores its request in its memo, since Temporal translates a cron expression and
does not return it.
"""

from __future__ import annotations

import asyncio
import dataclasses
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, ValidationError, model_validator
from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionExecutionStartWorkflow,
    ScheduleActionResult,
    ScheduleActionStartWorkflow,
    ScheduleAlreadyRunningError,
    ScheduleDescription,
    ScheduleHandle,
    ScheduleListDescription,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleSpec,
    ScheduleUpdate,
)
from temporalio.common import SearchAttributePair, TypedSearchAttributes
from temporalio.service import RPCError, RPCStatusCode

from api.services.cron import checked
from api.services.links import LinkMaker
from api.services.renewal import renewed
from api.services.run_access import TYPE
from api.services.runs import Runs
from api.services.schemas import Arguments, Links, PlanName, StartBody, Text, Zone, plan_args
from api.storage.idempotency import Claim
from retinue.capability import WORKFLOW_QUEUE
from retinue.errors import Conflict, InvalidArguments, NotFound
from retinue.schemas.plain_number import PLAIN_NUMBER
from retinue.temporal.codec import opened_text, sealed_text
from retinue.temporal.fairness import fair_share
from retinue.temporal.search_attributes import is_exactly
from retinue.temporal.search_keys import OWNER, TENANT
from retinue.tenancy import organisation
from retinue.times import Moment, local
from workflows.code_plans import PLANS
from workflows.messages import ScheduleTerms, StartAssistant
from workflows.rules.budget import Limits
from workflows.run.web_ui import static_details, static_summary

MAX_SCHEDULES = 200
_NEXT = 5
_ENDLESS = 2200
_RPC = timedelta(seconds=5)
_MEMO = "schedule"
_RUN_MEMO = "message"
_KEY_IS_FRESH = timedelta(hours=1)
"""Period in which a repeated request creates a missing schedule: its first attempt may have failed halfway."""
_SEEN_WITHIN = 5.0
_LOOK_EVERY = 0.2
Note = Annotated[str, Field(max_length=500)]


def _either_planned_or_in_code() -> dict[str, JsonValue]:
    """Describe the alternatives in the schema: a message, or a plan in code with its arguments."""
    nothing: dict[str, JsonValue] = {"type": "null"}
    planned: JsonValue = {
        "required": ["message"],
        "properties": {"message": {"type": "string"}, "plan": nothing, "plan_args": {"maxProperties": 0}},
    }
    fixed: dict[str, JsonValue] = {"message": nothing, "policy": {"anyOf": [nothing, {"const": ""}]}, "budget": nothing}
    in_code: list[JsonValue] = [
        {"required": ["plan"], "properties": {**fixed, "plan": {"const": name}, "plan_args": plan_args(name)}}
        for name in sorted(PLANS)
    ]
    return {"anyOf": [planned, *in_code]}


class ScheduleBody(BaseModel):
    """A schedule to create: what to start, and when."""

    model_config = ConfigDict(extra="forbid", json_schema_extra=_either_planned_or_in_code())

    message: Text | None = Field(None, description="the message in plain language, planned at each start")
    plan: PlanName | None = Field(None, description="a plan in code instead of `message`, as in 'briefing'")
    plan_args: Arguments = Field(default_factory=dict, description="arguments of that plan")
    name: str | None = Field(None, min_length=1, max_length=120, description="name in lists; default: the message")
    timezone: Zone | None = Field(None, description="IANA time zone of the times", examples=["Europe/Lisbon"])
    cron: Annotated[str, Field(max_length=200), AfterValidator(checked)] = Field(
        description="minute, hour, day of the month, month, weekday", examples=["0 8 * * mon-fri"]
    )
    policy: str | None = Field(None, max_length=40, description="the name of a policy in the policy file")
    budget: Limits | None = Field(None, description="budget of each assistant, instead of the policy's")
    catch_up_seconds: Annotated[int, Field(ge=10, le=7 * 86_400), PLAIN_NUMBER] = Field(
        3600, description="starts delayed for longer by an outage of Temporal are skipped"
    )
    ends_at: Moment | None = Field(None, description="no starts after this time")

    @model_validator(mode="after")
    def _asks_for_one_thing(self) -> ScheduleBody:
        if (self.message is None) is (self.plan is None):
            raise ValueError("give either `message` or `plan`")
        if self.plan is None and self.plan_args:
            raise ValueError("`plan_args` belong to `plan`")
        if self.plan is not None and (self.policy or self.budget):
            raise ValueError("a plan in code takes no policy or budget")
        if self.plan is not None:
            _check_plan(self.plan, self.plan_args)
        return self

    @property
    def request(self) -> str:
        """Return the title of its runs."""
        return self.message or PLANS[self.plan or ""].title


def _check_plan(name: str, args: dict[str, JsonValue]) -> None:
    if name not in PLANS:
        raise ValueError(f"there is no plan in code {name[:40]!r}; there are {', '.join(sorted(PLANS))}")
    try:
        PLANS[name].args.model_validate(args)
    except ValidationError as error:
        problems = [f"plan_args/{'/'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors()]
        raise ValueError("; ".join(problems[:5])) from None


class StoredSchedule(BaseModel):
    """The request stored in a schedule. Read without validation: a plan or policy may have been removed."""

    message: str = ""
    plan: str | None = None
    plan_args: dict[str, JsonValue] = Field(default_factory=dict)
    name: str | None = None
    timezone: str = "UTC"
    cron: str = ""
    policy: str | None = None
    budget: dict[str, JsonValue] | None = None
    catch_up_seconds: int = 3600
    ends_at: Moment | None = None
    asked_only: bool = Field(False, description="created through a credential that may not decide")


class PauseBody(BaseModel):
    """The reason of a pause."""

    model_config = ConfigDict(extra="forbid")

    note: Note | None = Field(None, description="shown while it is paused")


class RunTime(BaseModel):
    """The time of a start, in UTC and local."""

    utc: Moment
    local: Moment = Field(description="in the schedule's time zone, with the UTC offset of that day")


class ScheduledRun(BaseModel):
    """An assistant that the schedule started."""

    assistant_id: str
    scheduled_at: Moment
    started_at: Moment
    running: bool
    links: Links


class ScheduleSummary(BaseModel):
    """One line in the list of schedules."""

    id: str
    name: str
    message: str = Field(description="the message, or the plan's title")
    plan: str | None = None
    cron: str
    timezone: str
    paused: bool
    note: str | None = Field(None, description="why it is paused")
    next_run: RunTime | None = Field(None, description="null if it is paused or has ended")
    links: Links


class ScheduleView(ScheduleSummary):
    """A whole schedule."""

    plan_args: dict[str, JsonValue] = Field(default_factory=dict)
    policy: str | None = None
    budget: dict[str, JsonValue] | None = None
    catch_up_seconds: int
    ends_at: Moment | None = None
    next_runs: list[RunTime] = Field(description=f"the next {_NEXT}, whether paused or not")
    recent_runs: list[ScheduledRun] = Field(description="at most 10, latest first")
    skipped: int = Field(description="starts skipped because the assistant before was still running")
    missed: int = Field(description="starts missed because Temporal was unavailable for longer than `catch_up_seconds`")
    created_at: Moment


class SchedulePage(BaseModel):
    """The caller's schedules, by name."""

    schedules: list[ScheduleSummary]


class Schedules:
    """The schedules of one caller. Another person's schedule looks like one that does not exist."""

    def __init__(self, client: Client, links: LinkMaker, *, owner: str, runs: Runs) -> None:
        self._client = client
        self._links = links
        self._owner = owner
        self._runs = runs

    async def create(self, body: ScheduleBody, *, timezone: str, claimed: Claim | None) -> ScheduleView:
        """Create a schedule. With a claimed key, always the same one.

        Raises:
            InvalidArguments: Temporal or the policies reject a value.
            NotAllowed: Its policy or budget may allow more than the caller's own, and the caller may not decide.
            Conflict: There are too many, or the key's schedule was deleted.
        """
        if claimed and claimed.repeated and (made := await self._made_before(claimed)):
            return made
        schedule_id = _id(claimed)
        schedule = self._schedule(schedule_id, body, timezone)
        await self._check_room()
        extra = {"message": body.request, "timezone": timezone, "asked_only": not self._runs.may_decide}
        stored = StoredSchedule(**body.model_dump(exclude_none=True) | extra)
        try:
            await self._client.create_schedule(
                schedule_id,
                schedule,
                memo={_MEMO: stored.model_dump(mode="json", exclude_defaults=True)},
                search_attributes=self._search_attributes(),
                rpc_timeout=_RPC,
            )
        except ScheduleAlreadyRunningError:
            return await self.view(schedule_id)
        except RPCError as error:
            if error.status is RPCStatusCode.INVALID_ARGUMENT:
                raise InvalidArguments(f"Temporal rejects this: {error.message[:200]}") from None
            raise
        return await self.view(schedule_id)

    def _search_attributes(self) -> TypedSearchAttributes:
        tenant = organisation(self._owner)
        pairs = [SearchAttributePair(OWNER, self._owner), *([SearchAttributePair(TENANT, tenant)] if tenant else [])]
        return TypedSearchAttributes(pairs)

    async def _made_before(self, claim: Claim) -> ScheduleView | None:
        try:
            return await self.view(_id(claim))
        except NotFound:
            if datetime.now(UTC) - claim.used_at < _KEY_IS_FRESH:
                return None
            raise Conflict(
                f"this Idempotency-Key was used on {claim.used_at:%Y-%m-%d} and its schedule no longer exists",
                hint="use a new key for a new schedule",
            ) from None

    async def _check_room(self) -> None:
        if len([entry async for entry in self._entries()]) >= MAX_SCHEDULES:
            raise Conflict(f"you already have {MAX_SCHEDULES} schedules", hint="delete one that is no longer needed")

    def _schedule(self, schedule_id: str, body: ScheduleBody, timezone: str) -> Schedule:
        if body.ends_at and body.ends_at.year >= _ENDLESS:
            raise InvalidArguments(f"`ends_at` must be before the year {_ENDLESS}", hint="omit it for no end")
        if body.ends_at and body.ends_at <= datetime.now(UTC):
            raise InvalidArguments("`ends_at` has passed already")
        return Schedule(
            action=self._action(schedule_id, body, timezone),
            spec=ScheduleSpec(cron_expressions=[body.cron], time_zone_name=timezone, end_at=body.ends_at),
            policy=SchedulePolicy(
                overlap=ScheduleOverlapPolicy.SKIP, catchup_window=timedelta(seconds=body.catch_up_seconds)
            ),
        )

    def _action(self, schedule_id: str, body: ScheduleBody, timezone: str) -> ScheduleActionStartWorkflow:
        kind, given = self._start(schedule_id, body, timezone)
        return self._action_of(schedule_id, kind, given, request=body.request, timezone=timezone)

    def _action_of(
        self, schedule_id: str, kind: str, given: BaseModel, *, request: str, timezone: str
    ) -> ScheduleActionStartWorkflow:
        """Return the start action, like `Runs` builds it. Temporal appends each start's time to the workflow id."""
        summary = static_summary(request)
        return ScheduleActionStartWorkflow(
            kind,
            given,
            id=action_id(schedule_id),
            task_queue=WORKFLOW_QUEUE,
            memo={_RUN_MEMO: summary},
            typed_search_attributes=self._runs.search_attributes(),
            priority=fair_share(self._owner),
            static_summary=summary,
            static_details=static_details(request, owner=self._owner, timezone=timezone),
        )

    def _start(self, schedule_id: str, body: ScheduleBody, timezone: str) -> tuple[str, BaseModel]:
        if body.plan is not None:
            plan = PLANS[body.plan]
            args = plan.args.model_validate(body.plan_args)
            return plan.workflow_type, plan.start(args, timezone=timezone, owner=self._owner)
        wish = StartBody(message=body.request, policy=body.policy, budget=body.budget)
        return TYPE, self._runs.input_for(wish, timezone=timezone, schedule_id=schedule_id)

    async def update_start(self, schedule_id: str, old: StartAssistant, terms: ScheduleTerms) -> None:
        """Update a schedule's policy and budget to what this credential may use now."""
        new = renewed(self._runs, old, terms, schedule_id=schedule_id)
        if new == old:
            return
        action = self._action_of(schedule_id, TYPE, new, request=new.message, timezone=new.timezone)
        await self._handle(schedule_id).update(
            lambda found: ScheduleUpdate(dataclasses.replace(found.description.schedule, action=action)),
            rpc_timeout=_RPC,
        )

    async def page(self, *, limit: int) -> list[ScheduleSummary]:
        """The caller's schedules, by name."""
        shown = [await self._summary(entry) async for entry in self._entries()]
        return sorted(shown, key=lambda schedule: (schedule.name.casefold(), schedule.id))[:limit]

    async def _entries(self) -> AsyncIterator[ScheduleListDescription]:
        mine = is_exactly(OWNER.name, self._owner)
        async for entry in await self._client.list_schedules(mine, page_size=100, rpc_timeout=_RPC):
            if entry.typed_search_attributes.get(OWNER) == self._owner:  # some servers compare without case
                yield entry

    async def _summary(self, entry: ScheduleListDescription) -> ScheduleSummary:
        stored = await _stored(entry)
        state, info = (entry.schedule.state if entry.schedule else None), entry.info
        return self._line(
            entry.id,
            stored,
            paused=bool(state and state.paused),
            note=await opened_text(self._client.data_converter, state.note) if state else None,
            times=info.next_action_times if info else [],
        )

    def _line(
        self, schedule_id: str, stored: StoredSchedule, *, paused: bool, note: str | None, times: Any
    ) -> ScheduleSummary:
        return ScheduleSummary(
            id=schedule_id,
            name=stored.name or static_summary(stored.message),
            message=stored.message,
            plan=stored.plan,
            cron=stored.cron,
            timezone=stored.timezone,
            paused=paused,
            note=note if paused else None,
            next_run=_run_time(times[0], stored.timezone) if times and not paused else None,
            links=self._links.schedule(schedule_id),
        )

    async def view(self, schedule_id: str) -> ScheduleView:
        """Return the current schedule.

        Raises:
            NotFound: It does not exist, or belongs to another person.
        """
        return await self._shown(await self._describe(schedule_id))

    async def _shown(self, found: ScheduleDescription) -> ScheduleView:
        stored = await _stored(found)
        times = found.info.next_action_times
        state = found.schedule.state
        note = await opened_text(self._client.data_converter, state.note)
        line = self._line(found.id, stored, paused=state.paused, note=note, times=times)
        return ScheduleView(
            **dict(line),
            plan_args=stored.plan_args,
            policy=stored.policy,
            budget=stored.budget,
            catch_up_seconds=stored.catch_up_seconds,
            ends_at=stored.ends_at,
            next_runs=[_run_time(moment, line.timezone) for moment in times[:_NEXT]],
            recent_runs=self._recent(found),
            skipped=found.info.num_actions_skipped_overlap,
            missed=found.info.num_actions_missed_catchup_window,
            created_at=found.info.created_at,
        )

    def _recent(self, found: ScheduleDescription) -> list[ScheduledRun]:
        running = {_run_id(action) for action in found.info.running_actions}
        return [self._run(result, running) for result in reversed(found.info.recent_actions)]

    def _run(self, result: ScheduleActionResult, running: set[str]) -> ScheduledRun:
        assistant_id = _run_id(result.action)
        return ScheduledRun(
            assistant_id=assistant_id,
            scheduled_at=result.scheduled_at,
            started_at=result.started_at,
            running=assistant_id in running,
            links=self._links.run(assistant_id),
        )

    async def pause(self, schedule_id: str, note: str | None) -> ScheduleView:
        """Pause until it is resumed."""
        await self._describe(schedule_id)
        sealed = await sealed_text(self._client.data_converter, note or f"paused by {self._owner}")
        await self._handle(schedule_id).pause(note=sealed, rpc_timeout=_RPC)
        return await self.view(schedule_id)

    async def resume(self, schedule_id: str) -> ScheduleView:
        """Resume at the next time; missed times are not caught up.

        Raises:
            NotAllowed: Its maker may decide, and the caller may not.
        """
        await self._check_may_start(await self._describe(schedule_id))
        await self._handle(schedule_id).unpause(note=f"resumed by {self._owner}", rpc_timeout=_RPC)
        return await self.view(schedule_id)

    async def run(self, schedule_id: str) -> ScheduleView:
        """Start a run now, even if paused.

        Raises:
            Conflict: The run before has not ended.
            NotAllowed: Its maker may decide, and the caller may not.
        """
        before = await self._describe(schedule_id)
        await self._check_may_start(before)
        if before.info.running_actions:
            going = ", ".join(_run_id(action) for action in before.info.running_actions)
            raise Conflict(f"an assistant of this schedule is still running: {going}", hint="wait for it, or cancel it")
        known = {_run_id(result.action) for result in before.info.recent_actions}
        await self._handle(schedule_id).trigger(overlap=ScheduleOverlapPolicy.SKIP, rpc_timeout=_RPC)
        return await self._once_started(schedule_id, known)

    async def _check_may_start(self, found: ScheduleDescription) -> None:
        """Check that the caller may start it: its runs do what its creator allowed. Plans in code need no approval."""
        stored = await _stored(found)
        if not stored.asked_only and stored.plan is None:
            self._runs.check_decides("its assistants do what the creator of this schedule may allow")

    async def _once_started(self, schedule_id: str, known: set[str]) -> ScheduleView:
        """Return the schedule once the new run is listed, or unchanged if that takes too long."""
        deadline = asyncio.get_running_loop().time() + _SEEN_WITHIN
        while True:
            view = await self.view(schedule_id)
            found = {run.assistant_id for run in view.recent_runs} - known
            if found or asyncio.get_running_loop().time() > deadline:
                return view
            await asyncio.sleep(_LOOK_EVERY)

    async def delete(self, schedule_id: str) -> None:
        """Delete a schedule. A run that it started continues."""
        await self._describe(schedule_id)
        await self._handle(schedule_id).delete(rpc_timeout=_RPC)

    async def _describe(self, schedule_id: str) -> ScheduleDescription:
        try:
            found = await self._handle(schedule_id).describe(rpc_timeout=_RPC)
        except RPCError as error:
            if error.status in (RPCStatusCode.NOT_FOUND, RPCStatusCode.INVALID_ARGUMENT):
                raise _unknown(schedule_id) from None
            raise
        if found.typed_search_attributes.get(OWNER) != self._owner:
            raise _unknown(schedule_id)
        return found

    def _handle(self, schedule_id: str) -> ScheduleHandle:
        return self._client.get_schedule_handle(schedule_id)


def action_id(schedule_id: str) -> str:
    """Return the workflow id of a schedule's action. Temporal appends the time of each start."""
    return f"a-{schedule_id}"


def _id(claim: Claim | None) -> str:
    return f"s-{claim.assistant_id.removeprefix('a-') if claim else uuid.uuid4().hex}"


async def _stored(found: ScheduleDescription | ScheduleListDescription) -> StoredSchedule:
    content: dict[str, Any] = await found.memo_value(_MEMO, {}, type_hint=dict[str, Any])
    return StoredSchedule.model_validate(content)


def _run_id(action: object) -> str:
    assert isinstance(action, ScheduleActionExecutionStartWorkflow)
    return action.workflow_id


def _run_time(moment: datetime, zone: str) -> RunTime:
    return RunTime(utc=moment, local=local(moment, zone))


def _unknown(schedule_id: str) -> NotFound:
    return NotFound(f"there is no schedule {schedule_id[:80]!r}", hint="GET /v1/schedules lists yours")
