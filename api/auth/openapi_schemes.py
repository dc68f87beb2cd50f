"""Security schemes of the OpenAPI document. `api.auth.authenticator` authenticates."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import FastAPI
from fastapi.security import APIKeyCookie, HTTPBearer

from api.http.openapi_page import hoist
from api.http.same_origin import SESSION_COOKIE

BEARER = HTTPBearer(
    scheme_name="bearer", auto_error=False, description="a personal API key, or a token of the identity provider"
)
SESSION = APIKeyCookie(
    name=SESSION_COOKIE,
    scheme_name="session",
    auto_error=False,
    description="the cookie set by POST /v1/session; changes then need our own `Origin`",
)
_PROXY = "proxy"


def add_security_schemes(app: FastAPI, *, alone: bool, user_header: str | None) -> None:
    """Add the configured security schemes to the document.

    Args:
        app: Its routes declare that they need a credential by depending on `BEARER` and `SESSION`.
        alone: Whether this is a single-user installation.
        user_header: The header of an authenticating proxy, if any.
    """
    plain: Callable[[], dict[str, Any]] = app.openapi

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            hoist(plain())
            _complete(plain(), alone=alone, user_header=user_header)
        return plain()

    app.openapi = document  # type: ignore[method-assign]  # FastAPI's own way to extend the document


def _complete(document: dict[str, Any], *, alone: bool, user_header: str | None) -> None:
    """Add the other schemes to operations with a credential; mark the rest as public."""
    more: list[dict[str, list[str]]] = [{_PROXY: []}] if user_header else [{}] if alone else []
    if user_header:
        document["components"]["securitySchemes"][_PROXY] = {
            "type": "apiKey",
            "in": "header",
            "name": user_header,
            "description": "set by the authenticating proxy, which removes the callers' own header",
        }
    for operations in document["paths"].values():
        for operation in operations.values():
            wanted = operation.get("security")
            operation["security"] = [*wanted, *more] if wanted else []
