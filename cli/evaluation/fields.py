"""Rows of stores by the names that cases use, and which columns these are."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

Stored = Mapping[str, Any]
TIMED = frozenset({"start", "end", "due", "remind_at"})
"""Fields that are times."""
BOOKKEEPING = frozenset(
    {
        *("ledger", "alembic_version", "alembic_version_ledger", "outbox", "relocations", "sources", "kept_resource"),
        *("kept_tasks", "memory_owner", "event_arrival", "arrivals"),
    }
)
"""Tables that record how effects are done, or repeat what another table holds."""


@dataclass(frozen=True)
class Kind:
    """A kind of row.

    Attributes:
        table: As `capability.table`.
        fields: How a field is read from a row, by its name. Other columns follow from these and are not compared.
    """

    table: str
    fields: Mapping[str, Callable[[Stored], Any]]


def _moment(column: str) -> Callable[[Stored], datetime | None]:
    return lambda row: datetime.fromisoformat(row[column]).replace(tzinfo=UTC) if row[column] else None


def _due(row: Stored) -> datetime | date | None:
    return date.fromisoformat(row["due_on"]) if row["due_on"] else _moment("due_at")(row)


def _plain(column: str) -> Callable[[Stored], Any]:
    return lambda row: row[column]


def _list(column: str) -> Callable[[Stored], Any]:
    return lambda row: json.loads(row[column] or "[]")


def _is_set(column: str) -> Callable[[Stored], bool]:
    return lambda row: row[column] is not None


KINDS: Mapping[str, Kind] = {
    "event": Kind(
        "calendar.event",
        {
            "title": _plain("title"),
            "start": _moment("starts_at"),
            "end": _moment("ends_at"),
            "location": _plain("location"),
            "description": _plain("description"),
            "attendees": _list("attendees"),
            "recurrence": _plain("recurrence"),
        },
    ),
    "mail": Kind(
        "email.messages",
        {
            "folder": _plain("folder"),
            "from": _plain("sender"),
            "to": _list("recipients"),
            "cc": _list("cc"),
            "recipients": lambda row: [*json.loads(row["recipients"] or "[]"), *json.loads(row["cc"] or "[]")],
            "subject": _plain("subject"),
            "text": _plain("text"),
            "attachments": lambda row: [one["name"] for one in json.loads(row["attachments"] or "[]")],
        },
    ),
    "file": Kind("email.files", {"name": _plain("name"), "size": _plain("size")}),
    "contact": Kind("contacts.contact", {"name": _plain("name"), "email": _plain("email"), "phone": _plain("phone")}),
    "fact": Kind("memory.fact", {"kind": _plain("kind"), "text": _plain("text")}),
    "task": Kind(
        "tasks.task",
        {
            "title": _plain("title"),
            "due": _due,
            "notes": _plain("notes"),
            "done": _is_set("done_at"),
            "remind_at": _moment("remind_at"),
            "cancelled": _is_set("cancelled_at"),
            "list": _plain("list_name"),
            "repeats": _plain("repeats"),
        },
    ),
}
BY_TABLE = {kind.table: name for name, kind in KINDS.items()}


def named(table: str, row: Stored) -> dict[str, Any]:
    """Return a row by the fields that cases use; that of another table by its columns."""
    kind = KINDS.get(BY_TABLE.get(table, ""))
    return dict(row) if kind is None else {name: read(row) for name, read in kind.fields.items()}
