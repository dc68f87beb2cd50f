"""What was kept before people were told apart and belongs to nobody yet: where it is, and how a person gets it.

See docs/decisions/0033. It knows the tables of capabilities by their metadata alone.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path

from sqlalchemy.engine import make_url

import activities
from retinue.database.migrations import metadata_of
from retinue.database.people import UNCLAIMED, tables_of_people
from retinue.settings import RetinueSettings
from retinue.store import ORGANISATIONS, Store


def capabilities() -> list[str]:
    """Return the capabilities with data of people."""
    with_tables = [name for name in activities.folders() if find_spec(f"activities.{name}.models")]
    return [name for name in with_tables if tables_of_people(metadata_of(f"activities.{name}.models"))]


def store_of(name: str) -> Store:
    """Return the store of a capability, not opened.

    Raises:
        LookupError: It has no data of people.
    """
    if name not in capabilities():
        raise LookupError(f"{name} has no data of people; these have: {', '.join(capabilities())}")
    return Store(_url(name), metadata_of(f"activities.{name}.models"), owner=name)


async def claim(name: str, person: str) -> int:
    """Give a person what belongs to nobody in a capability's database of their organisation; returns how many rows."""
    async with store_of(name) as store:
        return await store.claim(person)


def counted(name: str) -> Iterator[tuple[str, int]]:
    """Yield the SQLite files of a capability in which rows belong to nobody, and how many. It changes nothing."""
    url = make_url(_url(name))
    if url.get_backend_name() != "sqlite" or not url.database:
        return
    own = Path(url.database)
    for file in (own, *sorted(own.parent.glob(f"{ORGANISATIONS}/*/{own.name}"))):
        if file.is_file() and (rows := _rows(file, name)):
            yield str(file), rows


def _rows(file: Path, name: str) -> int:
    tables = tables_of_people(metadata_of(f"activities.{name}.models"))
    try:
        with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as connection:
            return sum(
                connection.execute(f'SELECT count(*) FROM "{table.name}" WHERE person = ?', (UNCLAIMED,)).fetchone()[0]  # noqa: S608  # names of our own tables
                for table in tables
            )
    except sqlite3.Error:  # older than the column, or not readable: the worker says that
        return 0


def _url(name: str) -> str:
    return os.environ.get(f"{name.upper()}_DATABASE_URL") or RetinueSettings().sqlite_url(name)
