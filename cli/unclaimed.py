"""The doctor's look for what was kept before people were told apart and is nobody's yet (docs/decisions/0033)."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from cli.findings import Finding, Level
from retinue.database.people import PERSON, UNCLAIMED
from retinue.store import ORGANISATIONS


def examine(data: Path) -> Iterator[Finding]:
    """Yield a warning for each SQLite file with rows that nobody sees."""
    for file in (*sorted(data.glob("*.db")), *sorted(data.glob(f"{ORGANISATIONS}/*/*.db"))):
        if rows := rows_of_nobody(file):
            found = f"{rows} rows are from before people were told apart: they are kept, and nobody sees them"
            advice = (
                f"say whose they are: python -m workers claim PERSON {file.stem} (organisation:name in an organisation)"
            )
            yield Finding(f"database {file.name}", Level.WARN, found, advice)


def rows_of_nobody(file: Path) -> int:
    """Return how many rows of a database belong to nobody; it changes nothing, and 0 if it cannot be read."""
    try:
        with closing(sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True)) as connection:
            tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            return sum(_rows(connection, table) for table in tables)
    except sqlite3.Error:
        return 0


def _rows(connection: sqlite3.Connection, table: str) -> int:
    columns = {row[1] for row in connection.execute(f'PRAGMA table_info("{table}")')}
    if PERSON not in columns:
        return 0
    counted = f'SELECT count(*) FROM "{table}" WHERE {PERSON} = ?'  # noqa: S608  # the name of a table that is there
    return int(connection.execute(counted, (UNCLAIMED,)).fetchone()[0])
