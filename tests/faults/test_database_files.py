"""A capability's SQLite file is read-only or full for a while, or deleted or replaced: real workers, seen from outside."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from retinue.runtime.process import DATABASE_LOST
from retinue.testing import plan_answer
from tests.conftest import View, steps
from tests.databases.test_held_up import made, until
from tests.faults.conftest import FaultStack
from tests.retinue.test_store_files import immutable, replace, small_disk
from workers.children import Child

__all__ = ["small_disk"]
pytestmark = [pytest.mark.long, pytest.mark.xdist_group("heavy"), pytest.mark.usefixtures("planner")]


async def adding(stack: FaultStack, *names: str) -> list[str]:
    """Runs that each add one contact."""
    ids = []
    for name in names:
        message = f"Add {name} with {name}@example.com to my contacts"
        args = {"name": name, "email": f"{name}@example.com"}
        plan = [{"id": "k1", "tool": "contacts.add", "args": args, "depends_on": []}]
        stack.model.script(message, *[plan_answer(plan)] * 4)
        ids.append((await stack.start(message))["id"])
    return ids


async def waiting(stack: FaultStack, assistant_id: str) -> View:
    """The view once its step waits and says for what."""
    for _ in range(600):
        view = await stack.view(assistant_id)
        if view["status"] == "awaiting_worker" and view["waiting_for"] and view["waiting_for"][0]["reason"]:
            return view
        assert not view["plan"] or steps(view)["k1"]["status"] != "failed", steps(view)["k1"]
        await asyncio.sleep(0.1)
    raise AssertionError(f"did not wait: {view}")


FULL = "the database of contacts does not work at the moment: its disk is full"
READ_ONLY = "the database of contacts does not work at the moment: its file is read-only"


async def told(stack: FaultStack, problem: str) -> None:
    """Wait until the capability names this problem, and `/readyz` too, which stays ready."""
    detail = f"contacts: {problem}; its steps wait" if problem else None
    for _ in range(300):
        listed = (await stack.http.get("/v1/capabilities")).json()["capabilities"]
        [found] = [one["problem"] for one in listed if one["name"] == "contacts"]
        ready = await stack.http.get("/readyz")
        assert (ready.status_code, ready.json()["waiting_for"]) == (200, [])
        if (found, ready.json()["detail"]) == (problem, detail):
            return
        await asyncio.sleep(0.1)
    raise AssertionError(f"the problem is {found!r}, /readyz says {ready.json()}")


def contacts(file: Path) -> list[str]:
    with contextlib.closing(sqlite3.connect(file)) as database:
        return [name for (name,) in database.execute("SELECT name FROM contact ORDER BY name")]


@pytest.mark.timeout(180)
async def test_a_file_that_was_read_only_is_waited_for_and_the_same_worker_goes_on(faulty: FaultStack) -> None:
    """The worker opened it when it was read-only, so that none of its connections could ever write."""
    file = faulty.data / "contacts.db"
    with faulty.workers(faulty.worker("contacts")):
        await made(file)
    worker = faulty.worker("contacts")
    with contextlib.ExitStack() as things:
        with immutable(file):
            things.enter_context(faulty.workers(worker))
            ids = await adding(faulty, "ada", "grace")
            views = [await waiting(faulty, assistant_id) for assistant_id in ids]
            await told(faulty, READ_ONLY)
        assert worker.process is not None
        pid = worker.process.pid
        ended = [await until(faulty, assistant_id, {"k1": "completed"}) for assistant_id in ids]
        assert worker.process.pid == pid
        await told(faulty, "")
    assert [view["waiting_for"][0]["reason"] for view in views] == [READ_ONLY] * 2
    assert [steps(view)["k1"]["error"] for view in ended] == [None] * 2
    assert contacts(file) == ["ada", "grace"]


@pytest.mark.timeout(120)
async def test_the_door_names_a_database_on_a_full_disk_before_a_step_needs_it(
    faulty: FaultStack, small_disk: Path
) -> None:
    file = small_disk / "contacts.db"
    with faulty.workers(faulty.worker("contacts", CONTACTS_DATABASE_URL=f"sqlite+aiosqlite:///{file}")):
        await made(file)
        await told(faulty, "")
        fill(small_disk / "filler")
        await told(faulty, FULL)
        (small_disk / "filler").unlink()
        await told(faulty, "")


@pytest.mark.timeout(180)
async def test_a_full_disk_is_waited_for(faulty: FaultStack, small_disk: Path) -> None:
    file = small_disk / "contacts.db"
    worker = faulty.worker("contacts", CONTACTS_DATABASE_URL=f"sqlite+aiosqlite:///{file}")
    with faulty.workers(worker):
        await made(file)
        fill(small_disk / "filler")
        [assistant_id] = await adding(faulty, "ada")
        view = await waiting(faulty, assistant_id)
        (small_disk / "filler").unlink()
        await until(faulty, assistant_id, {"k1": "completed"})
        found = contacts(file)
    assert view["status"] == "awaiting_worker"
    assert "its disk is full" in json.dumps(view["waiting_for"])
    assert found == ["ada"]


def fill(file: Path) -> None:
    """Until nothing more fits on its disk."""
    with contextlib.suppress(OSError), file.open("wb", buffering=0) as filler:
        while True:
            filler.write(b"x" * 512)


def delete(file: Path) -> None:
    for part in file.parent.glob(f"{file.name}*"):
        part.unlink()


@pytest.mark.timeout(120)
@pytest.mark.parametrize("lose", [delete, replace])
async def test_a_lost_database_ends_its_worker_and_what_is_completed_stands_in_the_one_that_a_new_worker_opens(
    faulty: FaultStack, lose: Callable[[Path], None]
) -> None:
    file = faulty.data / "contacts.db"
    worker = faulty.worker("contacts")
    with faulty.workers(worker):
        await made(file)
        lose(file)
        ids = await adding(faulty, "ada", "grace")
        codes: set[int | None] = set()
        for assistant_id in ids:
            await until_completed(faulty, assistant_id, worker, codes)
    assert codes == {DATABASE_LOST}
    assert contacts(file) == ["ada", "grace"]
    assert "deleted or replaced" in (faulty.data / "contacts.log").read_text()


async def until_completed(stack: FaultStack, assistant_id: str, worker: Child, codes: set[int | None]) -> None:
    while True:
        if worker.process is not None and not worker.process.is_alive():
            codes.add(worker.process.exitcode)
            worker.start()
        view = await stack.view(assistant_id)
        for index in range(len([one for one in view["approvals"] if one["status"] == "pending"])):
            await stack.decide(view, index=index)
        if view["plan"] and steps(view)["k1"]["status"] == "completed":
            return
        assert view["status"] not in {"failed", "cancelled"}, view
        await asyncio.sleep(0.1)


@pytest.mark.timeout(60)
async def test_an_idle_worker_whose_database_is_deleted_ends_too(faulty: FaultStack) -> None:
    worker = faulty.worker("contacts")
    with faulty.workers(worker):
        await made(faulty.data / "contacts.db")
        delete(faulty.data / "contacts.db")
        assert worker.process is not None
        await asyncio.to_thread(worker.process.join, 30)
        assert worker.process.exitcode == DATABASE_LOST
