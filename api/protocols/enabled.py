"""Which doors are open."""

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
"""By the names that `RETINUE_DOORS` knows. A new door is a line here and a name in `api.settings`."""


def open_doors(names: set[str]) -> Iterator[APIRouter]:
    """The routes of the doors with these names."""
    yield from (router for name, routers in DOORS.items() if name in names for router in routers)


def tell_errors(app: FastAPI, names: set[str]) -> None:
    """Where no route answers at an address of a door, its own protocol's words say so. Call it after `errors.install`."""
    if "openai" in names:
        errors.tell_errors(app)
