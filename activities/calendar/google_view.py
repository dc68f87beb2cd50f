"""What takes place in a stretch of time, by Google Calendar, which unfolds its series itself."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from activities.calendar.caldav_view import Look
from activities.calendar.contract import Event
from activities.calendar.google_ical import declined, people_of, time_of
from activities.calendar.google_server import EVENTS, pages
from activities.calendar.ical_entry import Occurrence
from activities.calendar.ical_values import Unreadable, line, text
from activities.calendar.store import ordered
from retinue.accounts.google_api import GoogleApi
from retinue.accounts.rest_api import Json, objects, part, text_of
from retinue.errors import InvalidArguments, NotFound
from retinue.zones import zone_of

_MOST_SERIES = 100
_UNTOLD = "FREQ=YEARLY"
"""Stands for the rule of a series that Google does not show."""


class GoogleView:
    """Looks into a calendar at Google.

    Args:
        api: See `calendar_api`.
        default_zone: IANA zone of events on dates.
    """

    def __init__(self, api: GoogleApi, *, default_zone: str) -> None:
        self._api = api
        self._zone = default_zone

    async def look(self, start: datetime, end: datetime) -> Look:
        """See `View.look`."""
        look = Look(start, end)
        window = [("timeMin", _utc(start)), ("timeMax", _utc(end))]
        found = await pages(self._api, [*window, ("singleEvents", "true"), ("orderBy", "startTime")])
        items = [each for page in found for each in objects(page, "items") if each.get("status") != "cancelled"]
        rules = await self._rules(items)
        by_event: dict[str, list[Occurrence]] = {}
        for each in items:
            event_id = text_of(each, "recurringEventId") or text_of(each, "id")
            try:
                occurrence = self._occurrence(event_id, each, rules.get(event_id))
            except (Unreadable, InvalidArguments) as reason:
                look.skipped[str(reason)] += 1
                look.named.append(f"'{line(text_of(each, 'summary'), 80) or event_id}': {reason}")
                continue
            if occurrence.start < end and occurrence.end > start:
                by_event.setdefault(event_id, []).append(occurrence)
        look.found += [sorted(times, key=lambda each: (each.start, each.end)) for times in by_event.values()]
        return look

    def _occurrence(self, event_id: str, event: Json, rule: str | None) -> Occurrence:
        start, zone = self._time(event, "start")
        end, _ = self._time(event, "end")
        start, end = ordered(start, end)
        busy = event.get("transparency") != "transparent" and not declined(event)
        shown = Event(
            event_id=event_id,
            title=line(text_of(event, "summary"), 300) or "(no title)",
            start=start.astimezone(zone_of(zone)),
            end=end.astimezone(zone_of(zone)),
            timezone=zone,
            location=line(text_of(event, "location"), 500) or None,
            description=text(text_of(event, "description"), 8000) or None,
            attendees=people_of(event),
            recurrence=rule,
        )
        return Occurrence(start, end, busy, shown)

    def _time(self, event: Json, name: str) -> tuple[datetime, str]:
        time = event.get(name)
        found, zone = time_of(time if isinstance(time, dict) else {}, zone_of(self._zone))
        return found, zone or self._zone

    async def _rules(self, items: Sequence[Json]) -> dict[str, str]:
        """Return the rules of the series that take place, by their ids."""
        wanted = list(dict.fromkeys(name for each in items if (name := text_of(each, "recurringEventId"))))
        rules = {}
        for event_id in wanted[:_MOST_SERIES]:
            try:
                series = await self._api.get(f"{EVENTS}/{part(event_id)}")
            except NotFound:
                continue
            rules[event_id] = _rule(series)
        return {event_id: rules.get(event_id, _UNTOLD) for event_id in wanted}


def _rule(series: Json) -> str:
    found = series.get("recurrence")
    lines = [each for each in found if isinstance(each, str)] if isinstance(found, list) else []
    rule = next((each.partition(":")[2] for each in lines if each.upper().startswith("RRULE:")), _UNTOLD)
    return line(rule, 500)


def _utc(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
