"""An image holds no package that nobody imports."""

from __future__ import annotations

import pytest

from deploy import lock_parts
from tests.deploy.image import pins
from tests.deploy.import_graph import unused

UNSEEN = {
    "cffi": "compiled code of cryptography imports its backend",
    "tzdata": "zoneinfo reads it as data",
}


@pytest.mark.parametrize("part", lock_parts.parts())
def test_no_image_holds_a_package_that_nobody_imports(part: str) -> None:
    assert unused(part) - set(UNSEEN) == set()


def test_a_package_that_is_imported_in_a_function_is_needed() -> None:
    """The test's own test: asyncpg is imported by name alone, cryptography within functions; nothing asks for uv."""
    assert not {"asyncpg", "cryptography"} & unused("memory")
    assert {"asyncpg", "cryptography"} <= set(pins(lock_parts.LOCKS / "memory.lock"))
