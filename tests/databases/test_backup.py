"""Dumps of PostgreSQL: who may make them, and what becomes of runs at Temporal that are newer than the ledger."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import MetaData
from sqlalchemy.engine import make_url
from sqlmodel import col, select
from temporalio.worker import Worker

from activities.contacts.models import ContactsBase, StoredContact
from retinue.activity_adapter import build_activities
from retinue.store import Store
from retinue.temporal.registry import announce
from retinue.temporal.tenant_header import working_for
from tests.conftest import Stack, pending
from tests.databases.borrowed import rows
from tests.databases.postgresql import PASSWORD, PostgreSQL, execute
from tests.scenarios.test_doubt import Fresh, Post, PostOffice, PostTools, approved_letter, found


@dataclass
class Dumped:
    """A database of one capability, and how an operator dumps and restores it."""

    server: PostgreSQL
    url: str

    @property
    def schema(self) -> str:
        return str(make_url(self.url).username)

    def program(self, name: str, *arguments: str, user: str = "retinue") -> subprocess.CompletedProcess[str]:
        where = ("-h", "127.0.0.1", "-p", str(self.server.port), "-U", user, "-d", "postgres")
        return subprocess.run(
            [str(self.server.programs / name), *where, *arguments],
            env={**os.environ, "PGPASSWORD": PASSWORD},
            capture_output=True,
            text=True,
            check=False,
        )

    def dump(self, file: Path, *, user: str = "retinue") -> subprocess.CompletedProcess[str]:
        return self.program("pg_dump", "--format=custom", f"--schema={self.schema}", f"--file={file}", user=user)

    async def lose_and_restore(self, file: Path) -> None:
        await execute(self.server.address(), f"DROP SCHEMA {self.schema} CASCADE")
        restored = self.program("pg_restore", "--exit-on-error", str(file))
        assert restored.returncode == 0, restored.stderr


@pytest.fixture
def dumped(postgresql: PostgreSQL, postgresql_url: str) -> Dumped:
    return Dumped(postgresql, postgresql_url)


async def test_a_dump_needs_a_role_that_row_level_security_does_not_bind(dumped: Dumped, tmp_path: Path) -> None:
    """The tables' owner is refused rather than given the rows of nobody; restored, the walls stand again."""

    async def names(person: str) -> list[str]:
        async with Store(dumped.url, ContactsBase.metadata, owner="contacts") as store:
            with working_for(person):
                async with store.read() as session:
                    return list((await session.exec(select(col(StoredContact.name)))).all())

    async with Store(dumped.url, ContactsBase.metadata, owner="contacts") as store:
        for person in ("ana", "ben"):
            with working_for(person):
                async with store.write() as session:
                    session.add(StoredContact(contact_id="1", name=person, folded_name=person))
    refused = dumped.dump(tmp_path / "refused", user=dumped.schema)
    assert refused.returncode != 0
    assert "row-level security" in refused.stderr
    assert dumped.dump(tmp_path / "dump").returncode == 0
    await dumped.lose_and_restore(tmp_path / "dump")
    assert [await names(person) for person in ("ana", "ben", "carl")] == [["ana"], ["ben"], []]
    assert rows(dumped.url, "SELECT relname FROM pg_class WHERE relname = 'contact' AND relforcerowsecurity")


@pytest.fixture
async def office(stack: Stack, dumped: Dumped) -> AsyncIterator[PostOffice]:
    """A post office that loses its worker after each letter was recorded, with its ledger on PostgreSQL."""
    office = PostOffice(forgets=True, pause=1)
    async with Store(dumped.url, MetaData(), owner="post") as store:
        tools = PostTools(store, office)
        async with Worker(
            stack.temporal, task_queue="post", activities=build_activities(tools), build_id="post"
        ) as office.worker:
            await announce(stack.temporal, Post.manifest())
            yield office


@pytest.mark.parametrize("said", [True, False], ids=["said", "not-said"])
async def test_a_letter_that_the_restored_ledger_does_not_know_is_asked_while_temporal_is_newer(
    said: bool,
    stack: Stack,
    fresh: Fresh,
    office: PostOffice,
    dumped: Dumped,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without RETINUE_RESTORED_AT it would be sent twice: that is what the variable is for."""
    assert dumped.dump(tmp_path / "dump").returncode == 0
    view = await approved_letter(stack, fresh)
    async with asyncio.timeout(20):
        while "done" not in str(rows(dumped.url, "SELECT state FROM ledger")):  # noqa: ASYNC110  # the database tells nobody
            await asyncio.sleep(0.05)
    await dumped.lose_and_restore(tmp_path / "dump")
    assert rows(dumped.url, "SELECT key FROM ledger") == []
    if said:
        monkeypatch.setenv("RETINUE_RESTORED_AT", datetime.now(UTC).isoformat())
    office.forgets = False
    if not said:
        assert found(await stack.ended(view["id"])) == {"s1": "completed", "s2": "completed"}
        assert len(office.taken) == 2
        return
    asked = await stack.until(view["id"], lambda seen: [each["kind"] for each in pending(seen)] == ["repeat"])
    assert "a backup was restored after this assistant began" in pending(asked)[0]["reasons"][0]
    assert len(office.taken) == 1
    await stack.decide(asked, "reject")
    assert found(await stack.ended(view["id"]))["s1"] == "unknown"
    assert len(office.taken) == 1
