"""Errors in the format of OpenAI's protocols."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Coroutine
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from temporalio.service import RPCError

from api import errors
from api.protocols.openai.schemas import Error
from retinue.errors import RetinueError

_TYPES = {
    HTTPStatus.UNAUTHORIZED: "authentication_error",
    HTTPStatus.FORBIDDEN: "permission_error",
    HTTPStatus.NOT_FOUND: "not_found_error",
    HTTPStatus.TOO_MANY_REQUESTS: "rate_limit_error",
}
_RESOURCES = re.compile(
    r"/v1/(audio|batches|chat|completions|containers|conversations|embeddings|evals|files|fine_tuning|images|models"
    r"|moderations|realtime|responses|threads|uploads|vector_stores|videos)(/|$)"
)
"""Addresses of this protocol; `/v1/assistants` is our own."""
_KEPT_HEADERS = frozenset({"allow", "retry-after", "www-authenticate"})
_PROBLEM_SHAPE = (403, 408, 413, 415, 429, 431)
DOCUMENTED: dict[int | str, dict[str, Any]] = {
    code: {
        "description": errors.PROBLEMS[code]["description"],
        "content": {
            "application/json": {"schema": Error.model_json_schema(ref_template="#/components/schemas/{model}")},
            **(errors.PROBLEMS[code]["content"] if code in _PROBLEM_SHAPE else {}),
        },
    }
    for code in (400, 401, 403, 404, 408, 409, 413, 415, 422, 429, 431, 503)
}
"""Answer of errors before routing: a problem detail, as elsewhere."""


class OpenAiRoute(APIRoute):
    """A route whose errors have this protocol's format."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return a handler that translates errors."""
        answer = super().get_route_handler()

        async def answered(request: Request) -> Response:
            try:
                return await answer(request)
            except (RetinueError, RequestValidationError, HTTPException, RPCError) as error:
                return await refusal(request, error)

        return answered


async def refusal(
    request: Request, error: RetinueError | RequestValidationError | HTTPException | RPCError
) -> Response:
    """Return an error of the services in this protocol's format."""
    translated = await errors.translated(request, error)
    status = HTTPStatus(translated.status_code)
    content = json.loads(bytes(translated.body))
    headers = {name: value for name, value in translated.headers.items() if name in _KEPT_HEADERS}
    return JSONResponse(_error(status, content["detail"], content["type"]), status_code=status, headers=headers)


def _error(status: HTTPStatus, message: str, kind: str) -> dict[str, Any]:
    kinds = "api_error" if status >= 500 else "invalid_request_error"
    code = kind.rpartition(":")[2].replace("-", "_")
    return {"error": {"message": message, "type": _TYPES.get(status, kinds), "param": None, "code": code}}


def add_error_handlers(app: FastAPI) -> None:
    """Use this protocol's errors at every OpenAI address under `/v1`, also at unsupported ones."""
    otherwise = app.exception_handlers[HTTPException]

    async def translated(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        if _RESOURCES.match(request.url.path):
            return await refusal(request, error)
        answer = otherwise(request, error)
        return await answer if isinstance(answer, Awaitable) else answer

    app.add_exception_handler(HTTPException, translated)
