"""Installs the console in the API application: pages, static files, error pages."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any
from urllib.parse import quote

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.responses import RedirectResponse
from starlette.exceptions import HTTPException

from console import accounts, actions, pages
from console.caller import PASSED_ON
from console.forms import Unreadable
from console.rendering import digest as of_files
from console.rendering import files, page
from retinue.client import ClientError, NotAllowed, NotAuthenticated, NotFound, Unavailable, Unreachable
from retinue.client.errors import Refused, TooManyRequests

_files = APIRouter(include_in_schema=False)
_KINDS = {"js": "text/javascript", "css": "text/css", "svg": "image/svg+xml"}
_FOR_EVER = "public, max-age=31536000, immutable"


def install(app: FastAPI, *, user_header: str | None = None, problems: type[Exception] | None = None) -> None:
    """Serve the console at `/`.

    Args:
        app: The API application, which the pages call as the person at the browser.
        user_header: The header of an authenticating proxy, if any.
        problems: The base of the API's expected errors, which the application already answers.
    """
    app.state.console_passes_on = (*PASSED_ON, *([user_header.lower()] if user_header else []))
    for router in (_files, pages.router, actions.router, accounts.router):
        app.include_router(router)
    app.add_exception_handler(ClientError, _problem)
    app.add_exception_handler(Unreadable, _unreadable)
    if problems is not None:
        app.add_exception_handler(problems, partial(_signed_out, app.exception_handlers[problems]))
    app.add_exception_handler(HTTPException, partial(_nowhere, app.exception_handlers[HTTPException]))


@_files.get("/static/{digest}/{name}")
async def file(digest: str, name: str) -> Response:
    """Serve a static file. Its address has a digest of the content; other addresses are unknown."""
    content = files().get(name) if digest == of_files() else None
    if content is None:
        return Response(status_code=404)
    return Response(content, media_type=_KINDS[name.rpartition(".")[2]], headers={"Cache-Control": _FOR_EVER})


async def _problem(request: Request, error: Exception) -> Response:
    """Show an error page; redirect unauthenticated people to the sign-in page."""
    if isinstance(error, NotAuthenticated):
        to = request.url.path if request.method == "GET" else "/"
        return RedirectResponse(f"/signin?to={quote(to)}", 303)
    title, status = _title_and_status(error)
    again = request.url.path if isinstance(error, Unavailable | Unreachable) and request.method == "GET" else None
    return await page(request, "problem.html", None, title=title, here="", detail=str(error), again=again, code=status)


def _title_and_status(error: Exception) -> tuple[str, int]:
    status = error.status if isinstance(error, Refused) else 503
    match error:
        case NotFound():
            return "There is no such page", status
        case NotAllowed():
            return "You may not do this", status
        case TooManyRequests():
            return "Too many requests", status
        case Unavailable() | Unreachable():
            return "Not reachable at the moment", status
    return "That did not work", status


async def _signed_out(
    otherwise: Callable[[Request, Any], Response | Awaitable[Response]], request: Request, error: Exception
) -> Response:
    """Show the sign-in page to a browser that opens an address of the API, such as the way back from a provider.

    The status stays 401, by which failed sign-ins are counted.
    """
    answer = otherwise(request, error)
    answer = answer if isinstance(answer, Response) else await answer
    if answer.status_code != 401 or not _reads_pages(request):
        return answer
    to = f"{request.url.path}?{request.url.query}" if request.url.query else request.url.path
    shown = await pages.signin(request, to, code=answer.status_code)
    shown.headers["WWW-Authenticate"] = answer.headers["WWW-Authenticate"]
    return shown


def _reads_pages(request: Request) -> bool:
    return request.method == "GET" and "text/html" in request.headers.get("accept", "")


async def _nowhere(
    otherwise: Callable[[Request, Any], Response | Awaitable[Response]], request: Request, error: Exception
) -> Response:
    """Show a page for an unknown address; programs get the API's answer."""
    assert isinstance(error, HTTPException)
    if error.status_code == 404 and _reads_pages(request) and not request.url.path.startswith("/v1/"):
        return await pages.missing(request, None, "There is no such page")
    answer = otherwise(request, error)
    return answer if isinstance(answer, Response) else await answer


async def _unreadable(request: Request, error: Exception) -> Response:
    return await page(
        request, "problem.html", None, title="A value is not valid", here="", detail=str(error), again=None, code=422
    )
