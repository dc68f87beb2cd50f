"""A calendar as Graph keeps it: it works out series by patterns, on its own, and refuses what Graph refuses."""

from __future__ import annotations

import calendar
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

from icalendar.timezone.windows_to_olson import WINDOWS_TO_OLSON

from tests.activities.graph_account import Answer, Asked, Graph, GraphError, Json

_WEEK = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_INDEX = {"first": 0, "second": 1, "third": 2, "fourth": 3, "last": -1}
_NEEDED = {
    "daily": {"interval"},
    "weekly": {"interval", "daysOfWeek", "firstDayOfWeek"},
    "absoluteMonthly": {"interval", "dayOfMonth"},
    "relativeMonthly": {"interval", "daysOfWeek", "index"},
    "absoluteYearly": {"interval", "dayOfMonth", "month"},
    "relativeYearly": {"interval", "daysOfWeek", "month", "index"},
}
_ENDS = {"noEnd": set[str](), "endDate": {"endDate"}, "numbered": {"numberOfOccurrences"}}
_WRITTEN = {
    "subject", "body", "location", "showAs", "isAllDay", "start", "end", "recurrence", "transactionId", "attendees",
    "singleValueExtendedProperties",
}  # fmt: skip


@dataclass
class MicrosoftCalendar(Graph):
    """The default calendar of one person. `things` are its events, as they were written."""

    left_out: dict[str, list[str]] = field(default_factory=dict)
    """Dates of a series that were cancelled."""
    changed: dict[str, dict[str, Json]] = field(default_factory=dict)
    """Dates of a series that were changed, with what was."""
    transactions: dict[str, tuple[Json, str]] = field(default_factory=dict)

    def add(self, **fields: Any) -> str:
        """Put an event there as somebody else does; returns its id."""
        base = {"subject": "Stand-up", "start": at("2026-11-27T10:00:00"), "end": at("2026-11-27T10:30:00")}
        return self._create(base | fields)

    def answer(self, asked: Asked) -> Answer:
        if 'IdType="ImmutableId"' not in asked.prefers:
            raise GraphError(400, "ErrorIdsOfOtherKinds")  # ids of both kinds would be mixed up
        match asked.method, asked.path.split("/"):
            case "POST", ["me", "events"]:
                return 201, self._shown(self.things[self._posted(asked.body)], asked)
            case "GET", ["me", "events"]:
                found = self.filtered(iter(self.things.values()), asked.query.get("$filter", ""))
                return self.paged(asked, list(found))
            case "GET", ["me", "calendarView"]:
                return self.paged(asked, list(self._view(asked)))
            case "GET", ["me", "events", id_, "instances"]:
                times = self._times(self.thing(asked, id_), date(2030, 1, 1))
                return self.paged(asked, [{**each, **_in_utc(each)} for each in times if _within(each, asked)])
            case method, ["me", "events", id_]:
                return self._one(method, id_, asked)
        raise GraphError(400, "BadRequest")

    def _one(self, method: str, id_: str, asked: Asked) -> Answer:
        if "==." in id_ and method != "GET":
            series, _, day = id_.rpartition(".")
            return self._single(method, series, day, asked.body)
        thing = self.thing(asked, id_)
        if method == "DELETE":
            del self.things[id_]
            return 204, None
        if method == "PATCH":
            _check({**thing, "recurrence": None, **asked.body}, asked.body)
            if thing["recurrence"] and "start" in asked.body and "recurrence" not in asked.body:
                raise GraphError(400, "ErrorInvalidRecurrence")
            thing = self._settled(self.patch(thing, asked.body))
        return 200, self._shown(thing, asked)

    def _single(self, method: str, id_: str, day: str, body: Json) -> Answer:
        """Change one date of a series; the series has a new version then."""
        self.stamp(self.things[id_])
        if method == "DELETE":
            self.left_out.setdefault(id_, []).append(day)
            self.changed.get(id_, {}).pop(day, None)
            return 204, None
        if "recurrence" in body:
            raise GraphError(400, "ErrorInvalidRecurrence")
        self.changed.setdefault(id_, {}).setdefault(day, {}).update(body)
        return 200, {}

    def _posted(self, body: Json) -> str:
        transaction = body.get("transactionId", "")
        known, id_ = self.transactions.get(transaction, ({}, ""))
        if id_ and known == body and id_ in self.things:
            return id_
        if id_:
            raise GraphError(409, "ErrorDuplicateTransactionId")
        id_ = self._create(body)
        if transaction:
            self.transactions[transaction] = (body, id_)
        return id_

    def _create(self, body: Json) -> str:
        _check(body, body)
        id_ = f"AAkALgAAAA_{uuid4().hex}=="
        event = {
            "id": id_,
            "iCalUId": f"0400{uuid4().hex}",
            "showAs": "busy",
            "isAllDay": False,
            "recurrence": None,
            **body,
        }
        event.setdefault("attendees", [])
        event["isCancelled"] = False
        self.things[id_] = self._settled(self.stamp(event))
        return id_

    def _settled(self, event: Json) -> Json:
        event["originalStartTimeZone"] = event["start"]["timeZone"]
        event["type"] = "seriesMaster" if event["recurrence"] else "singleInstance"
        if event["recurrence"]:  # told with all fields, whether the pattern needs them or not
            pattern = {"month": 0, "dayOfMonth": 0, "firstDayOfWeek": "sunday", "index": "first"}
            ends = {"endDate": "0001-01-01", "numberOfOccurrences": 0}
            said = event["recurrence"]
            event["recurrence"] = {"pattern": {**pattern, **said["pattern"]}, "range": {**ends, **said["range"]}}
        event["bodyPreview"] = event.get("body", {}).get("content", "")[:255]
        return event

    def _shown(self, event: Json, asked: Asked) -> Json:
        found = self.shown({**event, **_in_utc(event)}, asked.query)
        if asked.query.get("$expand") == "exceptionOccurrences":
            left_out = self.left_out.get(event["id"], [])
            found["cancelledOccurrences"] = [f"OID.{event['id']}.{day}" for day in left_out]
            found["exceptionOccurrences"] = [
                {**event, **_in_utc(self._at(event, date.fromisoformat(day))), **change, "type": "exception"}
                for day, change in self.changed.get(event["id"], {}).items()
            ]
            for day, each in zip(self.changed.get(event["id"], {}), found["exceptionOccurrences"], strict=True):
                each["originalStart"] = _in_utc(self._at(event, date.fromisoformat(day)))["start"]["dateTime"] + "Z"
        return found

    def _view(self, asked: Asked) -> Iterator[Json]:
        end = datetime.fromisoformat(asked.query["endDateTime"])
        found = [each for event in self.things.values() for each in self._times(event, end.date())]
        for each in sorted(found, key=lambda event: _moment(event["start"])):
            if _within(each, asked):
                yield {**each, **_in_utc(each)}

    def _times(self, event: Json, until: date) -> Iterator[Json]:
        if not event["recurrence"]:
            yield event
            return
        shared = {name: value for name, value in event.items() if name != "singleValueExtendedProperties"}
        for day in days_of(event["recurrence"], until + timedelta(days=1)):
            if day.isoformat() in self.left_out.get(event["id"], []):
                continue
            change = self.changed.get(event["id"], {}).get(day.isoformat())
            own = {"id": f"{event['id']}.{day}", "seriesMasterId": event["id"], "recurrence": None}
            kind = "occurrence" if change is None else "exception"
            original = _in_utc({**event, **self._at(event, day)})["start"]["dateTime"] + "Z"
            times = self._at(event, day)
            yield {**shared, **times, **own, "type": kind, "originalStart": original, **(change or {})}

    def _at(self, event: Json, day: date) -> Json:
        first = datetime.fromisoformat(event["start"]["dateTime"])
        moved = day - first.date()
        return {
            name: {**event[name], "dateTime": (datetime.fromisoformat(event[name]["dateTime"]) + moved).isoformat()}
            for name in ("start", "end")
        }


def at(wall: str, zone: str = "W. Europe Standard Time") -> Json:
    return {"dateTime": wall, "timeZone": zone}


def days_of(recurrence: Json, until: date) -> Iterator[date]:
    """The dates of a series, as the reference describes its patterns."""
    pattern, range_ = recurrence["pattern"], recurrence["range"]
    first = date.fromisoformat(range_["startDate"])
    last = date.fromisoformat(range_["endDate"]) if range_["type"] == "endDate" else until
    most = range_.get("numberOfOccurrences") or 10**6
    day, count = first, 0
    while day <= min(last, until) and count < most:
        if _holds(pattern, first, day):
            yield day
            count += 1
        day += timedelta(days=1)


def _holds(pattern: Json, first: date, day: date) -> bool:
    kind, interval = str(pattern["type"]), int(pattern["interval"])
    if kind == "daily":
        return (day - first).days % interval == 0
    if kind == "weekly":
        begin = _WEEK.index(pattern["firstDayOfWeek"])
        weeks = (_week(day, begin) - _week(first, begin)).days // 7
        return _WEEK[day.weekday()] in pattern["daysOfWeek"] and weeks % interval == 0
    months = (day.year - first.year) * 12 + day.month - first.month
    if "Yearly" in kind and (day.month != pattern["month"] or (day.year - first.year) % interval):
        return False
    if "Monthly" in kind and months % interval:
        return False
    length = calendar.monthrange(day.year, day.month)[1]
    if kind.startswith("absolute"):
        return day.day == min(int(pattern["dayOfMonth"]), length)
    fitting = [n for n in range(1, length + 1) if _WEEK[day.replace(day=n).weekday()] in pattern["daysOfWeek"]]
    return bool(day.day == fitting[_INDEX[pattern["index"]]])


def _week(day: date, begin: int) -> date:
    return day - timedelta(days=(day.weekday() - begin) % 7)


def _zone(name: str) -> ZoneInfo:
    if name not in WINDOWS_TO_OLSON:
        raise GraphError(400, "TimeZoneNotSupportedException")
    return ZoneInfo(WINDOWS_TO_OLSON[name])


def _moment(said: Json) -> datetime:
    return datetime.fromisoformat(said["dateTime"]).replace(tzinfo=_zone(said["timeZone"])).astimezone(UTC)


def _in_utc(event: Json) -> Json:
    """Its times in UTC; of an event on dates, midnight stays midnight."""
    found = {}
    for name in ("start", "end"):
        moment = datetime.fromisoformat(event[name]["dateTime"]) if event.get("isAllDay") else _moment(event[name])
        found[name] = {"dateTime": f"{moment:%Y-%m-%dT%H:%M:%S}.0000000", "timeZone": "UTC"}
    return found


def _within(event: Json, asked: Asked) -> bool:
    start, end = (datetime.fromisoformat(asked.query[name]) for name in ("startDateTime", "endDateTime"))
    return _moment(event["start"]) < end and _moment(event["end"]) > start


def _check(event: Json, body: Json) -> None:
    """Refuse what Graph refuses."""
    if body.keys() - _WRITTEN or len(event["subject"]) > 255:
        raise GraphError(400, "ErrorPropertyValidationFailure")
    start, end = _moment(event["start"]), _moment(event["end"])
    walls = [datetime.fromisoformat(event[name]["dateTime"]) for name in ("start", "end")]
    if end < start or (event.get("isAllDay") and any(wall.time() != time() for wall in walls)):
        raise GraphError(400, "ErrorInvalidRequest")
    if not (recurrence := event.get("recurrence")):
        return
    pattern, range_ = recurrence["pattern"], recurrence["range"]
    _zone(range_["recurrenceTimeZone"])
    if pattern.keys() - {"type"} != _NEEDED[pattern["type"]] or range_["startDate"] != walls[0].date().isoformat():
        raise GraphError(400, "ErrorInvalidRecurrence")
    if range_.keys() - {"type", "startDate", "recurrenceTimeZone"} != _ENDS[range_["type"]]:
        raise GraphError(400, "ErrorInvalidRecurrence")
