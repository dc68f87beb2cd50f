"""The application: routes, error translation, limits, and what it opens and closes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from temporalio.client import Client

from api import errors
from api.deps import House
from api.keys import IdempotencyKeys
from api.limits import BodyLimit, OwnSite
from api.metrics import Metrics
from api.routes import approvals, assistants, capabilities, grants, health, schedules
from api.settings import ApiSettings
from retinue.registry import Directory
from retinue.temporal import connect


def create_app(settings: ApiSettings | None = None, *, client: Client | None = None) -> FastAPI:
    """Build the application.

    Args:
        settings: Read from the environment by default.
        client: A connected Temporal client; by default one that connects at the first call, so that the front door
            comes up, and answers 503, while Temporal is away.
    """
    chosen = settings or ApiSettings()
    policies = chosen.policies()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        connected = client or await connect(lazy=True)
        keys = IdempotencyKeys(chosen.api_database_url)
        await keys.open()
        app.state.house = House(
            client=connected, keys=keys, directory=Directory(connected), settings=chosen, policies=policies
        )
        yield
        await keys.close()

    app = FastAPI(
        title="Retinue",
        version="1",
        description="A durable personal assistant made of MicroAgents. Errors are problem details (RFC 9457).",
        lifespan=lifespan,
    )
    errors.install(app)
    for module in (assistants, approvals, capabilities, grants, health, schedules):
        app.include_router(module.router)
    app.add_middleware(BodyLimit)
    app.add_middleware(OwnSite, hosts=chosen.hosts())
    app.add_middleware(Metrics)
    return app
