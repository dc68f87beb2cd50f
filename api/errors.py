"""Errors of the HTTP API as RFC 9457 problem details. `detail` always says what to do."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.routing import Match
from temporalio.service import RPCError, RPCStatusCode

from retinue.errors import (
    CallerError,
    Conflict,
    InProgress,
    InvalidArguments,
    NotAllowed,
    NotAuthenticated,
    NotFound,
    RetinueError,
    ServiceError,
    TooMany,
)
from retinue.text import clip

MEDIA_TYPE = "application/problem+json"
_UNREADABLE = "the body cannot be read as JSON (UTF-8, not nested too deeply); send an object as /docs shows"
_OURS = "Value error, "
"""pydantic's prefix for messages of our own validators."""
_MAX_POINTER = 200
_log = logging.getLogger("retinue.api")


class Problem(BaseModel):
    """A problem detail (RFC 9457)."""

    type: str = Field("about:blank", description="kind of problem, as in 'urn:retinue:problem:not-found'")
    title: str
    status: int
    detail: str = Field(description="what went wrong and what to do")
    errors: list[dict[str, str]] | None = Field(None, description="for invalid input: JSON pointer and detail of each")


PROBLEMS: dict[int | str, dict[str, Any]] = {
    code: {"description": text, "content": {MEDIA_TYPE: {"schema": Problem.model_json_schema()}}}
    for code, text in {
        400: "The body is not JSON or nested too deeply, or the Idempotency-Key is malformed.",
        401: "Not authenticated: the key or token is missing or not valid here.",
        403: "Not allowed: a missing permission, a page of another site, a host name that is not allowed, or another person's decision.",
        404: "Not found, or not yours.",
        409: "Already decided, changed or closed; or, with Retry-After, the same request is in progress.",
        408: "The body did not arrive in time.",
        413: "The body is larger than 64 KiB.",
        415: "The body is not application/json, or it is compressed.",
        422: "A value is invalid, or the Idempotency-Key was used for another request.",
        429: "Rate limit exceeded, or too many failed sign-ins; Retry-After says how long to wait.",
        431: "More than 100 headers, or more than 32 KiB of headers.",
        503: "Temporal or the workflow worker does not answer; try again.",
    }.items()
}

_BY_ERROR: dict[type[RetinueError], HTTPStatus] = {
    NotFound: HTTPStatus.NOT_FOUND,
    Conflict: HTTPStatus.CONFLICT,
    NotAllowed: HTTPStatus.FORBIDDEN,
    NotAuthenticated: HTTPStatus.UNAUTHORIZED,
    TooMany: HTTPStatus.TOO_MANY_REQUESTS,
    InvalidArguments: HTTPStatus.UNPROCESSABLE_ENTITY,
    CallerError: HTTPStatus.BAD_REQUEST,
    ServiceError: HTTPStatus.SERVICE_UNAVAILABLE,
}


def problem(
    status: HTTPStatus,
    detail: str,
    *,
    kind: str | None = None,
    errors: list[dict[str, str]] | None = None,
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    """Build a problem response."""
    body = Problem(
        type=f"urn:retinue:problem:{kind or status.phrase.lower().replace(' ', '-')}",
        title=status.phrase,
        status=status,
        detail=detail,
        errors=errors,
    )
    return JSONResponse(
        body.model_dump(exclude_none=True), status_code=status, media_type=MEDIA_TYPE, headers=dict(headers or {})
    )


def install(app: FastAPI) -> None:
    """Make every error of the application a problem detail."""
    app.add_exception_handler(RetinueError, _retinue)
    app.add_exception_handler(RequestValidationError, _validation)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RPCError, _rpc)
    app.add_exception_handler(Exception, _bug)


def status_of(error: RetinueError) -> HTTPStatus:
    """Return the HTTP status of an expected error."""
    return next(_BY_ERROR[kind] for kind in type(error).__mro__ if kind in _BY_ERROR)


async def translated(
    request: Request, error: RetinueError | RequestValidationError | HTTPException | RPCError
) -> JSONResponse:
    """Return an expected error as a problem, for protocols with their own error format."""
    if isinstance(error, RetinueError):
        return await _retinue(request, error)
    if isinstance(error, HTTPException):
        return await _http(request, error)
    return await (_rpc if isinstance(error, RPCError) else _validation)(request, error)


async def _retinue(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RetinueError)
    status = status_of(error)
    detail = f"{error.message} ({error.hint})" if error.hint else error.message
    return problem(status, detail, headers=_when_again(error, status))


def _when_again(error: RetinueError, status: HTTPStatus) -> dict[str, str]:
    if isinstance(error, NotAuthenticated):
        return {"WWW-Authenticate": "Bearer" if error.hint else 'Bearer error="invalid_token"'}
    if isinstance(error, (InProgress, TooMany)):
        return {"Retry-After": str(error.retry_after)}
    return {"Retry-After": "2"} if status is HTTPStatus.SERVICE_UNAVAILABLE else {}


async def _validation(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    found = error.errors()
    if any(item["type"] == "json_invalid" for item in found):
        return problem(HTTPStatus.BAD_REQUEST, _UNREADABLE)
    if any(item["loc"] == ("body",) for item in found) and not _says_json(request):
        return problem(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "send the body as JSON, with the header Content-Type: application/json"
        )
    errors = [{"pointer": _pointer(item["loc"]), "detail": item["msg"].removeprefix(_OURS)} for item in found[:20]]
    problems = "; ".join(f"{item['pointer']}: {item['detail']}" for item in errors[:5])
    return problem(HTTPStatus.UNPROCESSABLE_ENTITY, f"some values are invalid: {problems}", errors=errors)


def _says_json(request: Request) -> bool:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    return kind == "application/json" or kind.endswith("+json")


def _pointer(loc: tuple[Any, ...]) -> str:
    """Return a JSON pointer into the body (or `/query/...`, `/path/...`), cut if the value is nested very deeply."""
    parts = [str(part).replace("~", "~0").replace("/", "~1") for part in loc]
    pointer = "/" + "/".join(parts[1:] if parts[0] == "body" else parts)
    return clip(pointer, _MAX_POINTER)


async def _http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    status = HTTPStatus(error.status_code)
    headers = {"Allow": ", ".join(_allowed(request))} if status is HTTPStatus.METHOD_NOT_ALLOWED else error.headers
    hint = {
        400: _UNREADABLE,
        404: "there is no such address; see /docs",
        405: "this address does not support this method; see /docs",
    }
    return problem(status, hint.get(status, str(error.detail)), headers=headers)


def _allowed(request: Request) -> list[str]:
    """Return the methods of this address: the router names only those of the first matching route."""
    found = [
        method
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE")
        if any(
            route.matches({**request.scope, "method": method})[0] is Match.FULL for route in request.app.router.routes
        )
    ]
    return ["GET", "HEAD", *found[1:]] if found[:1] == ["GET"] else found


async def _rpc(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RPCError)
    if error.status is RPCStatusCode.NOT_FOUND:
        return problem(HTTPStatus.NOT_FOUND, "there is no such assistant")
    _log.warning("temporal: %s", error.status.name)
    return problem(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "Temporal does not answer at the moment. Acknowledged requests are safe; try again in a few seconds.",
        headers={"Retry-After": "2"},
    )


async def _bug(_request: Request, error: Exception) -> JSONResponse:
    _log.error("request failed unexpectedly", exc_info=error)
    return problem(HTTPStatus.INTERNAL_SERVER_ERROR, "internal error (see the API's log)")
