"""What the worst-case suite shares: the stores, a web of strangers' pages, and a front door without any policy."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Callable

import httpx
import pytest
from temporalio.worker import Worker

from api.app import create_app
from api.settings import ApiSettings
from retinue.temporal.registry import announce
from tests.conftest import Patient, Stack
from tests.security.attempts import Scene
from tests.security.house import House, Web
from tests.security.worst_case import Orders

CARELESS = """
[policies.default]
hold = 0
run_budget = {}

[[policies.default.rules]]
name = "everything"
decide = "auto"
"""


@pytest.fixture(scope="session")
async def house(stack: Stack) -> AsyncIterator[House]:
    """The stores, with a capability that reads strangers' pages."""
    web = Web()
    async with Worker(
        stack.temporal,
        task_queue=web.name,
        activities=web.activities(),
        build_id=web.name,
        max_concurrent_activities=20,
    ):
        await announce(stack.temporal, web.manifest())
        async with House.opened(stack.data, web) as house:
            yield house


@pytest.fixture(scope="session")
def orders() -> Orders:
    """What strangers order in this session."""
    return Orders()


@pytest.fixture
def scene(stack: Stack, house: House, orders: Orders) -> Callable[..., Scene]:
    """Makes scenes."""
    return lambda **fields: Scene(**{"stack": stack, "house": house, "orders": orders, **fields})


@pytest.fixture(scope="session")
async def careless(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """The same product with a policy that lets everything pass: what the attacks are worth without one."""
    file = tmp_path_factory.mktemp("policy") / "policy.toml"
    file.write_text(CARELESS)
    app = create_app(ApiSettings(retinue_policy=file), client=stack.temporal)
    async with app.router.lifespan_context(app):
        transport = Patient(httpx.ASGITransport(app))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost", timeout=60) as http:
            yield dataclasses.replace(stack, http=http)


@pytest.fixture(scope="session")
async def somebody(stack: Stack) -> AsyncIterator[Callable[[str], Stack]]:
    """The same product for people with names, so that one's grants are nobody else's."""
    app = create_app(ApiSettings(retinue_user_header="X-User"), client=stack.temporal)
    async with app.router.lifespan_context(app):
        transport = Patient(httpx.ASGITransport(app))

        def person(name: str) -> Stack:
            http = httpx.AsyncClient(
                transport=transport, base_url="http://localhost", timeout=60, headers={"X-User": name}
            )
            return dataclasses.replace(stack, http=http)

        yield person
