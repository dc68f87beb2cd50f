"""Watches one account of one person, and starts a run for what arrives there, as the person's triggers say.

One execution per owner, kind of event and account. It holds the triggers, and asks the capability again and again what is
new since a cursor. What strangers wrote decides whether a run starts, and reaches it only as the result of its first step,
which reads the one mail or event (`StartAssistant.first`). Why: docs/decisions/0035.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from pydantic import BaseModel, Field, JsonValue
from temporalio import workflow
from temporalio.common import SearchAttributePair, TypedSearchAttributes, WorkflowIDReusePolicy
from temporalio.exceptions import ActivityError, WorkflowAlreadyStartedError

from activities.calendar.contract import Calendar, EventChanges, ReadEventChanges
from activities.contacts.contract import Contacts, FindContacts, FindContactsResult
from activities.email.contract import Automatic, Email, Folder, MailChange, MailChanges, ReadMailChanges
from retinue.capability import ACCOUNT, WORKFLOW_QUEUE
from retinue.errors import AccountDisconnected
from retinue.plan import BoundStep
from retinue.provenance.asked_by import AskedBy
from retinue.temporal.account_watch import WATCH_TYPE
from retinue.temporal.failures import non_retryable
from retinue.temporal.fairness import fair_share
from retinue.temporal.search_keys import OWNER, STATUS, TENANT
from retinue.tenancy import organisation
from retinue.text import safe_line
from retinue.times import Moment, local, on_the_calendar
from workflows.failures import explain
from workflows.messages import AssistantStatus, StartAssistant
from workflows.rules.triggers import (
    DAY,
    HOUR,
    MOST_REPLIES,
    Arrival,
    Conditions,
    Limited,
    QuietHours,
    TriggeredRun,
    TriggerEvent,
    fits,
    has_room,
    quiet_until,
    run_id,
    sent_by,
)
from workflows.run.web_ui import static_details, static_summary
from workflows.steps.activity import Waiting, run_activity

MAX_TRIGGERS = 50
"""Of one person and kind of event: together they fit into the input of the next run."""
LONGEST_PAUSE = timedelta(minutes=30)
"""Between two looks while the account does not answer; the pause doubles with each failure."""
DISCONNECTED_PAUSE = timedelta(hours=1)
WAIT_SECONDS = 240
"""How long one look may wait at a server that can tell of new mail."""
_SHOWN_RUNS = 10
_SEEN = 500
_PORTION = 50
_UPDATES_PER_RUN = 300
_LOOKS_PER_RUN = 1000
_TESTED = 20
_RENEWED = frozenset({"policy", "budget", "through", "only_deciders", "notice", "notify", "day_timezone"})
"""The only fields of a trigger's start that an update changes: they follow the policy file and its creator's rights."""
Changes = MailChanges | EventChanges


class NewTrigger(BaseModel):
    """What a trigger is made of."""

    trigger_id: str
    name: str
    event: TriggerEvent
    account: str = Field("", description="name of the account; empty: the person's default")
    conditions: Conditions = Conditions()
    quiet_hours: QuietHours | None = None
    limits: Limited = Limited()
    start: StartAssistant = Field(description="the runs' input, without `first`")
    first: BoundStep = Field(description="the step that reads what arrived, without its argument")
    reads_by: str = Field(description="name of that argument")


class Trigger(NewTrigger):
    """A trigger and what became of it."""

    created_at: Moment
    since: Moment | None = Field(
        None, description="of the first look that began after it was added or resumed: what arrives from then on counts"
    )
    paused: bool = False
    note: str | None = None
    started: list[Moment] = Field(default_factory=list, description="of the last 24 hours")
    replies: list[Moment] = Field(
        default_factory=list, description="runs that answers to own mails started, of the hour"
    )
    recent: list[TriggeredRun] = Field(default_factory=list, description="newest last")
    waiting: list[Arrival] = Field(default_factory=list, description="for the end of the quiet hours")
    left_out: int = 0
    left_out_at: Moment | None = None


class StartAccountWatch(BaseModel):
    """Input of `AccountWatchWorkflow`: what is watched, and its state when it continues as new."""

    owner: str
    event: TriggerEvent
    account: str = Field("", description="name of the account; empty: the person's default")
    every: float = Field(60, gt=0, description="seconds between two looks")
    triggers: list[Trigger] = Field(default_factory=list)
    cursors: dict[str, str] = Field(default_factory=dict, description="by folder")
    used: str = Field("", description="id of the account that the cursors are of")
    seen: list[str] = Field(default_factory=list)
    failures: int = 0
    problem: str = ""
    looked_at: Moment | None = None
    resets: list[str] = Field(default_factory=list)


class PauseTrigger(BaseModel):
    """Input of the update `pause_trigger`."""

    trigger_id: str
    note: str | None = Field(None, max_length=500)


class TriggerRef(BaseModel):
    """Names one trigger."""

    trigger_id: str


class UpdateTriggerStart(TriggerRef):
    """Input of the update `update_start`: the input of its runs, as the policies and its maker's rights are now."""

    start: StartAssistant


class WatchInterval(BaseModel):
    """Input of the update `set_interval`."""

    every: float = Field(gt=0, description="seconds between two looks")


class TestTrigger(TriggerRef):
    """Input of the update `test_trigger`."""

    __test__ = False  # not a test of pytest

    key: str = Field(description="the same key starts one run")
    start: bool = Field(False, description="start a run with the newest arrival that fits")


class TestedArrival(BaseModel):
    """One of the latest arrivals, and whether it fits."""

    sender: str = ""
    title: str
    fits: bool


class TriggerTest(BaseModel):
    """What the latest arrivals would have done."""

    arrivals: list[TestedArrival]
    assistant_id: str | None = None


class WatchView(BaseModel):
    """A watch as the API reads it."""

    triggers: list[Trigger]
    watching_since: Moment | None = Field(None, description="null until the first look")
    problem: str = ""
    resets: list[str] = Field(default_factory=list)
    every: float | None = Field(None, description="seconds between two looks; null from older workers")


@workflow.defn(name=WATCH_TYPE)
class AccountWatchWorkflow:
    """Looks for news of one account while a trigger listens, and ends when there is none left."""

    @workflow.init
    def __init__(self, start: StartAccountWatch) -> None:
        self._start = start
        self._triggers = {trigger.trigger_id: trigger for trigger in start.triggers}
        self._cursors = dict(start.cursors)
        self._used = start.used
        self._seen = dict.fromkeys(start.seen)
        self._failures = start.failures
        self._problem = start.problem
        self._disconnected = False
        self._looked_at = start.looked_at
        self._resets = start.resets
        self._at_once = start.looked_at is None
        self._updates = 0
        self._looks = 0

    @workflow.run
    async def run(self, start: StartAccountWatch) -> None:
        """Look, wait, look again; continue as new when the history has grown."""
        while True:
            if not self._triggers or self._has_grown():
                await workflow.wait_condition(workflow.all_handlers_finished)
                if not self._triggers:
                    return
                workflow.continue_as_new(self._carried())
            await self._until_due()
            await self._release()
            if self._awake():
                await self._look()

    def _has_grown(self) -> bool:
        info = workflow.info()
        return (
            self._updates >= _UPDATES_PER_RUN
            or self._looks >= _LOOKS_PER_RUN
            or info.is_continue_as_new_suggested()
            or info.is_target_worker_deployment_version_changed()
        )

    def _carried(self) -> StartAccountWatch:
        return self._start.model_copy(
            update={
                "triggers": list(self._triggers.values()),
                "cursors": self._cursors,
                "used": self._used,
                "seen": list(self._seen)[-_SEEN:],
                "failures": self._failures,
                "problem": self._problem,
                "looked_at": self._looked_at,
                "resets": self._resets,
            }
        )

    def _listening(self) -> list[Trigger]:
        return [trigger for trigger in self._triggers.values() if not trigger.paused]

    def _awake(self) -> list[Trigger]:
        return [trigger for trigger in self._listening() if self._quiet_until(trigger) is None]

    def _quiet_until(self, trigger: Trigger) -> datetime | None:
        return quiet_until(trigger.quiet_hours, trigger.start.timezone, on_the_calendar(workflow.now()))

    async def _until_due(self) -> None:
        """Wait for the next look; without a trigger that listens, until one does.

        What arrives while all are paused is not caught up on. What arrives in quiet hours is: the cursor stays.
        """
        if not self._listening():
            self._cursors, self._looked_at = {}, None
            await workflow.wait_condition(lambda: bool(self._listening()) or not self._triggers)
            return
        pause = self._pause()
        if not self._at_once and pause > timedelta():
            with contextlib.suppress(TimeoutError):
                await workflow.wait_condition(lambda: self._at_once, timeout=pause)
        self._at_once = False

    def _pause(self) -> timedelta:
        if self._disconnected:
            return DISCONNECTED_PAUSE
        every = timedelta(seconds=self._start.every)
        if not self._awake():
            ends = [until for trigger in self._listening() if (until := self._quiet_until(trigger))]
            left: timedelta = min(ends) - on_the_calendar(workflow.now())
            return max(timedelta(seconds=1), left)
        if self._failures:
            return min(every * float(2 ** min(self._failures, 12)), max(LONGEST_PAUSE, every))
        return every

    async def _look(self) -> None:
        """Take what is new in each folder that is watched."""
        for folder in self._folders():
            begin = [one.trigger_id for one in self._listening() if one.since is None and _watches(one, folder)]
            try:
                found = await self._changes(folder, cursor=self._cursors.get(folder))
            except ActivityError as error:
                self._failed(error)
                return
            self._failures, self._problem, self._disconnected = 0, "", False
            if self._used and found.account != self._used:
                self._begin_again(found.account)
                break
            self._used = found.account
            self._looked_at = self._looked_at or workflow.now()
            self._cursors[folder] = found.cursor
            if found.reset:
                self._note_reset(found.reset)
            for arrival in _arrivals(found):
                await self._arrived(arrival, folder)
            for trigger_id in begin if not found.more else ():
                if (begun := self._triggers.get(trigger_id)) and not begun.paused:
                    self._set(trigger_id, since=workflow.now())
            if found.more or getattr(found, "waited", False):
                self._at_once = True
        self._looks += 1

    def _folders(self) -> list[str]:
        return sorted({trigger.conditions.folder.value for trigger in self._listening()})

    async def _changes(self, folder: str, *, cursor: str | None, latest: bool = False) -> Changes:
        mail = self._start.event is TriggerEvent.MAIL
        more: dict[str, Any] = {"latest": True, "limit": _TESTED} if latest else {"limit": _PORTION}
        if cursor is not None:
            more["cursor"] = cursor
        if mail and cursor is not None and len(self._folders()) == 1:
            more["wait_seconds"] = WAIT_SECONDS
        wish = ReadMailChanges(folder=Folder(folder), **more) if mail else ReadEventChanges(**more)
        capability = Email if mail else Calendar
        found: Changes = await run_activity(
            f"{capability.name}.changes",
            {**wish.model_dump(mode="json", exclude_unset=True), **_named(self._start.account)},
            task_queue=capability.task_queue(),
            options=capability.options("changes"),
            result_type=MailChanges if mail else EventChanges,
            on_waiting=self._waits,
            asked_by=self._asker(),
        )
        return found

    def _asker(self) -> AskedBy:
        return AskedBy(person=self._start.owner)

    def _waits(self, waiting: Waiting) -> None:
        self._problem = waiting.reason or "no worker of this capability is running"

    def _failed(self, error: ActivityError) -> None:
        problem = explain(error, who="the account")
        self._disconnected = problem.type == AccountDisconnected.__name__
        self._problem = problem.message
        if problem.type == "InvalidArguments":  # the cursor is of another mailbox: the account was replaced
            self._begin_again("")
        self._failures += 1
        self._looks += 1

    def _begin_again(self, used: str) -> None:
        """Forget where another account stood."""
        self._cursors, self._used, self._looked_at, self._at_once = {}, used, None, True
        self._note_reset("the account is another one now, so the watch began again")

    def _note_reset(self, why: str) -> None:
        at = local(workflow.now(), "UTC").isoformat()
        self._resets = [*self._resets[-4:], f"{at}: {why}"]

    async def _arrived(self, arrival: Arrival, folder: str) -> None:
        """Start what an arrival starts, once for each trigger, also where a cursor was reset."""
        if arrival.change_id in self._seen:
            return
        self._seen[arrival.change_id] = None
        while len(self._seen) > _SEEN:
            del self._seen[next(iter(self._seen))]
        for trigger in self._listening():
            if trigger.since and _watches(trigger, folder) and await self._fits(trigger, arrival):
                await self._consider(trigger.trigger_id, arrival)

    async def _fits(self, trigger: Trigger, arrival: Arrival) -> bool:
        conditions = trigger.conditions
        if not fits(conditions, trigger.event, arrival):
            return False
        return conditions.contact is None or sent_by(await self._addresses(conditions.contact), arrival.sender)

    async def _addresses(self, name: str) -> Sequence[str]:
        """Return the addresses of a contact; none of several, and none if the contacts do not answer."""
        try:
            found: FindContactsResult = await run_activity(
                f"{Contacts.name}.find",
                FindContacts(name=name),
                task_queue=Contacts.task_queue(),
                options=Contacts.options("find").model_copy(update={"patience": 60}),
                result_type=FindContactsResult,
                asked_by=self._asker(),
            )
        except ActivityError as error:
            self._problem = f"the contact could not be looked up: {explain(error, who='contacts.find').message}"
            return []
        addresses = [contact.email for contact in found.contacts if contact.email]
        return addresses if len(found.contacts) == 1 else []

    async def _consider(self, trigger_id: str, arrival: Arrival) -> None:
        """Start the run now, after the quiet hours, or not at all."""
        trigger = self._triggers.get(trigger_id)
        if trigger is None or trigger.paused:
            return
        now = workflow.now()
        if self._quiet_until(trigger) is not None:
            if len(trigger.waiting) < trigger.limits.per_hour:
                self._set(trigger_id, waiting=[*trigger.waiting, arrival])
            else:
                self._leave_out(trigger)
            return
        replies = [at for at in trigger.replies if now - at < HOUR]
        started = [at for at in trigger.started if now - at < DAY]
        if (arrival.answers_own and len(replies) >= MOST_REPLIES) or not has_room(trigger.limits, started, now):
            self._leave_out(trigger)
            return
        assistant_id = run_id(trigger_id, arrival.change_id)
        if await self._start_run(trigger, arrival, assistant_id):
            self._set(trigger_id, started=[*started, now], replies=[*replies, *[now] * arrival.answers_own])

    def _leave_out(self, trigger: Trigger) -> None:
        self._set(trigger.trigger_id, left_out=trigger.left_out + 1, left_out_at=workflow.now())

    async def _release(self) -> None:
        """Start what waited for the end of quiet hours."""
        for trigger in self._awake():
            if trigger.waiting:
                self._set(trigger.trigger_id, waiting=[])
                for arrival in trigger.waiting:
                    await self._consider(trigger.trigger_id, arrival)

    async def _start_run(self, trigger: Trigger, arrival: Arrival, assistant_id: str) -> bool:
        """Start one run; False if it was started before."""
        args: dict[str, JsonValue] = {trigger.reads_by: arrival.item_id, **_named(arrival.account)}
        first = trigger.first.model_copy(update={"args": args})
        given = trigger.start.model_copy(update={"first": first, "trigger_id": trigger.trigger_id})
        summary = static_summary(given.message)
        tenant = organisation(given.owner)
        pairs = [SearchAttributePair(OWNER, given.owner), SearchAttributePair(STATUS, str(AssistantStatus.RUNNING))]
        pairs += [SearchAttributePair(TENANT, tenant)] if tenant else []
        try:
            run = await workflow.start_child_workflow(
                "AssistantWorkflow",
                given,
                id=assistant_id,
                task_queue=WORKFLOW_QUEUE,
                id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
                parent_close_policy=workflow.ParentClosePolicy.ABANDON,
                memo={"message": summary},
                search_attributes=TypedSearchAttributes(pairs),
                priority=fair_share(given.owner),
                static_summary=summary,
                static_details=static_details(given.message, owner=given.owner, timezone=given.timezone),
            )
        except WorkflowAlreadyStartedError:
            return False
        run.add_done_callback(lambda ended: ended.cancelled() or ended.exception())  # how it ends is its own matter
        because = safe_line(f"{arrival.sender}: {arrival.title}" if arrival.sender else arrival.title, 120)
        begun = TriggeredRun(assistant_id=assistant_id, at=workflow.now(), because=because)
        if (kept := self._triggers.get(trigger.trigger_id)) is not None:
            self._set(trigger.trigger_id, recent=[*kept.recent, begun][-_SHOWN_RUNS:])
        return True

    def _set(self, trigger_id: str, **changes: Any) -> None:
        if (trigger := self._triggers.get(trigger_id)) is not None:
            self._triggers[trigger_id] = trigger.model_copy(update=changes)

    @workflow.query
    def view(self) -> WatchView:
        """Return the triggers and how the watch goes."""
        return WatchView(
            triggers=list(self._triggers.values()),
            watching_since=self._looked_at,
            problem=self._problem,
            resets=self._resets,
            every=self._start.every,
        )

    @workflow.signal
    def account_connected(self) -> None:
        """Look now: the account was connected again."""
        self._disconnected, self._at_once = False, True

    @workflow.update
    def add_trigger(self, new: NewTrigger) -> Trigger:
        """Add a trigger. The same id again returns the same trigger."""
        self._updates += 1
        if new.trigger_id not in self._triggers:
            self._triggers[new.trigger_id] = Trigger(**dict(new), created_at=workflow.now())
            self._at_once = True
        return self._triggers[new.trigger_id]

    @add_trigger.validator
    def _check_add(self, new: NewTrigger) -> None:
        if new.trigger_id not in self._triggers and len(self._triggers) >= MAX_TRIGGERS:
            raise non_retryable("TooMany", f"you already have {MAX_TRIGGERS} triggers of this kind")

    @workflow.update
    def pause_trigger(self, pause: PauseTrigger) -> Trigger:
        """Pause a trigger; what waited for the end of its quiet hours is dropped."""
        return self._changed(pause.trigger_id, paused=True, note=pause.note, waiting=[], since=None)

    @workflow.update
    def resume_trigger(self, trigger: TriggerRef) -> Trigger:
        """Resume a trigger; what arrived meanwhile is not caught up on."""
        return self._changed(trigger.trigger_id, paused=False, note=None)

    @workflow.update
    def update_start(self, update: UpdateTriggerStart) -> Trigger:
        """Set the policy, budget and rights of the trigger's runs. Their request stays as it is."""
        return self._changed(update.trigger_id, start=update.start)

    @workflow.update
    def set_interval(self, interval: WatchInterval) -> None:
        """Set how often it looks, beginning now."""
        self._updates += 1
        self._start = self._start.model_copy(update={"every": interval.every})
        self._at_once = True

    @workflow.update
    def delete_trigger(self, trigger: TriggerRef) -> None:
        """Delete a trigger. Runs that it started continue."""
        self._updates += 1
        del self._triggers[trigger.trigger_id]
        self._at_once = True

    @workflow.update
    async def test_trigger(self, test: TestTrigger) -> TriggerTest:
        """Say which of the latest arrivals fit, and start a run with the newest one if that is wanted."""
        self._updates += 1
        trigger = self._triggers[test.trigger_id]
        try:
            found = await self._changes(trigger.conditions.folder.value, cursor=None, latest=True)
        except ActivityError as error:
            problem = explain(error, who="the account")
            raise non_retryable("AccountSilent", problem.message) from None
        arrivals = _arrivals(found)
        fitting = [arrival for arrival in arrivals if await self._fits(trigger, arrival)]
        tested = [
            TestedArrival(sender=arrival.sender, title=arrival.title, fits=arrival in fitting)
            for arrival in reversed(arrivals)
        ]
        if not (test.start and fitting):
            return TriggerTest(arrivals=tested)
        assistant_id = run_id(trigger.trigger_id, f"test {hashlib.sha256(test.key.encode()).hexdigest()}")
        await self._start_run(trigger, fitting[-1], assistant_id)
        return TriggerTest(arrivals=tested, assistant_id=assistant_id)

    @pause_trigger.validator
    def _check_pause(self, pause: PauseTrigger) -> None:
        self._check(pause.trigger_id)

    @resume_trigger.validator
    def _check_resume(self, trigger: TriggerRef) -> None:
        self._check(trigger.trigger_id)

    @update_start.validator
    def _check_update(self, update: UpdateTriggerStart) -> None:
        self._check(update.trigger_id)
        old, new = self._triggers[update.trigger_id].start, update.start
        if any(getattr(old, name) != getattr(new, name) for name in StartAssistant.model_fields.keys() - _RENEWED):
            raise non_retryable("InvalidUpdate", "an update changes only the policy, budget and rights of a trigger")

    @set_interval.validator
    def _check_interval(self, interval: WatchInterval) -> None:
        """Let the proof be checked, which Temporal asks for only where there is a validator."""

    @delete_trigger.validator
    def _check_delete(self, trigger: TriggerRef) -> None:
        self._check(trigger.trigger_id)

    @test_trigger.validator
    def _check_test(self, test: TestTrigger) -> None:
        self._check(test.trigger_id)

    def _check(self, trigger_id: str) -> None:
        if trigger_id not in self._triggers:
            raise non_retryable("TriggerUnknown", f"there is no trigger {trigger_id[:80]!r}")

    def _changed(self, trigger_id: str, **changes: Any) -> Trigger:
        self._updates += 1
        self._set(trigger_id, **changes)
        self._at_once = True
        return self._triggers[trigger_id]


def _watches(trigger: Trigger, folder: str) -> bool:
    return trigger.conditions.folder.value == folder


def _named(account: str) -> dict[str, JsonValue]:
    """Return the argument that names an account; nothing for the default one, which not every installation has."""
    return {ACCOUNT: account} if account else {}


def _arrivals(found: Changes) -> list[Arrival]:
    if isinstance(found, MailChanges):
        return [_mail(change, found.account) for change in found.changes]
    return [
        Arrival(
            change_id=change.change_id,
            item_id=change.event_id,
            account=found.account,
            title=change.title,
            own=change.own,
        )
        for change in found.changes
    ]


def _mail(change: MailChange, account: str) -> Arrival:
    return Arrival(
        change_id=change.change_id,
        account=account,
        item_id=change.message_id,
        sender=change.sender,
        title=change.subject,
        automatic=change.automatic is not Automatic.NO,
        replied=change.automatic is Automatic.REPLIED,
        own=change.own,
        answers_own=change.answers_own,
    )
