"""The to-do list on PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.activities.tasks import test_reminders, test_tools
from tests.activities.tasks.conftest import call, clock, timers
from tests.databases import borrowed as from_sqlite
from tests.databases.borrowed import borrowed

__all__ = ["call", "clock", "timers"]

for module, number in ((test_tools, 21), (test_reminders, 14)):
    globals().update(borrowed(module, "call", "clock", "timers", "count", at_least=number))


@pytest.fixture
def list_url(postgresql_url: str) -> str:
    return postgresql_url


@pytest.fixture
def count(postgresql_url: str) -> Callable[[], int]:
    return from_sqlite.count(postgresql_url, "task")
