"""Memory on PostgreSQL."""

from __future__ import annotations

import pytest

from tests.activities.memory import test_tools
from tests.activities.memory.conftest import call
from tests.databases.borrowed import borrowed

__all__ = ["call"]

globals().update(borrowed(test_tools, "call", at_least=17))


@pytest.fixture
def memory_url(postgresql_url: str) -> str:
    return postgresql_url
