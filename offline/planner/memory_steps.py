"""What a person says of themselves, and what is remembered of them.

Read by fixed phrases, before it is guessed what a clause is about: a statement that is none of these is never remembered.
"""

import re
from collections.abc import Callable
from datetime import time

from offline.planner.draft import Draft, reference
from offline.planner.match import Match, Values
from offline.planner.scan import Scan

Build = Callable[[Match, Draft], None]
HOME, HOURS = "home_place", "working_hours"
_TIME = r"\d{1,2}(?::\d\d)?\s*(?:am|pm|a\.m\.|p\.m\.)?"
_SPAN = rf"(?:from\s+)?(?P<text>{_TIME}\s*(?:to|until|till|-|–)\s*{_TIME})"
_ASIDE = r"(?:(?:please\s+)?(?:remember|note|keep in mind)(?:\s+that|\s*:)?\s+)?"
_REMEMBERED: tuple[tuple[str, str], ...] = (
    (
        HOME,
        rf"{_ASIDE}(?:i\s+live\s+in|i'm\s+based\s+in|i\s+am\s+based\s+in|my\s+home(?:\s+place)?\s+is(?:\s+in)?)\s+(?P<text>[^,;:?\d]+)",
    ),
    (HOURS, rf"{_ASIDE}(?:i\s+work|my\s+working\s+hours\s+are|my\s+work(?:ing)?\s+day\s+is)\s+{_SPAN}"),
    ("alias", rf"{_ASIDE}(?P<text>(?:by|with)\s+.+?\s+i\s+mean\s+.+)"),
    ("preference", rf"{_ASIDE}(?P<text>i\s+(?:always\s+)?prefer\s+.+)"),
    (
        "fact",
        r"(?:please\s+)?(?:(?:remember|keep in mind)(?:\s+that\s+|\s*:\s*)(?P<text>.+)|note\s+that\s+(?P<mine>(?:i|my)\s.+))",
    ),
)
_SAID = [(kind, re.compile(pattern, re.IGNORECASE)) for kind, pattern in _REMEMBERED]
_LIST = re.compile(
    r"(?:what|show me what|tell me what)\s+(?:do\s+)?you\s+(?:know|remember|have remembered)(?:\s+(?:about|of)\s+me)?"
    r"|(?:show|list)\s+(?:my\s+memory|what\s+is\s+remembered|everything\s+you\s+(?:know|remember)(?:\s+about\s+me)?)",
    re.IGNORECASE,
)
_SEARCH = re.compile(r"do\s+you\s+(?:remember|know)\s+(?P<text>my\s+.+)", re.IGNORECASE)
_FORGET_ALL = re.compile(
    r"forget\s+(?:everything|all)(?:\s+(?:that\s+)?you\s+(?:know|remember)(?:\s+(?:about|of)\s+me)?|\s+about\s+me)",
    re.IGNORECASE,
)
_FORGET_KIND = {
    HOME: re.compile(r"forget\s+(?:where\s+i\s+live|my\s+home(?:\s+place)?)", re.IGNORECASE),
    HOURS: re.compile(r"forget\s+(?:when\s+i\s+work|my\s+working\s+hours)", re.IGNORECASE),
}
_FORGET = re.compile(r"forget\s+(?:that\s+(?P<text>.+)|(?P<thing>my\s+.+))", re.IGNORECASE)
_CLOCK = re.compile(r"(\d{1,2})(?::(\d\d))?\s*(am|pm|a\.m\.|p\.m\.)?", re.IGNORECASE)


def read(scan: Scan, start: int, end: int) -> tuple[Build, Values] | None:
    """What a clause says about memory, or None."""
    text = scan.typed(start, end).strip().rstrip(".!?").rstrip()
    for kind, pattern in _SAID:
        if found := pattern.fullmatch(text):
            return _remember, [("kind", kind), ("text", _told(found))]
    if _LIST.fullmatch(text):
        return _list, []
    if found := _SEARCH.fullmatch(text):
        return _search, [("text", found["text"])]
    if _FORGET_ALL.fullmatch(text):
        return _forget_all, []
    for kind, pattern in _FORGET_KIND.items():
        if pattern.fullmatch(text):
            return _forget_all, [("kind", kind)]
    if found := _FORGET.fullmatch(text):
        return _forget, [("text", found["text"] or found["thing"])]
    return None


def _told(found: re.Match[str]) -> str:
    groups = found.groupdict()
    return str(groups["text"] or groups["mine"]).strip()


def _remember(match: Match, draft: Draft) -> None:
    args = {"text": match.get("text", str), "kind": match.get("kind", str)}
    draft.add("memory.remember", args, "you want it remembered")


def _list(match: Match, draft: Draft) -> None:
    del match
    draft.add("memory.list", {}, "what is remembered")


def _search(match: Match, draft: Draft) -> None:
    draft.add("memory.search", {"query": match.get("text", str)}, "whether it is remembered")


def _forget(match: Match, draft: Draft) -> None:
    draft.require("memory.forget")
    found = draft.add("memory.search", {"query": match.get("text", str)}, "which of them is meant")
    draft.add("memory.forget", {"fact_id": reference(found, "/match/fact_id")}, "you want it forgotten")


def _forget_all(match: Match, draft: Draft) -> None:
    kind = match.get("kind", str)
    draft.add("memory.forget_all", {"kind": kind} if kind else {}, "you want it forgotten")


def working_hours(text: str) -> tuple[time, time] | None:
    """The hours of a day in words such as `9 to 5`, or None where they are not clear."""
    clocks = [_clock(*found) for found in _CLOCK.findall(text)]
    if len(clocks) != 2 or None in clocks:
        return None
    first, last = clocks
    assert first is not None
    assert last is not None
    if last <= first and last.hour < 12 and not re.search(r"am|a\.m\.", text.rpartition(" ")[2], re.IGNORECASE):
        last = last.replace(hour=last.hour + 12)
    return (first, last) if first < last else None


def _clock(hour: str, minute: str, half: str) -> time | None:
    value = int(hour)
    if half:
        if not 1 <= value <= 12:
            return None
        value = value % 12 + (12 if half.casefold().startswith("p") else 0)
    return time(value, int(minute or 0)) if value < 24 and int(minute or 0) < 60 else None
