"""A front door that believes headers: who calls stands in them, as if an identity provider had said so."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Annotated, Protocol

import httpx
import pytest
from fastapi import Header

from api.app import create_app
from api.auth.principals import Person, Role
from api.deps import caller
from api.settings import ApiSettings
from tests.conftest import Patient, Stack

POLICIES = """
[[policies.ben.rules]]
name = "ben"
tools = ["email.send"]
decide = "ask"
by = ["ben"]

[[policies.ben.rules]]
name = "rest"
decide = "auto"

[[policies.anybody.rules]]
name = "anybody"
tools = ["email.send"]
decide = "ask"
by = ["*"]

[[policies.two.rules]]
name = "two"
decide = "ask"
approvers = 2
by = ["*"]

[[policies.elsewhere.rules]]
name = "elsewhere"
decide = "ask"
by = ["umbrella:ben"]

[[policies.escalates.rules]]
name = "escalates"
decide = "ask"
escalate_after = 1
escalate_to = ["ben"]

[[policies.anna-never.rules]]
name = "anna-never"
callers = ["anna"]
decide = "deny"

[[policies.anna-always.rules]]
name = "anna-always"
callers = ["anna"]
decide = "auto"
"""
OWNER = frozenset({Role.OWNER})
AUDITOR = frozenset({Role.AUDITOR})


class As(Protocol):
    """The stack as somebody sees it."""

    def __call__(self, name: str, tenant: str = "", roles: frozenset[Role] = OWNER) -> Stack: ...


def _from_headers(
    x_name: Annotated[str, Header()], x_tenant: Annotated[str, Header()], x_roles: Annotated[str, Header()]
) -> Person:
    return Person(x_name, frozenset(Role(role) for role in x_roles.split()), x_tenant)


@pytest.fixture(scope="session")
async def people(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[As]:
    """The door. Give a name, an organisation and roles, get the stack as that person sees it."""
    file = tmp_path_factory.mktemp("tenancy") / "policy.toml"
    file.write_text(POLICIES)
    app = create_app(ApiSettings(retinue_policy=file, retinue_rate_limit="10000000/60"), client=stack.temporal)
    app.dependency_overrides[caller] = _from_headers
    async with AsyncExitStack() as open_things:
        await open_things.enter_async_context(app.router.lifespan_context(app))

        def person(name: str, tenant: str = "", roles: frozenset[Role] = OWNER) -> Stack:
            headers = {"X-Name": name, "X-Tenant": tenant, "X-Roles": " ".join(roles)}
            transport = Patient(httpx.ASGITransport(app))
            http = httpx.AsyncClient(transport=transport, base_url="http://localhost", timeout=60, headers=headers)
            return dataclasses.replace(stack, http=http)

        yield person


@pytest.fixture
def organisations() -> Callable[[str], str]:
    """Makes names of organisations that only this test has."""
    mark = uuid.uuid4().hex[:8]
    return lambda name: f"{name}-{mark}"
