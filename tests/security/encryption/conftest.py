"""What the tests of encryption share."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from retinue.temporal.keyring import new_key
from tests.security.encryption.installation import Installation, fresh_installation


@pytest.fixture(scope="package")
async def installation() -> AsyncIterator[Installation]:
    """A server of its own with a file, that only these tests use."""
    async with fresh_installation() as fresh:
        yield fresh


@pytest.fixture(scope="package")
def key() -> str:
    """The key of the installation."""
    return new_key()
