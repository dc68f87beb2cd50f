"""Both kinds of databases, for the tests of this folder."""

from __future__ import annotations

import pytest

from tests.databases.postgresql import database_url, postgresql, postgresql_url

__all__ = ["database_url", "postgresql", "postgresql_url"]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Of a borrowed test the first case is enough for `make test`: the others reach the same statements."""
    begun: set[tuple[str, str]] = set()
    for item in items:
        if isinstance(item, pytest.Function) and item.path.parent.name == "databases":
            test = (item.path.name, item.originalname)
            if test in begun and item.function.__module__ != item.module.__name__:
                item.add_marker(pytest.mark.long)
            begun.add(test)
