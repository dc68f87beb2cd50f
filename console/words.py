"""Words and times as people read them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from urllib.parse import unquote
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

STATUS: Mapping[str, str] = {
    "planning": "Planning",
    "running": "Working",
    "awaiting_approval": "Needs your decision",
    "awaiting_input": "Has a question",
    "awaiting_worker": "Waiting for a worker",
    "completed": "Done",
    "failed": "Failed",
    "cancelled": "Cancelled",
}
"""An assistant's status in words."""
OUTCOME: Mapping[str, str] = {"answered": "Answered", "nothing_changed": "Nothing changed"}
"""The same of a completed assistant that did less than what is called done."""
STEP: Mapping[str, str] = {
    "pending": "not started",
    "awaiting_approval": "needs a decision",
    "awaiting_worker": "waits for a worker",
    "running": "running",
    "completed": "done",
    "failed": "failed",
    "skipped": "skipped",
    "rejected": "rejected",
    "cancelled": "cancelled",
    "unknown": "unclear whether it happened",
    "undone": "undone",
}
"""A step's status in words."""
MARK: Mapping[str, str] = {
    "pending": "○",
    "awaiting_approval": "?",
    "awaiting_worker": "…",
    "running": "▶",
    "completed": "✓",
    "failed": "✕",
    "skipped": "–",
    "rejected": "✕",
    "cancelled": "■",
    "unknown": "!",
    "undone": "↶",
}
"""The same as one sign, which never stands without the words."""
DECISION: Mapping[str, str] = {
    "pending": "pending",
    "approved": "approved",
    "rejected": "rejected",
    "cancelled": "no longer needed",
    "expired": "expired",
}
"""An approval's status in words."""
BUTTONS: Mapping[str, tuple[str, str, str]] = {
    "action": ("Approve", "Reject", "Edit"),
    "plan": ("Run this plan", "Do not run it", "Change the plan"),
    "budget": ("Raise the limit", "Cancel", "Other amounts"),
    "repeat": ("Do it again", "Do not repeat", ""),
}
"""What yes, no and something else are called, by the kind of a decision."""
AT_EXPIRY: Mapping[str, str] = {
    "deny": "it is not done",
    "allow": "it is done",
    "wait": "it stays pending",
}
OFTEN: Mapping[str, str] = {
    "*": "Every day",
    "1-5": "Monday to Friday",
    **{str(n): f"Every {day}" for n, day in enumerate(("Monday", "Tuesday", "Wednesday", "Thursday", "Friday"), 1)},
    "6": "Every Saturday",
    "0": "Every Sunday",
    "month": "On the first of each month",
    "cron": "At other times (cron)",
}
"""How often something runs, as the weekday of a cron expression; or the first of the month, or an expression."""
_MINUTE, _HOUR, _DAY = 60, 3600, 86_400


def chat_status(status: str, *, turn_is_over: bool, outcome: str | None = None) -> str:
    """An assistant's status; a chat that has answered waits for nothing but the next message.

    Args:
        status: As the API says it.
        turn_is_over: It is such a chat.
        outcome: What a completed one did.
    """
    return "Answered" if turn_is_over else OUTCOME.get(outcome or "", STATUS.get(status, status.replace("_", " ")))


def zone(name: str | None) -> ZoneInfo:
    """The zone of that name, as a cookie holds it; UTC where there is none such."""
    try:
        return ZoneInfo(unquote(name or "UTC"))
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return ZoneInfo("UTC")


def moment(at: datetime, where: ZoneInfo, *, now: datetime) -> str:
    """A time on the person's clock, as short as it can be: `14:05`, `Tue 14:05`, `3 Dec 14:05`, `3 Dec 2027 14:05`."""
    local, today = at.astimezone(where), now.astimezone(where)
    clock = f"{local:%H:%M}"
    if local.date() == today.date():
        return clock
    if abs(local.date() - today.date()) < timedelta(days=6):
        return f"{local:%a} {clock}"
    year = "" if local.year == today.year else f" {local.year}"
    return f"{local.day} {local:%b}{year} {clock}"


def cron(often: str, at: str, *, other: str) -> str:
    """The cron expression for one of `OFTEN` at a time of day such as `07:30`; `other` where that is not enough."""
    hour, _, minute = at.partition(":")
    if often == "cron" or often not in OFTEN or not (hour.isdecimal() and minute.isdecimal()):
        return other
    day, weekday = ("1", "*") if often == "month" else ("*", often)
    return f"{int(minute)} {int(hour)} {day} * {weekday}"


def when_runs(expression: str) -> str:
    """A cron expression as such a choice, or as it stands where it is none."""
    parts = expression.split()
    if len(parts) == 5 and parts[0].isdecimal() and parts[1].isdecimal() and parts[3] == "*":
        often = "month" if parts[2] == "1" and parts[4] == "*" else parts[4] if parts[2] == "*" else ""
        if often in OFTEN:
            return f"{OFTEN[often]} at {int(parts[1]):02}:{int(parts[0]):02}"
    return expression


def took(started: datetime | None, finished: datetime | None) -> str:
    """How long something took: `0.4 s`, `12 s`, `3 min 5 s`; empty where it has not ended."""
    if started is None or finished is None:
        return ""
    return lasting((finished - started).total_seconds())


def lasting(seconds: float) -> str:
    """A length of time."""
    if seconds < 10:
        return f"{max(0.0, seconds):.1f} s"
    if seconds < _MINUTE:
        return f"{seconds:.0f} s"
    for unit, smaller, name, rest_name in (
        (_DAY, _HOUR, "d", "h"),
        (_HOUR, _MINUTE, "h", "min"),
        (_MINUTE, 1, "min", "s"),
    ):
        if seconds >= unit:
            whole, rest = divmod(int(seconds), unit)
            return f"{whole} {name} {rest // smaller} {rest_name}" if rest // smaller else f"{whole} {name}"
    return ""


def left(until: datetime, *, now: datetime | None = None) -> str:
    """How much time is left: `expires in 5 min`, or `expired`."""
    seconds = (until - (now or datetime.now(UTC))).total_seconds()
    return f"expires in {lasting(seconds)}" if seconds > 0 else "expired"


def amount(number: float) -> str:
    """A number with thin spaces between thousands."""
    text = f"{number:,.4f}".rstrip("0").rstrip(".") if isinstance(number, float) and number % 1 else f"{int(number):,}"
    return text.replace(",", "\u202f")
