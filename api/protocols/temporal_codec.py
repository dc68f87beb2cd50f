"""The codec server: shows operators decrypted payloads in Temporal's Web UI and command line.

It speaks Temporal's remote codec protocol, `POST /codec/{namespace}/decode`, and only decodes. It is off unless
`RETINUE_CODEC_ORIGIN` names the one site whose pages may call it, the Web UI. It runs before the limits of the API: its
requests come from another site by nature, and a payload may be larger than other requests.
"""

from __future__ import annotations

from dataclasses import replace
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends, FastAPI, Header, Request, Response
from google.protobuf import json_format
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from temporalio.api.common.v1 import Payloads

from api import errors
from api.auth.principals import Permission
from api.deps import Caller, StateAtRest, needs
from api.errors import problem
from retinue.errors import CallerError, NotAllowed, NotFound, ServiceRefused
from retinue.temporal.codec import PayloadEncryption

PREFIX = "/codec/"
MAX_BODY = 8 * 1024 * 1024
"""Bytes. Temporal's largest payload, 2 MiB, is 2.7 MiB in JSON."""
_DEEPEST = 20
_ALLOWED = {
    "Access-Control-Allow-Methods": "POST",
    "Access-Control-Allow-Headers": "Authorization, Content-Type, X-Namespace",
    "Access-Control-Max-Age": "600",
}
_SAFE = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'",
}

router = APIRouter(prefix="/codec/{namespace}")


def served_namespace(
    namespace: str, state: StateAtRest, named: Annotated[str | None, Header(alias="X-Namespace")] = None
) -> None:
    """Refuse other namespaces: the keys of this process are for its own.

    Raises:
        NotFound: It is another namespace.
    """
    if {namespace, named or namespace} != {state.client.namespace}:
        raise NotFound("this codec server serves another namespace")


def whole_installation(person: Caller, state: StateAtRest) -> None:
    """Check the caller's organisation. Payloads have no owner, so only the installation's organisation may read them.

    Raises:
        NotAllowed: The caller belongs to another organisation.
    """
    if person.tenant != state.settings.retinue_codec_tenant:
        raise NotAllowed("only operators of the organisation that runs this installation may decode payloads")


@router.post("/decode", dependencies=[needs(Permission.DECODE), Depends(whole_installation), Depends(served_namespace)])
async def decode(request: Request, state: StateAtRest) -> Response:
    """Decrypt payloads; unencrypted ones are returned unchanged.

    Raises:
        CallerError: The body has no payloads.
        Undecipherable: A key is missing, or a payload was changed.
    """
    codec = state.client.data_converter.payload_codec
    if not isinstance(codec, PayloadEncryption) or codec.keyring is None:
        raise ServiceRefused("encryption is off here, so there is nothing to decode")
    payloads = _read(await _body(request))
    decoded = await replace(codec, required=False).decode(payloads.payloads)
    return Response(json_format.MessageToJson(Payloads(payloads=decoded), indent=None), media_type="application/json")


async def _body(request: Request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY:
            too_large = f"the body is larger than {MAX_BODY // 1024 // 1024} MiB; send less"
            raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, too_large)
    return bytes(body)


def _read(body: bytes) -> Payloads:
    try:
        return json_format.Parse(body, Payloads(), ignore_unknown_fields=True, max_recursion_depth=_DEEPEST)
    except (json_format.ParseError, UnicodeDecodeError, RecursionError):
        raise CallerError('the body holds no payloads; send {"payloads": [...]} as Temporal\'s Web UI does') from None


class CodecServer:
    """Serves `/codec/` before all other middleware; only pages of one exact origin can read the answers."""

    def __init__(self, app: ASGIApp, *, front: FastAPI, origin: str) -> None:
        self._app = app
        self._origin = origin
        self._codec_app = _codec_app(front)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass other requests on; answer those of the allowed origin and those not sent by a page."""
        if scope["type"] != "http" or not scope["path"].startswith(PREFIX):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        if headers.get("origin", self._origin) != self._origin:
            refusal = problem(HTTPStatus.FORBIDDEN, "pages of this site may not decode payloads", headers=_SAFE)
            await refusal(scope, receive, send)
        elif scope["method"] == "OPTIONS":
            await Response(status_code=204, headers=self._for_page(headers) | _ALLOWED)(scope, receive, send)
        else:
            await self._codec_app(_without_cookies(scope), receive, self._readable(headers, send))

    def _for_page(self, headers: Headers) -> dict[str, str]:
        """Add CORS headers. `Access-Control-Allow-Credentials` is left out on purpose: the page sends a token, no cookie."""
        return {"Access-Control-Allow-Origin": self._origin, "Vary": "Origin"} if "origin" in headers else {}

    def _readable(self, headers: Headers, send: Send) -> Send:
        async def readable(message: Message) -> None:
            if message["type"] == "http.response.start":
                page = self._for_page(headers) if message["status"] == HTTPStatus.OK else {}
                MutableHeaders(scope=message).update(_SAFE | page)
            await send(message)

        return readable


def _without_cookies(scope: Scope) -> Scope:
    """Authenticate by key or token; a browser session is not accepted."""
    return {**scope, "headers": [(name, value) for name, value in scope["headers"] if name != b"cookie"]}


def _codec_app(front: FastAPI) -> FastAPI:
    """Build a separate application with the API's state and authenticator."""
    door = FastAPI(openapi_url=None)
    door.state = front.state
    door.dependency_overrides = front.dependency_overrides
    errors.install(door)
    door.include_router(router)
    return door
