"""The application: routes, error translation, limits, and what it opens and closes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from temporalio.client import Client

from api import errors
from api.auth.authenticator import Authenticator
from api.auth.openapi_schemes import add_security_schemes
from api.auth.settings import IdentitySettings
from api.deps import AppState, schedule_updates
from api.events.broker import RunBroadcasters
from api.http import openapi_page
from api.http.body_limits import BodyLimitMiddleware
from api.http.head_requests import HeadMiddleware
from api.http.metrics import MetricsMiddleware
from api.http.rate_limits import Rate, RateLimiter, RateLimitMiddleware
from api.http.same_origin import SameOriginMiddleware, SecurityHeadersMiddleware
from api.http.shared_buckets import shared_buckets
from api.protocols.enabled import add_error_handlers, enabled_routers
from api.routes import (
    accounts,
    approvals,
    assistants,
    capabilities,
    events,
    grants,
    health,
    memory,
    models_in_use,
    pauses,
    schedules,
    session,
    triggers,
    webhooks,
)
from api.routes import keys as key_routes
from api.services.cluster_metrics import ClusterMetrics
from api.services.links import LinkMaker
from api.services.pending_decisions import PendingDecisions, deliver_for_ever
from api.settings import ApiSettings
from api.storage.idempotency import IdempotencyKeys, prune_for_ever
from console import app as console
from retinue.accounts.settings import AccountsSettings
from retinue.errors import RetinueError
from retinue.runtime import telemetry
from retinue.temporal.connection import connect
from retinue.temporal.registry import Directory

ACCOUNT_TESTS = Rate(quota=1, window=60)
"""Of each account: a test signs in at an outer service, which may lock an account that is signed in to too often."""


def create_app(settings: ApiSettings | None = None, *, client: Client | None = None) -> FastAPI:
    """Build the application.

    Args:
        settings: By default read from the environment.
        client: A connected Temporal client; by default one that connects at the first call, so that the API
            starts, and answers 503, while Temporal is unavailable.
    """
    chosen = settings or ApiSettings()
    policies = chosen.policies()
    keys = IdempotencyKeys(chosen.api_database_url)
    rates, failures, account_tests = (
        RateLimiter(rate, shared=shared_buckets(keys.store, kind))
        for kind, rate in (
            ("caller", chosen.rate_limit()),
            ("failed sign-in", Rate.parsed(chosen.retinue_failed_logins)),
            ("account test", ACCOUNT_TESTS),
        )
    )
    identity = IdentitySettings()
    identity.expected()
    chosen.check_address()
    if chosen.retinue_webhooks:
        chosen.webhook_destinations()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        connected = client or await connect(lazy=True)
        await keys.open()
        app.state.house = AppState(
            client=connected,
            keys=keys,
            directory=(directory := Directory(connected)),
            cluster_metrics=ClusterMetrics(connected, directory),
            settings=chosen,
            policies=policies,
            rates=rates,
            account_tests=account_tests,
            broadcasters=RunBroadcasters(connected, keys),
            links=LinkMaker(chosen.temporal_ui(), connected.namespace),
            people=Authenticator(identity, keys.store, user_header=chosen.retinue_user_header),
            accounts=AccountsSettings().service(),
        )
        pruning = asyncio.create_task(prune_for_ever(keys))
        deciding = asyncio.create_task(
            deliver_for_ever(PendingDecisions(keys.store), connected, app.state.house.connect)
        )
        updating = asyncio.create_task(schedule_updates(app.state.house).for_ever(app.state.house.connect))
        delivering = _delivering(chosen, keys, client) if chosen.retinue_webhooks else None
        yield
        pruning.cancel()
        deciding.cancel()
        updating.cancel()
        if delivering:
            delivering.cancel()
            await asyncio.wait({delivering})
        await app.state.house.broadcasters.close()
        if app.state.house.accounts:
            await app.state.house.accounts.close()
        await keys.close()

    app = FastAPI(
        title="Retinue",
        version="1",
        description="A durable personal assistant made of MicroAgents. Errors are problem details (RFC 9457).",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
    )
    errors.install(app)
    for module in (
        accounts,
        assistants,
        events,
        approvals,
        capabilities,
        grants,
        health,
        key_routes,
        memory,
        pauses,
        models_in_use,
        schedules,
        session,
        triggers,
        webhooks,
    ):
        app.include_router(module.router)
    for router in enabled_routers(chosen.protocols()):
        app.include_router(router)
    add_error_handlers(app, chosen.protocols())
    app.include_router(openapi_page.router)
    add_security_schemes(app, alone=chosen.alone(), user_header=chosen.retinue_user_header)
    console.install(app, user_header=chosen.retinue_user_header, problems=RetinueError)
    app.add_middleware(HeadMiddleware)
    app.add_middleware(BodyLimitMiddleware)
    app.add_middleware(RateLimitMiddleware, failures=failures)
    app.add_middleware(SameOriginMiddleware, hosts=chosen.hosts(), origins=chosen.cors_origins())
    app.add_middleware(SecurityHeadersMiddleware)
    app.add_middleware(MetricsMiddleware)
    if telemetry.records():
        from api.http.tracing import TracingMiddleware
        from retinue.runtime import otlp

        app.add_middleware(TracingMiddleware, traces=otlp.current())
    if chosen.retinue_codec_origin:
        from api.protocols.temporal_codec import CodecServer

        app.add_middleware(CodecServer, front=app, origin=chosen.retinue_codec_origin)
    return app


def _delivering(settings: ApiSettings, keys: IdempotencyKeys, client: Client | None) -> asyncio.Task[None]:
    """Start delivering webhook messages."""
    from api.webhooks.delivery import ConsoleLinks, serve  # no worker, and no memory for it, without webhooks
    from api.webhooks.registrations import Webhooks

    return asyncio.create_task(
        serve(
            Webhooks(keys.store),
            egress=settings.webhook_egress(),
            links=ConsoleLinks(settings.public_url()),
            pauses=settings.webhook_pauses(),
            client=client,
        )
    )
