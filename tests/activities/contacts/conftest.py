"""The address book's tools as a worker runs them: real activities on a real database file."""

import dataclasses
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import closing
from pathlib import Path
from sqlite3 import connect
from typing import Any
from uuid import uuid4

import pytest
from temporalio import activity
from temporalio.testing import ActivityEnvironment

from activities.contacts.settings import ContactsSettings
from activities.contacts.worker import import_file, plugin

Call = Callable[..., Awaitable[dict[str, Any]]]


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """The file in which the address book is kept."""
    return tmp_path / "contacts.db"


@pytest.fixture
def settings(database: Path) -> ContactsSettings:
    """Settings of an address book of its own."""
    return ContactsSettings(database_url=f"sqlite+aiosqlite:///{database}")


@pytest.fixture
async def call(settings: ContactsSettings) -> AsyncIterator[Call]:
    """Runs a tool by name; calls with the same `step` are attempts of one step."""
    served = plugin(settings)
    assert isinstance(served.activities, Sequence)
    assert served.run_context is not None
    activities = {activity._Definition.must_from_callable(run).name: run for run in served.activities}

    async def run(tool: str, *, step: str | None = None, **arguments: Any) -> dict[str, Any]:
        environment = ActivityEnvironment()
        environment.info = dataclasses.replace(
            environment.info, workflow_id="assistant-1", activity_id=step or uuid4().hex, activity_type=tool
        )
        return await environment.run(activities[tool], arguments)

    async with served.run_context():
        yield run


@pytest.fixture
def count_contacts(database: Path) -> Callable[[], int]:
    """How many people the file holds."""

    def count() -> int:
        with closing(connect(database)) as connection:
            return int(connection.execute("SELECT count(*) FROM contact").fetchone()[0])

    return count


@pytest.fixture
def fill(settings: ContactsSettings, tmp_path: Path) -> Callable[[int, str], Awaitable[None]]:
    """Puts many people of one numbered name into the address book."""

    async def run(people: int, name: str) -> None:
        cards = [f"BEGIN:VCARD\nVERSION:3.0\nFN:{name} {number}\nEND:VCARD\n" for number in range(people)]
        path = tmp_path / "many.vcf"
        path.write_text("".join(cards), encoding="utf-8")
        assert (await import_file(path, settings)).startswith(f"{people} contacts imported")

    return run
