"""One capability's database is locked, read-only or down: its own steps wait, everybody else's go on.

Workers are processes, the databases are real, and people see it through the front door.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import sqlite3
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from activities.email.settings import EmailSettings
from retinue.testing import plan_answer
from tests.conftest import View, pending, steps
from tests.databases.borrowed import rows
from tests.databases.postgresql import PostgreSQL
from tests.faults.conftest import FaultStack, faulty, planner, respawn
from tests.faults.test_kills import TOOLS_WITH_EFFECTS, effects_of_one_run, every_effect, post_in
from workers.children import Child

__all__ = ["faulty", "planner"]
pytestmark = [pytest.mark.long, pytest.mark.xdist_group("heavy"), pytest.mark.usefixtures("planner")]
RUNS = 3


def branches(number: int) -> list[dict[str, Any]]:
    """A plan of two branches that know nothing of each other: contacts on one side, the calendar on the other."""
    day = "2026-12-01T{:02}:00:00+00:00"
    person = {"name": f"Person {number}", "email": f"p{number}@example.com"}
    event = {"title": f"Event {number}", "start": day.format(9), "end": day.format(10)}
    moved = {"event_id": {"$from": "c1", "path": "/event_id"}, "title": f"Moved {number}"}
    return [
        {"id": "k1", "tool": "contacts.add", "args": person, "depends_on": []},
        {"id": "c1", "tool": "calendar.create_event", "args": event, "depends_on": []},
        {"id": "c2", "tool": "calendar.update_event", "args": moved, "depends_on": ["c1"]},
    ]


async def started(stack: FaultStack, *, first: int = 0) -> list[str]:
    ids = []
    for number in range(first, first + RUNS):
        message = f"Run {number} for p{number}@example.com"
        stack.model.script(message, *[plan_answer(branches(number))] * 4)
        ids.append((await stack.start(message))["id"])
    return ids


async def all_until(stack: FaultStack, ids: list[str], *, again: Sequence[Child] = (), **wanted: str) -> list[View]:
    """The views once these steps of all runs have these statuses; whatever is asked is approved.

    Workers to start `again` are started when they end, as the supervisor does.
    """
    return [await until(stack, assistant_id, wanted, again) for assistant_id in ids]


async def until(stack: FaultStack, assistant_id: str, wanted: dict[str, str], again: Sequence[Child] = ()) -> View:
    view: View = {}
    for _ in range(400):
        respawn(again)
        view = await stack.view(assistant_id)
        for index in range(len(pending(view))):
            await stack.decide(view, index=index)
        found = {step_id: step["status"] for step_id, step in steps(view).items()} if view["plan"] else {}
        if found.items() >= wanted.items():
            return view
        await asyncio.sleep(0.1)
    raise AssertionError(f"did not come about: {view}")


def contacts(stack: FaultStack) -> list[str]:
    with contextlib.closing(sqlite3.connect(stack.data / "contacts.db")) as database:
        return [name for (name,) in database.execute("SELECT name FROM contact ORDER BY name")]


EVERYBODY = [f"Person {number}" for number in range(RUNS)]


@pytest.fixture
def calendar(faulty: FaultStack) -> Iterator[Child]:
    """The calendar's worker, whose database is well."""
    worker = faulty.worker("calendar", RETINUE_WORKER_CONCURRENCY="4")
    with faulty.workers(worker):
        yield worker


@contextlib.contextmanager
def locked(file: Path) -> Iterator[None]:
    """Nobody else writes into this file."""
    with contextlib.closing(sqlite3.connect(file, isolation_level=None, timeout=20)) as holder:
        holder.execute("BEGIN EXCLUSIVE")
        yield
        holder.execute("ROLLBACK")


@pytest.mark.timeout(120)
@pytest.mark.usefixtures("calendar")
async def test_a_locked_database_holds_up_its_own_steps_only(faulty: FaultStack) -> None:
    """Ten seconds: longer than the store waits, so attempts fail and are made again."""
    worker = faulty.worker("contacts", RETINUE_WORKER_CONCURRENCY="4")
    with faulty.workers(worker):
        await made(faulty.data / "contacts.db")
        with locked(faulty.data / "contacts.db"):
            ids = await started(faulty)
            views = await all_until(faulty, ids, c1="completed", c2="completed")
            await asyncio.sleep(10)
            held = [steps(view)["k1"]["status"] for view in views]
        views = await all_until(faulty, ids, k1="completed")
    assert held == ["running"] * RUNS
    assert max(steps(view)["k1"]["attempts"] for view in views) > 1
    assert contacts(faulty) == EVERYBODY


async def made(file: Path) -> None:
    """Wait until a worker has made its database."""
    async with asyncio.timeout(30):
        while True:
            with contextlib.suppress(sqlite3.Error), contextlib.closing(sqlite3.connect(file)) as database:
                if database.execute("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version_ledger'").fetchone():
                    return
            await asyncio.sleep(0.1)


@pytest.mark.timeout(120)
@pytest.mark.usefixtures("calendar")
async def test_a_read_only_database_holds_up_its_own_steps_only_and_says_so(faulty: FaultStack) -> None:
    """And what waited goes on when it is mended."""
    well = faulty.worker("contacts")
    with faulty.workers(well):
        await made(faulty.data / "contacts.db")
    read_only = f"sqlite+aiosqlite:///file:{faulty.data}/contacts.db?mode=ro&uri=true"
    with faulty.workers(faulty.worker("contacts", RETINUE_WORKER_CONCURRENCY="4", CONTACTS_DATABASE_URL=read_only)):
        ids = await started(faulty)
        views = await all_until(faulty, ids, c1="completed", c2="completed", k1="awaiting_worker")
        assert contacts(faulty) == []
    assert [(view["waiting_for"][0]["capability"], view["waiting_for"][0]["reason"]) for view in views] == [
        ("contacts", "the database of contacts does not work at the moment: its file is read-only")
    ] * RUNS
    with faulty.workers(faulty.worker("contacts")):
        await all_until(faulty, ids, k1="completed")
    assert contacts(faulty) == EVERYBODY


@pytest.fixture
async def own_postgresql(postgresql: PostgreSQL) -> AsyncIterator[PostgreSQL]:
    """A server that a test may stop."""
    folder = Path(tempfile.mkdtemp(prefix="retinue-postgresql-"))
    server = PostgreSQL(postgresql.programs, folder)
    try:
        server.make()
        server.start()
        yield server
        server.stop()
    finally:
        shutil.rmtree(folder)


@pytest.mark.timeout(120)
@pytest.mark.usefixtures("calendar")
async def test_a_database_server_that_is_down_holds_up_its_own_steps_only(
    faulty: FaultStack, own_postgresql: PostgreSQL
) -> None:
    url = await own_postgresql.create()
    worker = faulty.worker("contacts", RETINUE_WORKER_CONCURRENCY="4", CONTACTS_DATABASE_URL=url)
    with faulty.workers(worker):
        await all_until(faulty, await started(faulty, first=RUNS), k1="completed")
        own_postgresql.stop()
        ids = await started(faulty)
        views = await all_until(faulty, ids, c1="completed", c2="completed")
        held = [steps(view)["k1"]["status"] for view in views]
        await asyncio.sleep(2)
        own_postgresql.start()
        views = await all_until(faulty, ids, k1="completed")
    assert held == ["running"] * RUNS
    assert max(steps(view)["k1"]["attempts"] for view in views) > 1
    names = [row["name"] for row in rows(url, "SELECT name FROM contact ORDER BY name")]
    assert names == [f"Person {number}" for number in range(2 * RUNS)]


@pytest.mark.timeout(90)
async def test_a_worker_whose_database_is_away_at_its_start_ends_and_can_start_later(
    faulty: FaultStack, own_postgresql: PostgreSQL
) -> None:
    """It must not stay alive without working, since only a dead one is started again."""
    url = await own_postgresql.create()
    worker = faulty.worker("contacts", CONTACTS_DATABASE_URL=url)
    own_postgresql.stop()
    with faulty.workers(worker):
        assert worker.process is not None
        await asyncio.to_thread(worker.process.join, 40)
        assert worker.process.exitcode == 1
        own_postgresql.start()
        await all_until(faulty, await started(faulty), again=[worker], k1="completed")


@pytest.mark.timeout(180)
async def test_a_killed_worker_repeats_nothing_on_postgresql(faulty: FaultStack, postgresql: PostgreSQL) -> None:
    """Every tool with effects of every capability, and a kill between each effect and its report."""
    urls = {name: await postgresql.create() for name in TOOLS_WITH_EFFECTS}
    workers = [
        faulty.worker(name, **{"RETINUE_FAULT": f"after_effect:{name}", f"{name.upper()}_DATABASE_URL": url})
        for name, url in urls.items()
    ]
    await post_in(faulty.data, 0, EmailSettings(database_url=urls["email"]))
    message = "Everything for p0@example.com"
    faulty.model.script(message, *[plan_answer(every_effect(0))] * 4)
    with faulty.workers(*workers):
        assistant_id = (await faulty.start(message))["id"]
        deaths = 0
        view: View = {"status": "planning"}
        while view["status"] not in {"completed", "failed"}:
            deaths += respawn(workers)
            view = await faulty.view(assistant_id)
            for index in range(len(pending(view))):
                await faulty.decide(view, index=index)
            await asyncio.sleep(0.2)
    assert view["status"] == "completed", view
    effects = effects_of_one_run()
    assert deaths >= effects.total() - len(workers)
    for name, tools in TOOLS_WITH_EFFECTS.items():
        done = rows(urls[name], "SELECT tool, count(*) AS number FROM ledger GROUP BY tool")
        assert {row["tool"]: row["number"] for row in done} == {tool: effects[tool] for tool in tools}
