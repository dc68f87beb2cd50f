"""The tests of the capabilities, borrowed to run on PostgreSQL: what holds on SQLite has to hold there too."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType
from typing import Any

from _pytest.fixtures import FixtureFunctionDefinition
from sqlalchemy.ext.asyncio import create_async_engine


def borrowed(module: ModuleType, *fixtures: str, at_least: int) -> dict[str, Any]:
    """A module's own fixtures, and those of its tests that use the store and no fixtures but these and those named.

    Args:
        module: Whose tests to run.
        fixtures: What the borrower has, or has in its place.
        at_least: How many tests that must be, so that none gets lost in silence when its fixtures change.
    """
    own = {name: value for name, value in vars(module).items() if isinstance(value, FixtureFunctionDefinition)}
    usable = {*own, *fixtures, "tmp_path"}
    tests = {name: test for name, test in vars(module).items() if name.startswith("test_") and callable(test)}
    found = {name: test for name, test in tests.items() if _fixtures(test) and _fixtures(test) <= usable}
    assert len(found) >= at_least, f"only {len(found)} of {module.__name__}: {sorted(found)}"
    return own | found


def _fixtures(test: Callable[..., Any]) -> set[str]:
    given = {
        name.strip()
        for mark in getattr(test, "pytestmark", [])
        if mark.name == "parametrize"
        for name in (mark.args[0].split(",") if isinstance(mark.args[0], str) else mark.args[0])
    }
    return set(inspect.signature(test).parameters) - given


def rows(url: str, query: str) -> list[dict[str, Any]]:
    """Rows of a database, read from outside. Callers may be in the middle of an event loop."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, _rows(url, query)).result(20)


async def _rows(url: str, query: str) -> list[dict[str, Any]]:
    engine = create_async_engine(url)
    async with engine.connect() as connection:
        await connection.exec_driver_sql("SELECT set_config('retinue.person', 'local', true)")
        found = [dict(row._mapping) for row in await connection.exec_driver_sql(query)]
    await engine.dispose()
    return found


def count(url: str, table: str) -> Callable[[], int]:
    """Counts the rows of a table."""
    return lambda: int(rows(url, f"SELECT count(*) AS number FROM {table}")[0]["number"])
