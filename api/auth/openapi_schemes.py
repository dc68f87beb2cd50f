"""How the OpenAPI document says that callers are recognised. Who they are, `api.auth.authenticator` finds out."""

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
    description="what POST /v1/session gives a browser; changes then need an `Origin` that is ours",
)
_PROXY = "proxy"


def add_security_schemes(app: FastAPI, *, alone: bool, user_header: str | None) -> None:
    """Complete the document by what the configuration decides.

    Args:
        app: Its routes tell that they want a credential by depending on `BEARER` and `SESSION`.
        alone: Whether who brings no credential is the one person of this installation.
        user_header: In which an authenticating proxy names the caller, if there is one.
    """
    plain: Callable[[], dict[str, Any]] = app.openapi

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            hoist(plain())
            _complete(plain(), alone=alone, user_header=user_header)
        return plain()

    app.openapi = document  # type: ignore[method-assign]  # FastAPI's own way to extend the document


def _complete(document: dict[str, Any], *, alone: bool, user_header: str | None) -> None:
    """Add the further ways to be recognised to what wants a credential; say of the rest that it wants none."""
    more: list[dict[str, list[str]]] = [{_PROXY: []}] if user_header else [{}] if alone else []
    if user_header:
        document["components"]["securitySchemes"][_PROXY] = {
            "type": "apiKey",
            "in": "header",
            "name": user_header,
            "description": "set by the authenticating proxy; what callers send under this name it removes",
        }
    for operations in document["paths"].values():
        for operation in operations.values():
            wanted = operation.get("security")
            operation["security"] = [*wanted, *more] if wanted else []
