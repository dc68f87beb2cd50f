"""What was kept before people were told apart and belongs to nobody yet: how a person gets it.

See docs/decisions/0033. It knows the tables of capabilities by their metadata alone.
"""

from __future__ import annotations

import os
from importlib.util import find_spec

import activities
from retinue.database.migrations import metadata_of
from retinue.database.people import tables_of_people
from retinue.settings import RetinueSettings
from retinue.store import Store


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


def _url(name: str) -> str:
    return os.environ.get(f"{name.upper()}_DATABASE_URL") or RetinueSettings().sqlite_url(name)
