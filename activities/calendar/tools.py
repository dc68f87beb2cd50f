"""The calendar's tools on its own store."""

from itertools import islice

from sqlmodel.ext.asyncio.session import AsyncSession

from activities.calendar.contract import (
    Calendar,
    CreateEvent,
    DeleteEvent,
    DeleteEventResult,
    Event,
    EventRef,
    FindFreeTime,
    FindFreeTimeResult,
    ListEvents,
    ListEventsResult,
    RestoreEvent,
    UpdateEvent,
    UpdateEventResult,
)
from activities.calendar.listing import LONG_AGO, MOST_EVENTS, asks_for, bounds, free_slots, listing
from activities.calendar.store import CalendarStore, as_previous, occurrences_of
from retinue.ledger import Ledger
from retinue.store import Store


class CalendarTools(Calendar):
    """The contract, kept by `CalendarStore`; every change goes through the ledger."""

    def __init__(self, store: Store) -> None:
        self.ledger: Ledger = Ledger(store)
        self._calendar = CalendarStore(store)

    async def create_event(self, event: CreateEvent) -> Event:
        """Enter the event once."""

        async def effect(session: AsyncSession) -> Event:
            return await self._calendar.create(session, event)

        return await self.ledger.once(event, Event, effect)

    async def list_events(self, window: ListEvents) -> ListEventsResult:
        """List occurrences; `match` looks at events, so that many occurrences of one series are one match."""
        start, end = bounds(window)
        wanted = asks_for(window.query)
        events = [each for each in await self._calendar.between(start, end) if wanted(each.title, each.attendees)]
        earliest = start if window.starting else LONG_AGO
        times = ((each for each in occurrences_of(event, start, end) if each.start >= earliest) for event in events)
        found = [list(islice(each, MOST_EVENTS + 1)) for each in times]
        return listing([each for each in found if each])

    async def find_free_time(self, wish: FindFreeTime) -> FindFreeTimeResult:
        """Cut the gaps between busy times into slots, shown in the offset of the window's start."""
        start, end = bounds(wish)
        events = await self._calendar.between(start, end)
        busy = [(o.start, o.end) for event in events if event.busy for o in occurrences_of(event, start, end)]
        return free_slots(busy, wish)

    async def update_event(self, change: UpdateEvent) -> UpdateEventResult:
        """Change the event once; a second attempt returns the same `previous`, not the changed one."""

        async def effect(session: AsyncSession) -> UpdateEventResult:
            before, now = await self._calendar.update(session, change)
            return UpdateEventResult(**now.model_dump(), previous=before)

        return await self.ledger.once(change, UpdateEventResult, effect)

    async def delete_event(self, event: DeleteEvent) -> DeleteEventResult:
        """Delete the event once."""

        async def effect(session: AsyncSession) -> DeleteEventResult:
            gone = await self._calendar.delete(session, event.event_id)
            return DeleteEventResult(event_id=gone.event_id, title=gone.title, previous=as_previous(gone))

        return await self.ledger.once(event, DeleteEventResult, effect)

    async def restore_event(self, wish: RestoreEvent) -> Event:
        """Write the earlier values back once."""

        async def effect(session: AsyncSession) -> Event:
            return await self._calendar.restore(session, wish)

        return await self.ledger.once(wish, Event, effect)

    async def look_up(self, event: EventRef) -> Event:
        """Return the event."""
        return await self._calendar.get(event.event_id)
