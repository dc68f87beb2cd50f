"""Extracts values from a mail: the time of its one meeting, its subject and its sender.

The grammar of requests reads the sentences. A text with two times is ambiguous, so nothing is returned.
"""

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from offline.planner.outcomes import Ask
from offline.planner.scan import Scan
from offline.planner.when import Occasion, occasion, read_when

_SENTENCE = re.compile(r"[^.!?\n]+(?:[.!?](?=\w)[^.!?\n]+)*")
_MAX_SENTENCES = 200
_PREFIXES = re.compile(r"^(?:\s*(?:re|fwd?|aw|invitation|invite)\s*:)+\s*", re.IGNORECASE)
_ENDS = ("end", "ends", "until", "finish")


def extract(task: Mapping[str, Any], zone: ZoneInfo, now: datetime) -> dict[str, Any]:
    """The values of a task's fields, None where the text does not state one clearly."""
    source = _source(task.get("inputs"))
    found = _occasion(source, zone, now) if source else None
    return {str(field.get("name")): _value(field, source or {}, found) for field in task.get("fields") or ()}


def _source(inputs: Any) -> dict[str, Any] | None:
    """The first thing in the inputs that has a text."""
    if isinstance(inputs, str):
        return {"text": inputs}
    items = inputs if isinstance(inputs, list) else list(inputs.values()) if isinstance(inputs, dict) else []
    if isinstance(inputs, dict) and isinstance(inputs.get("text"), str):
        return inputs
    return next((found for item in items if (found := _source(item))), None)


def _value(field: Mapping[str, Any], source: Mapping[str, Any], found: Occasion | None) -> str | None:
    name, kind = str(field.get("name")), field.get("kind")
    if kind in ("moment", "date"):
        moment = None if found is None else found.end if name.startswith(_ENDS) else found.start
        return None if moment is None else (moment.date() if kind == "date" else moment).isoformat()
    if kind == "address":
        return _text(source.get("from"))
    if kind == "text" and name in ("title", "subject", "topic"):
        return _PREFIXES.sub("", _text(source.get("subject")) or "").strip() or None
    return None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _occasion(source: Mapping[str, Any], zone: ZoneInfo, now: datetime) -> Occasion | None:
    """The only time that the text speaks of, counted from the day on which it was written."""
    written = _written(source.get("date")) or now
    found = {(one.start, one.end): one for one in _occasions(str(source["text"]), written, zone)}
    return next(iter(found.values())) if len(found) == 1 else None


def _written(date: Any) -> datetime | None:
    try:
        moment = datetime.fromisoformat(str(date))
    except ValueError:
        return None
    return moment if moment.tzinfo else None


def _occasions(text: str, written: datetime, zone: ZoneInfo) -> Iterator[Occasion]:
    for sentence, _ in zip(_SENTENCE.finditer(text), range(_MAX_SENTENCES), strict=False):
        scan = Scan.of(sentence.group(), written, zone)
        at = 0
        while at < scan.size:
            read = read_when(scan, at)
            at = read[1] if read else at + 1
            if read and (read[0].instant or (read[0].days and read[0].clock)):
                try:
                    yield occasion(read[0], scan.size)
                except Ask:
                    continue
