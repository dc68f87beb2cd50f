"""A site on a real port of this machine, reached by names of its own, and the tools that read it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fastapi import FastAPI, Request, Response
from temporalio.testing import ActivityEnvironment

from activities.web.pages import Pages
from activities.web.throttle import SiteThrottle
from activities.web.tools import WebTools
from retinue.activity_adapter import build_activities
from retinue.network.egress import Egress, HostPort, guarded_client
from retinue.testing import activities_by_name, serving

Fetch = Callable[..., Awaitable[dict[str, Any]]]
Answer = Response | Callable[[], Awaitable[Response]]
HTML = "text/html; charset=utf-8"


@dataclass
class Site:
    """What stands at which path, and which paths were asked for."""

    pages: dict[str, Answer] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    headers: list[Mapping[str, str]] = field(default_factory=list)
    port: int = 0

    def address(self, path: str = "/", *, host: str = "site.example") -> str:
        return f"http://{host}:{self.port}{path}"

    def html(self, path: str, text: str, **headers: str) -> None:
        self.pages[path] = Response(text, media_type=HTML, headers=headers)

    def robots(self, text: str, status: int = 200) -> None:
        self.pages["/robots.txt"] = Response(text, status, media_type="text/plain")

    async def answer(self, request: Request) -> Response:
        self.asked.append(request.url.path)
        self.headers.append(request.headers)
        found = self.pages.get(request.url.path, Response("nothing here", 404))
        return found if isinstance(found, Response) else await found()


@dataclass
class Clock:
    """A present that tests move."""

    now: datetime = datetime(2026, 11, 2, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def advance(self, **step: float) -> None:
        self.now += timedelta(**step)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    found = Site()
    app = FastAPI()
    app.add_api_route("/{path:path}", found.answer)
    async with serving(app) as address:
        found.port = int(address.rpartition(":")[2])
        yield found


async def everything_is_here(host: str, port: int) -> Sequence[str]:
    """A name server to which every name is this machine."""
    return ["127.0.0.1"]


@pytest.fixture
async def fetch(request: pytest.FixtureRequest, site: Site, clock: Clock) -> AsyncIterator[Fetch]:
    """Read a page as the activity that a worker runs: `await fetch("/path")`, or a whole address.

    Only site.example and other.example are open; every other name is closed, since it leads to this machine as well.
    """
    open_places = [HostPort("site.example", site.port), HostPort("other.example", site.port)]
    egress = Egress(allow=open_places, resolve=everything_is_here)
    timeout = 1 if "not_waited_for" in request.node.name else 15
    async with guarded_client(egress, timeout=timeout, user_agent="retinue/test (+ana@example.com)") as client:
        pages = Pages(client, deadline=2 * timeout, clock=clock, manners=SiteThrottle(gap=0))
        run = activities_by_name(build_activities(WebTools(pages)))["web.fetch"]

        async def call(where: str) -> dict[str, Any]:
            url = site.address(where) if where.startswith("/") else where
            return await ActivityEnvironment().run(run, {"url": url})

        yield call
