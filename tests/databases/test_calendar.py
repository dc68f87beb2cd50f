"""The own calendar on PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from activities.calendar.settings import CalendarSettings
from tests.activities.calendar import test_foreign_files, test_icalendar_file, test_restore, test_tools
from tests.activities.calendar.conftest import call
from tests.databases import borrowed as from_sqlite
from tests.databases.borrowed import borrowed, count

__all__ = ["call"]

for module, number in ((test_tools, 30), (test_restore, 9), (test_icalendar_file, 12), (test_foreign_files, 2)):
    globals().update(borrowed(module, "call", "settings", "count_events", at_least=number))


@pytest.fixture
def provider() -> str:
    """Servers elsewhere keep no events here."""
    return "own"


@pytest.fixture
def settings(postgresql_url: str) -> CalendarSettings:
    return CalendarSettings(database_url=postgresql_url, timezone="Europe/Berlin")


@pytest.fixture
def count_events(postgresql_url: str) -> Callable[[], int]:
    return count(postgresql_url, "event")


@pytest.fixture
def rows(postgresql_url: str) -> Callable[[], list[dict[str, Any]]]:
    return lambda: test_restore.unversioned(from_sqlite.rows(postgresql_url, "SELECT * FROM event ORDER BY event_id"))
