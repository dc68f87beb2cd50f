"""A Google Calendar on this machine that speaks as Google's public reference of the Calendar API v3 says.

emulate has no events by their ids, no ETags, no recurrence and no private properties. This one has: ids that clients choose,
`If-Match`, patches that merge, series with changed and cancelled dates, deleted events that stay as `cancelled`, and sync
tokens. One person, one calendar, in memory.
"""

from __future__ import annotations

import copy
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any
from urllib.parse import unquote
from zoneinfo import ZoneInfo

import icalendar
import recurring_ical_events  # type: ignore[import-untyped]  # it brings no types

from tests.accounts.google_server import Json, Refused, json_server

ME = "ana@example.com"
_BASE = "/calendar/v3/calendars/primary/events"


@dataclass
class GoogleCalendar:
    """The events, and what was asked."""

    zone: str = "Europe/Berlin"
    events: dict[str, Json] = field(default_factory=dict)
    notified: list[str] = field(default_factory=list)
    """Changes that Google would have told attendees of."""
    tokens: set[str] = field(default_factory=lambda: {"token-1"})
    url: str = ""
    changes: int = 0
    lock: threading.RLock = field(default_factory=threading.RLock)

    def put(self, event_id: str, /, **fields: Any) -> Json:
        """Enter an event as another app does."""
        made = {
            "iCalUID": f"{event_id}@google.com",
            "status": "confirmed",
            "creator": {"email": ME, "self": True},
            "organizer": {"email": ME, "self": True},
            "sequence": 0,
            **fields,
            "id": event_id,
        }
        return self._keep(made)

    def shown(self) -> list[Json]:
        """The events and series that are there."""
        return [
            each for each in self.events.values() if each["status"] != "cancelled" and "originalStartTime" not in each
        ]

    def _keep(self, event: Json) -> Json:
        with self.lock:
            self.changes += 1
            event["etag"] = f'"{self.changes}"'
            event["updated"] = f"2026-12-01T00:00:00.{self.changes % 1000:03}Z"
            event["changed"] = self.changes
            event.setdefault("kind", "calendar#event")
            self.events[event["id"]] = event
        return event

    def answer(self, method: str, path: str, query: dict[str, str], body: Json, match: str) -> Json:
        """What Google says."""
        rest = [unquote(each) for each in path.removeprefix(_BASE).split("/") if each]
        if not path.startswith(_BASE):
            raise Refused(404, "notFound")
        if not rest:
            return self._insert(body, query) if method == "POST" else self._list(query)
        if rest[1:] == ["instances"]:
            return self._instances(rest[0], query)
        found = self._found(rest[0])
        if method == "GET":
            return found
        if match and match != found["etag"]:
            raise Refused(412, "conditionNotMet")
        if query.get("sendUpdates") != "none":
            self.notified.append(rest[0])
        if method == "DELETE":
            if found["status"] == "cancelled":
                raise Refused(410, "deleted")
            for each in [found, *self._exceptions(found["id"])]:
                self._keep({**each, "status": "cancelled"})
            return {}
        assert method == "PATCH", method
        return self._patch(found, body)

    def _insert(self, body: Json, query: dict[str, str]) -> Json:
        event_id = body.get("id", f"made{self.changes}")
        if not re.fullmatch("[a-v0-9]{5,1024}", event_id):
            raise Refused(400, "invalid")
        if event_id in self.events:
            raise Refused(409, "duplicate")
        if query.get("sendUpdates") != "none":
            self.notified.append(event_id)
        self._check(body)
        return self.put(event_id, **{name: value for name, value in body.items() if name != "id"})

    def _patch(self, found: Json, body: Json) -> Json:
        merged = _merged(found, body)
        if any(merged.get(name) != found.get(name) for name in ("start", "end", "recurrence")):
            merged["sequence"] = found.get("sequence", 0) + 1
        self._check(merged)
        return self._keep(merged)

    def _check(self, event: Json) -> None:
        for name in ("start", "end"):
            time = event.get(name, {})
            if ("date" in time) == ("dateTime" in time):
                raise Refused(400, "required")
            if "timeZone" in time and time["timeZone"] not in _zones():
                raise Refused(400, "invalid")
            if event.get("recurrence") and "dateTime" in time and "timeZone" not in time:
                raise Refused(400, "required")
        private = event.get("extendedProperties", {}).get("private", {})
        if any(len(name) > 44 or len(value) > 1024 for name, value in private.items()):
            raise Refused(400, "invalid")

    def _found(self, event_id: str) -> Json:
        if event_id in self.events:
            return copy.deepcopy(self.events[event_id])
        series, _, _at = event_id.rpartition("_")
        if series in self.events:
            for each in self._unfolded(self.events[series], None):
                if each["id"] == event_id:
                    return each
        raise Refused(404, "notFound")

    def _exceptions(self, series: str) -> list[Json]:
        return [each for each in self.events.values() if each.get("recurringEventId") == series]

    def _instances(self, event_id: str, query: dict[str, str]) -> Json:
        series = self._found(event_id)
        found = list(self._unfolded(series, None))
        if wanted := query.get("originalStart"):
            found = [each for each in found if _same_start(each["originalStartTime"], wanted)]
        return {"items": found}

    def _list(self, query: dict[str, str]) -> Json:
        if "syncToken" in query and query["syncToken"] not in self.tokens:
            raise Refused(410, "fullSyncRequired")
        since = int(query["syncToken"].split("-")[1]) if "syncToken" in query else 0
        low = _moment({"dateTime": query["timeMin"]}) if "timeMin" in query else None
        high = _moment({"dateTime": query["timeMax"]}) if "timeMax" in query else None
        found: list[Json] = []
        for each in [copy.deepcopy(event) for event in self.events.values()]:
            if query.get("singleEvents") == "true" and each.get("recurrence"):
                found += self._unfolded(each, (low, high)) if each["status"] != "cancelled" else []
            elif query.get("singleEvents") != "true" or "recurringEventId" not in each:
                found.append(each)
        deleted = query.get("showDeleted") == "true" or "syncToken" in query
        found = [
            each for each in found if (deleted or each["status"] != "cancelled") and each.get("changed", 0) > since
        ]
        if "iCalUID" in query:
            found = [each for each in found if each.get("iCalUID") == query["iCalUID"]]
        if "privateExtendedProperty" in query:
            name, _, value = query["privateExtendedProperty"].partition("=")
            found = [each for each in found if each.get("extendedProperties", {}).get("private", {}).get(name) == value]
        found = [each for each in found if self._within(each, low, high)]
        first, size = int(query.get("pageToken", 0)), int(query.get("maxResults", 250))
        answer: Json = {"kind": "calendar#events", "timeZone": self.zone, "items": found[first : first + size]}
        if first + size < len(found):
            return {**answer, "nextPageToken": str(first + size)}
        self.tokens.add(f"token-{self.changes}")
        return {**answer, "nextSyncToken": f"token-{self.changes}"}

    def _within(self, event: Json, low: datetime | None, high: datetime | None) -> bool:
        if event.get("recurrence") or "start" not in event:
            return True
        start, end = self._moment(event["start"]), self._moment(event["end"])
        return (low is None or end > low) and (high is None or start < high)

    def _moment(self, time: Json) -> datetime:
        return _moment(time, ZoneInfo(self.zone))

    def _unfolded(self, series: Json, window: tuple[datetime | None, datetime | None] | None) -> Iterator[Json]:
        """The dates of a series: those by its rule, each as its exception says."""
        exceptions = {each["id"]: each for each in self._exceptions(series["id"])}
        low, high = window or (None, None)
        start, end = self._moment(series["start"]), self._moment(series["end"])
        first = min((low or start), start) if low is None else low - (end - start)
        last = high or max(start, first) + timedelta(days=3 * 366)
        for at in _dates(series, first - timedelta(days=40), last + timedelta(days=40), ZoneInfo(self.zone)):
            name = f"{series['id']}_{at:%Y%m%d}" if not isinstance(at, datetime) else ""
            name = name or f"{series['id']}_{at.astimezone(UTC):%Y%m%dT%H%M%SZ}"
            if name in exceptions:
                found = copy.deepcopy(exceptions[name])
                if found["status"] == "cancelled" and window is not None:
                    continue
                yield found
                continue
            yield {
                **{key: value for key, value in series.items() if key != "recurrence"},
                "id": name,
                "recurringEventId": series["id"],
                "originalStartTime": _like(series["start"], at),
                "start": _like(series["start"], at),
                "end": _like(series["end"], at + (_value(series["end"]) - _value(series["start"]))),
            }


def _dates(series: Json, low: datetime, high: datetime, zone: ZoneInfo) -> Iterator[Any]:
    event = icalendar.Event()
    event.add("UID", "x")
    for name, key in (("DTSTART", "start"), ("DTEND", "end")):
        event.add(name, _value(series[key]))
    calendar = icalendar.Calendar()
    calendar.add_component(event)
    content = calendar.to_ical().decode().replace("END:VEVENT", "\r\n".join([*series["recurrence"], "END:VEVENT"]))
    del zone
    for each in recurring_ical_events.of(icalendar.Calendar.from_ical(content)).between(low, high):
        yield each["DTSTART"].dt


def _value(time: Json) -> Any:
    if "date" in time:
        return date.fromisoformat(time["date"])
    return datetime.fromisoformat(time["dateTime"]).astimezone(ZoneInfo(time.get("timeZone", "UTC")))


def _like(time: Json, at: Any) -> Json:
    if "date" in time:
        return {"date": at.isoformat()}
    return {"dateTime": at.isoformat(), "timeZone": time["timeZone"]}


def _moment(time: Json, zone: ZoneInfo | None = None) -> datetime:
    if "date" in time:
        return datetime.fromisoformat(time["date"]).replace(tzinfo=zone or UTC)
    return datetime.fromisoformat(time["dateTime"])


def _same_start(original: Json, wanted: str) -> bool:
    if "date" in original:
        return bool(original["date"] == wanted)
    return "T" in wanted and datetime.fromisoformat(original["dateTime"]) == datetime.fromisoformat(wanted)


def _merged(before: Json, change: Json) -> Json:
    after = copy.deepcopy(before)
    for name, value in change.items():
        if value is None:
            after.pop(name, None)
        elif isinstance(value, dict):
            after[name] = _merged(after.get(name, {}), value)
        else:
            after[name] = value
    return after


def _zones() -> set[str]:
    from zoneinfo import available_timezones

    return available_timezones()


@contextmanager
def google_calendar() -> Iterator[GoogleCalendar]:
    """Open such a calendar on a free port; its token is `token`."""
    calendar = GoogleCalendar()
    with json_server(calendar.answer) as calendar.url:
        yield calendar
