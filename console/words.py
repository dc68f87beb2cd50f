"""Words and times for people. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from urllib.parse import unquote
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from retinue.client.models import Trigger

STATUS: Mapping[str, str] = {
    "planning": "Planning",
    "running": "Working",
    "awaiting_approval": "Needs your decision",
    "awaiting_input": "Has a question",
    "awaiting_worker": "Waiting for a worker",
    "awaiting_account": "Needs an account connected again",
    "completed": "Done",
    "failed": "Failed",
    "cancelled": "Cancelled",
}
"""An assistant's status in words."""
OUTCOME: Mapping[str, str] = {"answered": "Answered", "nothing_changed": "Nothing changed"}
"""The status of a completed assistant without effects."""
STEP: Mapping[str, str] = {
    "pending": "not started",
    "awaiting_approval": "needs a decision",
    "awaiting_worker": "waits for a worker",
    "awaiting_account": "waits for its account",
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
FACT_KIND: Mapping[str, str] = {
    "home_place": "home place",
    "working_hours": "working hours",
    "alias": "name",
    "preference": "preference",
    "fact": "fact",
}
"""A remembered fact's kind in words."""
ACCOUNT: Mapping[str, str] = {
    "connected": "Connected",
    "disconnected": "Must be connected again",
    "unreadable": "Its key is missing",
}
"""An account's state in words."""
ACCOUNT_EVENT: Mapping[str, str] = {
    "connected": "connected an account",
    "connected_again": "connected an account again",
    "changed": "changed an account",
    "revoked": "removed an account",
    "disconnected": "an account was refused by its provider",
    "denied": "was refused",
    "rules_changed": "changed what is allowed",
}
"""What happened to an account, in words."""
SERVER: Mapping[str, tuple[str, str]] = {
    "caldav": ("Calendar server", "https://cloud.example.com/remote.php/dav"),
    "carddav": ("Address book server", "https://cloud.example.com/remote.php/dav"),
    "imap": ("Server for reading (IMAP)", "imaps://imap.example.com:993"),
    "smtp": ("Server for sending (SMTP)", "smtps://smtp.example.com:465"),
}
"""The servers of an account by protocol: label and example."""
ROLES = ("owner", "approver", "operator", "auditor")
MARK: Mapping[str, str] = {
    "pending": "○",
    "awaiting_approval": "?",
    "awaiting_worker": "…",
    "awaiting_account": "?",
    "running": "▶",
    "completed": "✓",
    "failed": "✕",
    "skipped": "–",
    "rejected": "✕",
    "cancelled": "■",
    "unknown": "!",
    "undone": "↶",
}
"""A step's status as one sign, always shown with the words."""
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
"""Labels of the buttons approve, reject and edit, by the kind of approval."""
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
"""Choices of a schedule: the weekday of a cron expression, the first of the month, or any expression."""
EVENTS = {"mail": "A mail arrives", "calendar": "An event is added or changed"}
"""What starts a trigger."""
_MINUTE, _HOUR, _DAY = 60, 3600, 86_400


def chat_status(status: str, *, turn_is_over: bool, outcome: str | None = None) -> str:
    """Return an assistant's status in words.

    Args:
        status: The API's status.
        turn_is_over: Whether it is a chat that waits for the next message.
        outcome: The outcome of a completed assistant.
    """
    return "Answered" if turn_is_over else OUTCOME.get(outcome or "", STATUS.get(status, status.replace("_", " ")))


def zone(name: str | None) -> ZoneInfo:
    """Return the time zone in a cookie; UTC if it is unknown."""
    try:
        return ZoneInfo(unquote(name or "UTC"))
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return ZoneInfo("UTC")


def moment(at: datetime, where: ZoneInfo, *, now: datetime) -> str:
    """Return a time in the person's time zone, as short as possible: `14:05`, `Tue 14:05`, `3 Dec 14:05`, `3 Dec 2027 14:05`."""
    local, today = at.astimezone(where), now.astimezone(where)
    clock = f"{local:%H:%M}"
    if local.date() == today.date():
        return clock
    if abs(local.date() - today.date()) < timedelta(days=6):
        return f"{local:%a} {clock}"
    year = "" if local.year == today.year else f" {local.year}"
    return f"{local.day} {local:%b}{year} {clock}"


def cron(often: str, at: str, *, other: str) -> str:
    """Return the cron expression for a choice of `OFTEN` at a time such as `07:30`; otherwise `other`."""
    hour, _, minute = at.partition(":")
    if often == "cron" or often not in OFTEN or not (hour.isdecimal() and minute.isdecimal()):
        return other
    day, weekday = ("1", "*") if often == "month" else ("*", often)
    return f"{int(minute)} {int(hour)} {day} * {weekday}"


def when_runs(expression: str) -> str:
    """Return a cron expression in words, or unchanged if no choice fits."""
    parts = expression.split()
    if len(parts) == 5 and parts[0].isdecimal() and parts[1].isdecimal() and parts[3] == "*":
        often = "month" if parts[2] == "1" and parts[4] == "*" else parts[4] if parts[2] == "*" else ""
        if often in OFTEN:
            return f"{OFTEN[often]} at {int(parts[1]):02}:{int(parts[0]):02}"
    return expression


def trigger_when(trigger: Trigger) -> str:
    """Return in words what starts a trigger's assistants."""
    wanted = trigger.conditions
    parts = [EVENTS.get(trigger.event, trigger.event)]
    parts += [f"from {' or '.join(wanted.senders)}"] if wanted.senders else []
    parts += [f"from your contact {wanted.contact}"] if wanted.contact else []
    parts += [f"with {' and '.join(wanted.words)} in it"] if wanted.words else []
    return " ".join(parts)


def took(started: datetime | None, finished: datetime | None) -> str:
    """Return a duration: `0.4 s`, `12 s`, `3 min 5 s`; empty if it has not ended."""
    if started is None or finished is None:
        return ""
    return lasting((finished - started).total_seconds())


def lasting(seconds: float) -> str:
    """Return a duration in words."""
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
    """Return the remaining time: `expires in 5 min`, or `expired`."""
    seconds = (until - (now or datetime.now(UTC))).total_seconds()
    return f"expires in {lasting(seconds)}" if seconds > 0 else "expired"


def amount(number: float) -> str:
    """Return a number with thin spaces between thousands."""
    text = f"{number:,.4f}".rstrip("0").rstrip(".") if isinstance(number, float) and number % 1 else f"{int(number):,}"
    return text.replace(",", "\u202f")
