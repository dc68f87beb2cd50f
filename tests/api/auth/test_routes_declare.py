"""Every route says what it needs, and reading changes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fastapi.routing import APIRoute

from api.app import create_app
from api.deps import Needs


def routes(router: Any) -> Iterator[APIRoute]:
    """All of them, however deep they are included."""
    for route in router.routes:
        yield from [route] if isinstance(route, APIRoute) else routes(getattr(route, "original_router", NONE))


class _None:
    routes: tuple[Any, ...] = ()


NONE = _None()


def declared(route: APIRoute) -> int:
    return sum(isinstance(dependency.dependency, Needs) for dependency in route.dependencies)


PUBLIC = {"/healthz", "/readyz", "/metrics", "/docs", "/docs.css", "/.well-known/agent-card.json"}
"""Nobody need be recognised for these. Each says nothing that a stranger may not know."""


def of_the_console(route: APIRoute) -> bool:
    """Whether it is a page: it asks the routes here, with what the browser brought along, and holds nothing itself."""
    return route.endpoint.__module__.startswith("console.")


def test_every_route_declares_exactly_one_permission() -> None:
    """Also those of the doors, which stand in no document."""
    found = [route for route in routes(create_app()) if route.path not in PUBLIC and not of_the_console(route)]
    assert {"/v1/me", "/mcp", "/mcp/{capability}", "/a2a", "/ag-ui", "/v1/chat/completions"} <= {
        route.path for route in found
    }
    assert [(route.path, declared(route)) for route in found if declared(route) != 1] == []
