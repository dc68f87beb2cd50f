"""The HTTP surface: the three routes that an OpenAI client and a health check need."""

import logging

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response, StreamingResponse
from starlette.exceptions import HTTPException

from offline.answers import complete
from offline.protocol import MODEL, BadRequest, ChatRequest, error_body

_log = logging.getLogger("offline")
_CREATED = 1_767_225_600


def create_app() -> FastAPI:
    """Build the server. It keeps no state, so any number may run."""
    app = FastAPI(title="Offline model", description="A rule-based stand-in for an OpenAI-compatible model server.")
    app.get("/healthz")(healthz)
    app.get("/v1/models")(models)
    app.get("/v1/models/{model}")(model_card)
    app.post("/v1/chat/completions", response_model=None)(chat_completions)
    app.exception_handler(RequestValidationError)(_malformed)
    app.exception_handler(HTTPException)(_http_error)
    app.exception_handler(BadRequest)(_bad_request)
    app.exception_handler(Exception)(_broken)
    return app


async def healthz() -> dict[str, str]:
    """Whether the server answers."""
    return {"status": "ok"}


def _card() -> dict[str, str | int]:
    return {"id": MODEL, "object": "model", "created": _CREATED, "owned_by": "retinue"}


async def models() -> dict[str, object]:
    """The models: one."""
    return {"object": "list", "data": [_card()]}


async def model_card(model: str) -> dict[str, str | int]:
    """One model by its id."""
    if model != MODEL:
        raise HTTPException(404, f"The model `{model}` does not exist; this server has `{MODEL}`.")
    return _card()


def chat_completions(request: ChatRequest) -> Response:
    """Answer a conversation. The work is pure computation, so it runs in a thread and blocks no other request."""
    completion = complete(request)
    if request.stream:
        return StreamingResponse(completion.events(request), media_type="text/event-stream")
    return JSONResponse(completion.body(request))


async def _malformed(request: Request, error: Exception) -> JSONResponse:
    del request
    first = error.errors()[0] if isinstance(error, RequestValidationError) else {"loc": (), "msg": str(error)}
    param = ".".join(str(part) for part in first["loc"] if part != "body") or None
    body = error_body(f"Invalid request: {param or 'body'}: {first['msg']}", kind="invalid_request_error", param=param)
    return JSONResponse(body, status_code=400)


async def _bad_request(request: Request, error: Exception) -> JSONResponse:
    del request
    return JSONResponse(error_body(str(error), kind="invalid_request_error"), status_code=400)


async def _http_error(request: Request, error: Exception) -> JSONResponse:
    del request
    status = error.status_code if isinstance(error, HTTPException) else 500
    text = str(error.detail) if isinstance(error, HTTPException) else str(error)
    code = "model_not_found" if "does not exist" in text else None
    return JSONResponse(error_body(text, kind="invalid_request_error", code=code), status_code=status)


async def _broken(request: Request, error: Exception) -> JSONResponse:
    """A bug here must look to the client like an outage of its model server: an error that may be retried."""
    _log.error("request failed: %s %s", request.url.path, type(error).__name__)
    return JSONResponse(error_body("The server failed to answer.", kind="server_error"), status_code=500)
