"""Translates errors to HTTP. No answer and no log line contains what was sent: requests hold passwords and codes."""

from __future__ import annotations

import logging

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from retinue import errors
from retinue.accounts.connection import BrokenAccount
from retinue.accounts.wire import Problem
from retinue.errors import RetinueError

_STATUS: tuple[tuple[type[RetinueError], int], ...] = (
    (errors.NotAuthenticated, 401),
    (errors.NotAllowed, 403),
    (errors.NotFound, 404),
    (errors.Conflict, 409),
    (errors.TooMany, 429),
    (errors.CallerError, 422),
    (errors.AccountDisconnected, 409),
    (errors.ServiceUnavailable, 503),
    (errors.ServiceBusy, 503),
    (errors.ServiceError, 502),
)
_log = logging.getLogger("retinue.accounts")


def install(app: FastAPI) -> None:
    """Answer all errors as `Problem`s."""
    app.add_exception_handler(RetinueError, _expected)
    app.add_exception_handler(RequestValidationError, _malformed)
    app.add_exception_handler(HTTPException, _of_http)
    app.add_exception_handler(Exception, _unexpected)


def too_large() -> JSONResponse:
    """Return the answer to a request that is too large."""
    return _answer(413, Problem(error="InvalidArguments", message="the request is too large"))


async def _expected(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RetinueError)
    status = next((status for kind, status in _STATUS if isinstance(error, kind)), 500)
    pause = error.retry_after if isinstance(error, errors.ServiceBusy | errors.TooMany) else None
    kind = next(one.__name__ for one in type(error).__mro__ if getattr(errors, one.__name__, None) is one)
    account = next((detail for detail in error.details if isinstance(detail, BrokenAccount)), None)
    return _answer(
        status, Problem(error=kind, message=error.message, hint=error.hint, retry_after=pause, account=account)
    )


async def _malformed(_: Request, error: Exception) -> JSONResponse:
    """Say what is wrong without repeating it."""
    assert isinstance(error, RequestValidationError)
    wrong = "; ".join(f"{'/'.join(map(str, e['loc']))}: {e['type']}" for e in error.errors()[:5])
    return _answer(422, Problem(error="InvalidArguments", message=f"the request is malformed: {wrong[:500]}"))


async def _of_http(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    return _answer(
        error.status_code,
        Problem(error="NotFound" if error.status_code == 404 else "CallerError", message="no such route"),
    )


async def _unexpected(_: Request, error: Exception) -> JSONResponse:
    _log.error("internal error: %s", type(error).__name__)
    return _answer(500, Problem(error="ServiceUnavailable", message="the accounts service has an internal problem"))


def _answer(status: int, problem: Problem) -> JSONResponse:
    return JSONResponse(
        problem.model_dump(mode="json", exclude_none=True), status, headers={"Cache-Control": "no-store"}
    )
