"""What the tests of the back door share."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import pytest

from retinue.temporal.keyring import new_key
from retinue.testing import plan_answer, scripted_model
from tests.conftest import Stack, View
from tests.faults.conftest import Server, connected
from tests.security.backdoor.installation import Installation
from tests.test_main_job import mail


@dataclass(frozen=True)
class Keys:
    """Those of the installation. `old` still counts, and nothing is signed with it any more."""

    new: str
    old: str
    announcing: str


@pytest.fixture(scope="package")
async def installation(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Installation]:
    """A server that only these tests use."""
    data = tmp_path_factory.mktemp("backdoor")
    server = Server(data)
    server.start()
    async with scripted_model() as model:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("TEMPORAL_ADDRESS", f"127.0.0.1:{server.port}")
            patch.setenv("RETINUE_DATA_DIR", str(data))
            patch.setenv("WEATHER_PROVIDER", "simulated")
            patch.setenv("OPENAI_BASE_URL", model.url)
            patch.setenv("OPENAI_API_KEY", "sk-canary-0123456789")
            patch.setenv("RETINUE_MODEL", "scripted")
            try:
                await connected()
                yield Installation(server, data, model)
            finally:
                await asyncio.to_thread(server.kill)


@pytest.fixture(scope="package")
def keys() -> Keys:
    """The keys of the installation."""
    return Keys(new_key(), new_key(), new_key())


@pytest.fixture(scope="package")
async def house(installation: Installation, keys: Keys) -> AsyncIterator[Stack]:
    """The product in the mode `proved`. Its `temporal` is a stranger's: a plain client without a key."""
    async with installation.running(
        RETINUE_DECISIONS="proved",
        RETINUE_DECISION_KEYS=f"{keys.new},{keys.old}",
        RETINUE_ANNOUNCE_KEYS=keys.announcing,
    ) as stack:
        yield stack


async def asking(house: Stack, message: str, **body: object) -> View:
    """A run that asks whether it may send a mail."""
    house.model.script(message, plan_answer([mail("s1")]))
    return await house.asked((await house.start(message, **body))["id"])


@pytest.fixture(scope="package")
async def waiting(house: Stack) -> View:
    """A run that waits, and goes on waiting since nobody who tries may decide."""
    return await asking(house, "Mail team@example.com, if I say so")


Fresh = Callable[[str], str]
