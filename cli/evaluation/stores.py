"""What stands in an organisation's databases, and what changed between two looks. Read-only, past the product."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from cli.evaluation.fields import BOOKKEEPING, BY_TABLE, named
from cli.exits import CommandError
from retinue.tenancy import folder_of

OWN_NOTES = frozenset({"reasoning", "mcp", "a2a"})
"""Databases of capabilities that hold nothing of a person's."""
Rows = Mapping[str, Mapping[Any, dict[str, Any]]]
"""By table as `capability.table`, then by primary key."""


@dataclass(frozen=True)
class Effect:
    """A row that was added, changed or removed.

    Attributes:
        kind: As cases name it, or the table.
        before: Its fields, None if it was added.
        after: Its fields, None if it was removed.
    """

    verb: Literal["added", "changed", "removed"]
    kind: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None

    def __str__(self) -> str:
        shown = self.after or self.before or {}
        fields = ", ".join(
            f"{name} {_shown(value)}" for name, value in shown.items() if value not in (None, [], "", False)
        )
        return f"{self.verb} {self.kind}: {fields}"


def _shown(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 120 else f"{text[:119]}…"


def look(data: Path, organisation: str) -> Rows:
    """Return all rows of an organisation, without the tables that only record how things are done.

    Raises:
        CommandError: A database cannot be read.
    """
    folder = data / "organisations" / folder_of(organisation)
    found: dict[str, dict[Any, dict[str, Any]]] = {}
    for file in sorted(folder.glob("*.db")):
        if file.stem not in OWN_NOTES:
            try:
                found |= _tables(file)
            except sqlite3.Error as error:
                raise CommandError(f"{file.name} cannot be read: {error}") from None
    return found


def _tables(file: Path) -> dict[str, dict[Any, dict[str, Any]]]:
    with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True, timeout=30)) as connection:
        connection.row_factory = sqlite3.Row
        names = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {f"{file.stem}.{name}": _rows(connection, name) for name in names if name not in BOOKKEEPING}


def _rows(connection: sqlite3.Connection, table: str) -> dict[Any, dict[str, Any]]:
    columns = connection.execute(f'PRAGMA table_info("{table}")').fetchall()
    keys = [column["name"] for column in columns if column["pk"]] or [column["name"] for column in columns]
    rows = connection.execute(f'SELECT * FROM "{table}"')  # noqa: S608  # the name is the database's own
    return {tuple(row[key] for key in keys): dict(row) for row in rows}


def effects(before: Rows, after: Rows) -> list[Effect]:
    """Return what changed between two looks. A row whose fields are the same has not changed."""
    found = []
    for table in sorted(before.keys() | after.keys()):
        kind, old, new = BY_TABLE.get(table, table), before.get(table, {}), after.get(table, {})
        for key in [*old, *(key for key in new if key not in old)]:
            was = named(table, old[key]) if key in old else None
            is_ = named(table, new[key]) if key in new else None
            if was != is_:
                found.append(Effect("removed" if is_ is None else "changed" if was else "added", kind, was, is_))
    return found
