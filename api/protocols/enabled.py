"""Which protocols are enabled."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from fastapi import APIRouter, FastAPI

from api.protocols.a2a import routes as a2a
from api.protocols.ag_ui import routes as ag_ui
from api.protocols.mcp import routes
from api.protocols.openai import errors, responses
from api.protocols.openai import routes as openai

DOORS: Mapping[str, tuple[APIRouter, ...]] = MappingProxyType(
    {
        "mcp": (routes.router,),
        "openai": (openai.router, responses.router),
        "ag-ui": (ag_ui.router,),
        "a2a": (a2a.router,),
    }
)
"""By the names in `RETINUE_DOORS`. A new protocol is a line here and a name in `api.settings`."""


def enabled_routers(names: set[str]) -> Iterator[APIRouter]:
    """Return the routes of the protocols with these names."""
    yield from (router for name, routers in DOORS.items() if name in names for router in routers)


def add_error_handlers(app: FastAPI, names: set[str]) -> None:
    """Answer unknown addresses of a protocol in its own error format. Call it after `errors.install`."""
    if "openai" in names:
        errors.add_error_handlers(app)
