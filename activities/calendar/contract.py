"""Contract of the calendar capability, the only file of this folder that other packages may import."""

import hashlib
import json
from abc import abstractmethod
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Annotated, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, model_validator
from temporalio import activity

from retinue.capability import DESTRUCTIVE, NOT_FOR_PLANS, OWN_WRITE, READ, Capability, Id, OwnText, ToolOptions, tool
from retinue.errors import InvalidArguments
from retinue.times import Moment, present

T = TypeVar("T")
_READ = READ.replace(personal=True)
_OWN_WRITE = OWN_WRITE.replace(personal=True)
_DESTRUCTIVE = DESTRUCTIVE.replace(personal=True)
PATIENCE = ToolOptions(start_to_close=90)
"""A calendar on a server needs several requests for one answer, and the first look at a large one takes its time."""
MOST_AT_ONCE = 50
_MOST_DAYS = 3660
RECURRENCE = "RFC 5545 rule without DTSTART, as in 'FREQ=WEEKLY;BYDAY=MO;COUNT=10'"

EventId = Annotated[str, Field(max_length=500)]
Attendee = Annotated[str, Field(max_length=500)]
_Zone = Annotated[str, Field(json_schema_extra={"maxLength": 64})]
"""What plans may say; a longer one is refused like any that does not exist."""


class Event(BaseModel):
    """One event, or one occurrence of a recurring one."""

    event_id: Id
    title: str
    start: Moment
    end: Moment
    timezone: str = Field(description="IANA zone in which it recurs")
    location: str | None = None
    description: str | None = None
    attendees: list[str] = Field(default_factory=list)
    recurrence: str | None = Field(None, description=RECURRENCE)


_OVERLAPS = "other events at that time, as in 'Dentist, Tue 2026-12-01 10:00 to 11:00'"


class CreatedEvent(Event):
    """The event as it was asked for, and what it overlaps."""

    title: OwnText
    timezone: OwnText
    location: OwnText | None = None
    description: OwnText | None = None
    attendees: list[OwnText] = Field(default_factory=list)
    recurrence: OwnText | None = None
    overlaps: list[str] = Field(default_factory=list, description=_OVERLAPS, json_schema_extra=NOT_FOR_PLANS)


class CreateEvent(BaseModel):
    """Arguments of `calendar.create_event`."""

    model_config = ConfigDict(extra="forbid")

    title: str = Field(min_length=1, max_length=300)
    start: Moment
    end: Moment
    timezone: _Zone | None = Field(None, description="IANA zone, for recurrence")
    location: str | None = Field(None, max_length=500)
    description: str | None = Field(None, max_length=8000)
    attendees: list[Attendee] = Field(default_factory=list, max_length=100, description="addresses")
    recurrence: str | None = Field(None, max_length=500, description=RECURRENCE)

    @model_validator(mode="after")
    def _ends_after_it_starts(self) -> Self:
        return _in_order(self, self.start, self.end)


class Window(BaseModel):
    """A stretch of time in which to look."""

    model_config = ConfigDict(extra="forbid")

    start: Moment
    end: Moment

    @model_validator(mode="after")
    def _ends_after_it_starts(self) -> Self:
        return _in_order(self, self.start, self.end)


class ListEvents(Window):
    """Arguments of `calendar.list_events`."""

    query: str | None = Field(
        None, max_length=200, description="only events with all these words in title or attendees"
    )
    starting: bool = Field(False, description="not events that began before the window")


class ListEventsResult(BaseModel):
    """Events that overlap the window, earliest first; recurring ones as their occurrences."""

    events: list[Event]
    event_ids: list[Id] = Field(default_factory=list, description="of those that do not recur")
    match: Event | None = Field(None, description="the event, when exactly one was found; else null")
    truncated: bool = Field(False, description="true when there were more than fit (at most 200)")
    skipped: int = Field(
        0,
        description="entries of the calendar that could not be read and are not in the list",
        json_schema_extra=NOT_FOR_PLANS,
    )
    skipped_entries: list[str] = Field(
        default_factory=list,
        description="those entries by title, each with the reason, at most 10",
        json_schema_extra=NOT_FOR_PLANS,
    )


Clock = Annotated[str, Field(pattern=r"^(([01]\d|2[0-3]):[0-5]\d|24:00)$")]
"""A time of day as HH:MM; 24:00 is the end of the day."""
Weekday = Annotated[str, Field(pattern="^(MO|TU|WE|TH|FR|SA|SU)$")]


class FindFreeTime(Window):
    """Arguments of `calendar.find_free_time`."""

    duration_minutes: int = Field(ge=5, le=24 * 60)
    earliest: Clock = Field("00:00", description="as in working hours")
    latest: Clock = "24:00"
    weekdays: list[Weekday] = Field(default_factory=list, max_length=7, description="of MO to SU; else all")
    timezone: str | None = Field(None, max_length=64, description="IANA zone of these")

    @model_validator(mode="after")
    def _has_hours(self) -> Self:
        if self.earliest >= self.latest:
            raise ValueError("`latest` must be after `earliest`")
        return self


class Slot(BaseModel):
    """A free stretch of exactly the wanted length."""

    start: Moment
    end: Moment


class FindFreeTimeResult(BaseModel):
    """Free slots, earliest first, none overlapping another, at most 20."""

    slots: list[Slot]
    skipped: int = Field(
        0,
        description="entries of the calendar that could not be read; their time counts as free",
        json_schema_extra=NOT_FOR_PLANS,
    )
    skipped_reasons: list[str] = Field(
        default_factory=list, description="why, as '2 because ...', at most 10", json_schema_extra=NOT_FOR_PLANS
    )


class UpdateEvent(BaseModel):
    """Arguments of `calendar.update_event`. What is absent stays as it is."""

    model_config = ConfigDict(extra="forbid")

    event_id: EventId
    title: str | None = Field(None, min_length=1, max_length=300)
    start: Moment | None = None
    end: Moment | None = None
    location: str | None = Field(None, max_length=500)
    description: str | None = Field(None, max_length=8000)
    attendees: list[Attendee] | None = Field(None, max_length=100)

    @model_validator(mode="after")
    def _ends_after_it_starts(self) -> Self:
        return _in_order(self, self.start, self.end)


class PreviousEvent(Event):
    """An event with all its stored data, so that it can be restored."""

    excluded: list[Moment] | None = Field(
        default_factory=list, description="starts that a series leaves out; null when there are too many to tell"
    )
    busy: bool = Field(True, description="false when its time counts as free")
    uid: str | None = Field(None, description="by which an import knows it again")
    days: int = Field(0, description="how much of its length is whole days by the calendar; the rest is exact time")
    kept: str | None = Field(None, description="under which the calendar keeps all that it was; for an undo only")


class UpdateEventResult(Event):
    """The event as it is now, and as it was."""

    previous: PreviousEvent = Field(json_schema_extra=NOT_FOR_PLANS)
    deleted: bool = Field(
        False, description="always false: an undo finds the event or leaves it gone", json_schema_extra=NOT_FOR_PLANS
    )
    overlaps: list[str] = Field(default_factory=list, description=_OVERLAPS, json_schema_extra=NOT_FOR_PLANS)


class EventRef(BaseModel):
    """Names one event: arguments of `calendar.look_up`."""

    model_config = ConfigDict(extra="forbid")

    event_id: EventId


class MoveEvent(EventRef):
    """Arguments of `calendar.move_event`. Days keep the time of day, minutes are exact; both add up."""

    days: int = Field(0, description="negative: earlier")
    minutes: int = 0

    @model_validator(mode="after")
    def _moves(self) -> Self:
        if not self.days and not self.minutes:
            raise ValueError("`days` or `minutes` says how far")
        if abs(self.days) > _MOST_DAYS or abs(self.minutes) > _MOST_DAYS * 24 * 60:
            raise ValueError(f"`days` and `minutes` move an event by {_MOST_DAYS} days at most")
        return self


class PreviewEvent(BaseModel):
    """Arguments of `calendar.preview`: those of a creation, a change or a move that decide about its time."""

    model_config = ConfigDict(extra="forbid")

    event_id: str | None = None
    start: Moment | None = None
    end: Moment | None = None
    timezone: str | None = None
    recurrence: str | None = None
    days: int = 0
    minutes: int = 0


class EventNotes(BaseModel):
    """What is worth knowing before, one sentence each."""

    notes: list[str]


class DeleteEvents(BaseModel):
    """Arguments of `calendar.delete_events`."""

    model_config = ConfigDict(extra="forbid")

    event_ids: list[EventId] = Field(min_length=1, max_length=MOST_AT_ONCE)


class DeletedEvent(BaseModel):
    """One event that was deleted."""

    event_id: Id
    title: str
    start: Moment


class RemainingEvent(BaseModel):
    """One event that was not deleted, or not restored, and why."""

    event_id: Id
    why: str


class KeptEvent(BaseModel):
    """Under which the calendar keeps all that a deleted event was, for an undo."""

    event_id: str = Field(max_length=500)
    kept: str = Field(max_length=32)


class DeleteEventsResult(BaseModel):
    """What was deleted, and what was not."""

    deleted: list[DeletedEvent] = Field(json_schema_extra=NOT_FOR_PLANS)
    remaining: list[RemainingEvent] = Field(
        default_factory=list, description="those not deleted, with the reason", json_schema_extra=NOT_FOR_PLANS
    )
    kept: list[KeptEvent] = Field(default_factory=list, json_schema_extra=NOT_FOR_PLANS)


class RestoreEvents(BaseModel):
    """Arguments of `calendar.restore_events`, as a deletion returned them."""

    model_config = ConfigDict(extra="forbid")

    kept: list[KeptEvent] = Field(min_length=1, max_length=MOST_AT_ONCE)


class RestoreEventsResult(BaseModel):
    """The events that are in the calendar again, and those that are not."""

    restored: list[DeletedEvent]
    remaining: list[RemainingEvent] = Field(default_factory=list)


class DeleteEvent(EventRef):
    """Arguments of `calendar.delete_event`."""


class DeleteEventResult(BaseModel):
    """The event that was deleted."""

    event_id: Id
    title: str
    deleted: bool = True
    previous: PreviousEvent | None = Field(None, description="the event as it was", json_schema_extra=NOT_FOR_PLANS)


class RestoreEvent(BaseModel):
    """Arguments of `calendar.restore_event`, as a change or a deletion returned them."""

    model_config = ConfigDict(extra="forbid")

    event_id: str = Field(max_length=500)
    previous: PreviousEvent
    deleted: bool = Field(True, description="whether a deleted event is created again")


class WriteInvitation(EventRef):
    """Arguments of `calendar.write_invitation`."""

    cancel: bool = Field(False, description="call the event off")


class InvitationText(BaseModel):
    """An invitation as email.invite sends it."""

    icalendar: str = Field(description="for email.invite")
    title: str
    attendees: list[str] = Field(default_factory=list, description="their addresses")


class AddInvitation(BaseModel):
    """Arguments of `calendar.add_invitation`."""

    model_config = ConfigDict(extra="forbid")

    icalendar: str = Field(max_length=60_000, description="the /invitation/icalendar of email.read")


class ReadChange(AddInvitation):
    """Arguments of `calendar.read_change`."""


class Change(BaseModel):
    """What an invitation would change in the calendar."""

    event_id: str
    change: str = Field(description="what becomes of the event, in words")


class UpdateFromInvitation(AddInvitation):
    """Arguments of `calendar.update_from_invitation`. `event_id` and `change` are filled in from the invitation."""

    event_id: str | None = Field(
        None, max_length=500, description="filled in; leave it out", json_schema_extra=NOT_FOR_PLANS
    )
    change: str | None = Field(
        None, max_length=1000, description="filled in; leave it out", json_schema_extra=NOT_FOR_PLANS
    )


class ChangedEvent(BaseModel):
    """What became of an event."""

    event_id: Id
    title: str
    status: OwnText = Field(description="'changed' or 'removed'")


class ReadEventChanges(BaseModel):
    """Arguments of `calendar.changes`."""

    model_config = ConfigDict(extra="forbid")

    cursor: str | None = Field(None, max_length=100_000, description="of the last answer; without one, begin now")
    limit: int = Field(50, ge=1, le=100)
    latest: bool = Field(False, description="without a cursor: also return the last changes, or the next events")


class EventChange(BaseModel):
    """An event that was added or changed. Strangers may have written its title."""

    change_id: str = Field(max_length=64, description="the same for the same version of the event")
    event_id: str
    title: str
    start: Moment | None = None
    own: bool = Field(False, description="this assistant did it")


class EventChanges(BaseModel):
    """Events that were added or changed since a cursor."""

    changes: list[EventChange] = Field(default_factory=list)
    cursor: str
    more: bool = Field(False, description="there are more now")
    reset: str = Field("", description="why the cursor no longer counted, in words; changes may have been missed")
    account: str = Field("", description="id of the account that was asked; empty without accounts")


def _in_order(model: T, start: datetime | None, end: datetime | None) -> T:
    if start is not None and end is not None and end <= start:
        raise ValueError("`end` must be after `start`")
    return model


class Calendar(Capability):
    """Contract of the calendar capability."""

    name = "calendar"
    version = "1.2.0"
    uses_accounts = True
    description = "The person's own calendar: events, recurrence, free time."
    instructions = (
        "To change an event that the person names, first list_events with a `query` over a sensible window and refer "
        "to /match/event_id, which exists only when exactly one was found; several are /event_ids. /slots/0 of "
        "find_free_time is the earliest."
    )

    @activity.defn(name="calendar.create_event")
    @tool(
        title="Create an event",
        summary="{title}, {start}",
        options=PATIENCE,
        annotations=_OWN_WRITE.replace(
            sensitive=("/attendees",), advice="calendar.preview", undo="calendar.delete_event"
        ),
    )
    @abstractmethod
    async def create_event(self, event: CreateEvent) -> CreatedEvent:
        """Put one event into the person's calendar. Nobody is invited or notified; attendees are only noted."""

    @activity.defn(name="calendar.list_events")
    @tool(
        title="List events",
        summary="{start} to {end}",
        options=PATIENCE,
        annotations=_READ.replace(finds="event", picks=("match", "events"), ordered=True),
    )
    @abstractmethod
    async def list_events(self, window: ListEvents) -> ListEventsResult:
        """List events between two times, earliest first, at most 200. Invitations may hold text by strangers."""

    @activity.defn(name="calendar.find_free_time")
    @tool(
        title="Find free time",
        summary="{duration_minutes} minutes, {start} to {end}",
        options=PATIENCE,
        annotations=_READ.replace(finds="free time", trusted_output=True),
    )
    @abstractmethod
    async def find_free_time(self, wish: FindFreeTime) -> FindFreeTimeResult:
        """Find free slots of this length within these hours, earliest first."""

    @activity.defn(name="calendar.update_event")
    @tool(
        title="Change an event",
        summary="{event_id}",
        options=PATIENCE,
        annotations=_OWN_WRITE.replace(
            idempotent=True,
            sensitive=("/attendees",),
            lookups={"event_id": "calendar.look_up"},
            advice="calendar.preview",
            undo="calendar.restore_event",
        ),
    )
    @abstractmethod
    async def update_event(self, change: UpdateEvent) -> UpdateEventResult:
        """Change or move one event; a recurring one as a whole. Without `end` it keeps its length."""

    @activity.defn(name="calendar.move_event")
    @tool(
        title="Move an event",
        summary="{event_id}",
        options=PATIENCE,
        annotations=_OWN_WRITE.replace(
            lookups={"event_id": "calendar.look_up"}, advice="calendar.preview", undo="calendar.restore_event"
        ),
        examples=(
            "move my dentist appointment half an hour later",
            "push the review back two days",
            "make lunch an hour earlier",
            "postpone the call with Ana by a week",
        ),
    )
    @abstractmethod
    async def move_event(self, wish: MoveEvent) -> UpdateEventResult:
        """Move one event later or earlier by a length; a recurring one as a whole."""

    @activity.defn(name="calendar.delete_events")
    @tool(
        title="Delete several events",
        options=PATIENCE,
        annotations=_DESTRUCTIVE.replace(lookups={"event_ids": "calendar.look_up"}, undo="calendar.restore_events"),
        examples=("cancel all my meetings on Friday", "clear my calendar tomorrow", "delete everything next Monday"),
        rare=True,
    )
    @abstractmethod
    async def delete_events(self, events: DeleteEvents) -> DeleteEventsResult:
        """Delete several events at once."""

    @activity.defn(name="calendar.restore_events")
    @tool(
        title="Restore several events",
        options=PATIENCE,
        annotations=_OWN_WRITE.replace(idempotent=True),
        plannable=False,
    )
    @abstractmethod
    async def restore_events(self, wish: RestoreEvents) -> RestoreEventsResult:
        """Bring back what several events were before a deletion, under the same event_ids."""

    @activity.defn(name="calendar.preview")
    @tool(title="Preview an event", options=PATIENCE, annotations=_READ, plannable=False)
    @abstractmethod
    async def preview(self, wish: PreviewEvent) -> EventNotes:
        """Say when a moved event would be and what it would overlap, for a person who is asked about it."""

    @activity.defn(name="calendar.delete_event")
    @tool(
        title="Delete an event",
        summary="{event_id}",
        options=PATIENCE,
        annotations=_DESTRUCTIVE.replace(lookups={"event_id": "calendar.look_up"}, undo="calendar.restore_event"),
    )
    @abstractmethod
    async def delete_event(self, event: DeleteEvent) -> DeleteEventResult:
        """Delete one event; a recurring one with all its occurrences."""

    @activity.defn(name="calendar.restore_event")
    @tool(
        title="Restore an event",
        summary="{event_id}",
        options=PATIENCE,
        annotations=_OWN_WRITE.replace(idempotent=True, lookups={"event_id": "calendar.look_up"}),
        plannable=False,
    )
    @abstractmethod
    async def restore_event(self, wish: RestoreEvent) -> Event:
        """Write back what an event was before a change or a deletion, under the same event_id."""

    @activity.defn(name="calendar.look_up")
    @tool(
        title="Look up an event",
        summary="{event_id}",
        options=PATIENCE,
        annotations=_READ,
        plannable=False,
    )
    @abstractmethod
    async def look_up(self, event: EventRef) -> Event:
        """Read one event by its id, for a person who is asked about it; a recurring one as it begins."""

    @activity.defn(name="calendar.write_invitation")
    @tool(
        title="Write an invitation",
        summary="{event_id}",
        options=PATIENCE,
        examples=(
            "invite ana@example.com to the board meeting",
            "send the team an invitation for the review",
            "tell the participants that the meeting has moved",
            "call off the workshop and let everybody know",
            "send out invitations for my birthday dinner",
        ),
        annotations=_READ,
        rare=True,
    )
    @abstractmethod
    async def write_invitation(self, wish: WriteInvitation) -> InvitationText:
        """Write the invitation to an event, or to its present version; email.invite sends it."""

    @activity.defn(name="calendar.add_invitation")
    @tool(
        title="Add an invitation to the calendar",
        options=PATIENCE,
        examples=(
            "accept the invitation and put it in my calendar",
            "enter the meeting that Ana invites me to",
            "add the invitation from the newest mail to my calendar",
            "put the workshop from that invitation in my diary",
            "save the invited event",
        ),
        annotations=_OWN_WRITE.replace(undo="calendar.delete_event"),
        rare=True,
    )
    @abstractmethod
    async def add_invitation(self, wish: AddInvitation) -> Event:
        """Enter the event of an invitation. It answers nobody: email.answer_invitation does."""

    @activity.defn(name="calendar.update_from_invitation")
    @tool(
        title="Change an event as an invitation says",
        summary="{change}",
        options=PATIENCE,
        examples=(
            "move the meeting as the updated invitation says",
            "apply the changed invitation to my calendar",
            "Ana has cancelled the review, take it off my calendar",
            "update my calendar from the new invitation",
            "remove the event that was called off",
        ),
        annotations=_DESTRUCTIVE.replace(
            lookups={"event_id": "calendar.look_up"}, fills_in={"icalendar": "calendar.read_change"}
        ),
        rare=True,
    )
    @abstractmethod
    async def update_from_invitation(self, wish: UpdateFromInvitation) -> ChangedEvent:
        """Change or remove an event as a later invitation or a cancellation says. The person is asked first."""

    @activity.defn(name="calendar.read_change")
    @tool(title="Read what an invitation changes", options=PATIENCE, annotations=_READ, plannable=False)
    @abstractmethod
    async def read_change(self, wish: ReadChange) -> Change:
        """Read which event an invitation changes or cancels, and how; strangers wrote it."""

    @activity.defn(name="calendar.changes")
    @tool(
        title="Read which events were added or changed",
        annotations=_READ,
        options=ToolOptions(start_to_close=60, attempts=2),
        plannable=False,
    )
    async def changes(self, wish: ReadEventChanges) -> EventChanges:
        """Read which events were added or changed since a cursor, for a watch; deletions are not among them."""
        return await _changes_by_listing(wish, self.list_events)


_WATCHED = timedelta(days=60)


async def _changes_by_listing(
    wish: ReadEventChanges, list_events: Callable[[ListEvents], Awaitable[ListEventsResult]]
) -> EventChanges:
    """Compare the next weeks with what they were: for providers that cannot tell what has changed.

    It does not know which changes are own, and sees only events from yesterday to `_WATCHED` ahead.
    """
    now = present()
    known, until = _snapshot(wish.cursor)
    ahead = until if until and until > now + _WATCHED / 2 else now + _WATCHED
    listed = (await list_events(ListEvents(start=now - timedelta(days=1), end=ahead))).events
    found = {
        _digest(event.event_id, event.start.isoformat()): (_digest(event.model_dump_json()), event) for event in listed
    }
    if until is None:
        new = [key for key in found if wish.latest]
    else:
        new = [key for key, (version, event) in found.items() if known.get(key) != version and event.start < until]
    later = {} if until is None else dict.fromkeys(new[wish.limit :])
    events = {key: version for key, (version, _) in found.items() if key not in later}
    cursor = json.dumps({"until": ahead.isoformat(), "events": events})
    changes = {
        event.event_id: EventChange(
            change_id=_digest(event.model_dump_json(), size=32),
            event_id=event.event_id,
            title=event.title,
            start=event.start,
        )
        for _, event in (found[key] for key in new[: wish.limit])
    }
    return EventChanges(changes=list(changes.values()), cursor=cursor, more=bool(later))


def _snapshot(cursor: str | None) -> tuple[dict[str, str], datetime | None]:
    if cursor is None:
        return {}, None
    try:
        found = json.loads(cursor)
        return dict(found["events"]), datetime.fromisoformat(found["until"])
    except (ValueError, TypeError, KeyError):
        raise InvalidArguments("this cursor was not given by this calendar") from None


def _digest(*parts: str, size: int = 12) -> str:
    return hashlib.sha256("\n".join(parts).encode(errors="surrogatepass")).hexdigest()[:size]
