"""A worker that dies between effect and report: the effect stands once, in the store of the run's organisation."""

from __future__ import annotations

import asyncio
import dataclasses
import sqlite3
from contextlib import closing
from typing import Any

import pytest

from api.app import create_app
from api.auth.principals import Person, Role
from api.deps import caller
from api.settings import ApiSettings
from retinue.tenancy import folder_of
from retinue.testing import plan_answer
from tests.api.conftest import browsing
from tests.conftest import View, steps
from tests.faults.conftest import FaultStack, faulty, planner, respawn
from workers.children import Child

__all__ = ["faulty", "planner"]
pytestmark = [pytest.mark.long, pytest.mark.xdist_group("heavy")]
ACME = "acme"


def in_store(stack: FaultStack, organisation: str, query: str) -> list[tuple[Any, ...]]:
    file = stack.data / "organisations" / folder_of(organisation) / "tasks.db"
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as database:
        return database.execute(query).fetchall()


async def run_of(stack: FaultStack, organisation: str) -> View:
    """A task of a member of the organisation, to the end."""
    keys = f"sqlite+aiosqlite:///{stack.data}/{organisation}.db"
    app = create_app(ApiSettings(api_database_url=keys), client=stack.temporal)
    app.dependency_overrides[caller] = lambda: Person("anna", frozenset({Role.OWNER}), organisation)
    async with browsing(app) as http:
        theirs = dataclasses.replace(stack, http=http)
        message = f"A task for {organisation}"
        plan = [{"id": "t", "tool": "tasks.add", "args": {"title": organisation}}]
        stack.model.script(message, *[plan_answer(plan)] * 4)
        return await theirs.ended((await theirs.start(message))["id"])


async def raise_the_dead(worker: Child, deaths: list[int]) -> None:
    while True:
        deaths.append(respawn([worker]))
        await asyncio.sleep(0.1)


@pytest.mark.usefixtures("planner")
async def test_a_worker_killed_after_an_effect_repeats_it_in_no_organisation(faulty: FaultStack) -> None:
    deaths: list[int] = []
    worker = faulty.worker("tasks", RETINUE_FAULT="after_effect:tasks")
    with faulty.workers(worker):
        raising = asyncio.create_task(raise_the_dead(worker, deaths))
        view = await run_of(faulty, ACME)
        raising.cancel()
    assert (view["status"], steps(view)["t"]["status"]) == ("completed", "completed")
    assert sum(deaths) == 1
    assert in_store(faulty, ACME, "SELECT title FROM task") == [(ACME,)]
    assert in_store(faulty, ACME, "SELECT count(*) FROM ledger") == [(1,)]
