"""A front door on a real port: only there do answers stream, and readers go away."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx
import pytest
from fastapi import FastAPI

from api.app import create_app
from api.settings import ApiSettings
from retinue.testing import serving
from tests.conftest import Patient, Stack


@dataclass
class Door:
    """A running front door."""

    app: FastAPI
    address: str
    http: httpx.AsyncClient

    def person(self, name: str) -> httpx.AsyncClient:
        """The door as somebody sees it."""
        transport = Patient(httpx.AsyncHTTPTransport())
        return httpx.AsyncClient(transport=transport, base_url=self.address, timeout=60, headers={"X-User": name})


@asynccontextmanager
async def opened(stack: Stack, settings: ApiSettings) -> AsyncIterator[Door]:
    """A front door onto the stack's runs."""
    app = create_app(settings, client=stack.temporal)
    async with serving(app) as address, httpx.AsyncClient(base_url=address, timeout=60) as http:
        yield Door(app, address, http)


@pytest.fixture
async def door(stack: Stack) -> AsyncIterator[Door]:
    """For the one person of a single-user installation."""
    async with opened(stack, ApiSettings()) as door:
        yield door


@pytest.fixture
async def another_door(stack: Stack) -> AsyncIterator[Door]:
    """A second process of the API, as far as anything is remembered."""
    async with opened(stack, ApiSettings()) as door:
        yield door


@pytest.fixture
async def named(stack: Stack) -> AsyncIterator[Door]:
    """One that knows people by a header, with chats that go on as new after two turns."""
    async with opened(stack, ApiSettings(retinue_user_header="X-User", retinue_chat_turns=2)) as door:
        yield door
