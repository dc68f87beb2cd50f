"""Limits that apply before parsing and authentication."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Mapping
from http import HTTPStatus

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import problem
from api.http.same_origin import is_own_origin

MAX_BODY = 64 * 1024
"""Bytes. One update argument of 2 MiB would kill a workflow, so bodies stay far below that."""
MAX_HEADERS = 100
MAX_HEADER_BYTES = 32 * 1024
MAX_DEPTH = 100
"""Nesting levels of objects and lists. Deeper ones cost recursion in later readers and writers."""
DRAINED = 16 * 1024 * 1024
"""Bytes of a refused body that are read and dropped: a client still sending at the close would lose the answer."""
BODY_SECONDS = 10.0
"""Time limit of a body: a slow one holds a connection at no cost for its sender."""
_READS = frozenset({"GET", "HEAD", "OPTIONS"})
_PROGRAMS = ("/v1", "/mcp", "/codec")
"""Addresses for programs accept only JSON."""
_PARTS = re.compile(rb'\\.|["\[\]{}]', re.DOTALL)


class _Refused(Exception):
    """The request is refused. `unread`: (more of) its body may still arrive."""

    def __init__(self, status: HTTPStatus, detail: str, *, unread: bool = False) -> None:
        super().__init__()
        self.status = status
        self.detail = detail
        self.unread = unread


class BodyLimitMiddleware:
    """Rejects oversized or malformed requests; passes others on with their whole body."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with its whole body, or answer 408, 413, 415, 431 or 400."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            _check_headers(scope)
            body = None if scope["method"] in _READS else await _body(scope, receive)
        except _Refused as refused:
            if refused.unread:
                await _drain(scope, receive)
            refusal = problem(refused.status, refused.detail, headers={"Connection": "close"})
            await refusal(scope, receive, send)
        except _Gone:
            pass
        else:
            await self._app(scope, receive if body is None else _replay(body, receive), send)


class _Gone(Exception):
    """The client disconnected before the body was complete."""


def _check_headers(scope: Scope) -> None:
    headers = scope["headers"]
    if len(headers) > MAX_HEADERS or sum(len(name) + len(value) for name, value in headers) > MAX_HEADER_BYTES:
        raise _Refused(
            HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
            f"there are more than {MAX_HEADERS} headers, or more than {MAX_HEADER_BYTES // 1024} KiB of headers; send less",
            unread=True,
        )


async def _body(scope: Scope, receive: Receive) -> bytes:
    """Return the body: uncompressed, small enough, in time, JSON only, not too deep."""
    headers = dict(scope["headers"])
    if headers.get(b"content-encoding", b"identity").strip().lower() != b"identity":
        raise _Refused(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "send the body uncompressed, without a Content-Encoding", unread=True
        )
    declared = headers.get(b"content-length", b"0")
    if not declared.isdigit() or len(declared) > 10 or int(declared) > MAX_BODY:
        raise _too_large(unread=True)
    try:
        async with asyncio.timeout(BODY_SECONDS):
            body = await _read(receive)
    except TimeoutError:
        raise _Refused(HTTPStatus.REQUEST_TIMEOUT, f"the body did not arrive within {BODY_SECONDS:g} s") from None
    kind = headers.get(b"content-type", b"").decode("latin-1")
    if body and not is_json(kind) and not (is_form(kind) and _from_own_page(scope, headers)):
        raise _Refused(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "send the body as JSON, with the header Content-Type: application/json"
        )
    if not is_form(kind) and _depth_exceeds(body, MAX_DEPTH):
        raise _Refused(
            HTTPStatus.BAD_REQUEST,
            f"the body is not JSON, or is nested more than {MAX_DEPTH} levels deep",
        )
    return body


def is_json(content_type: str) -> bool:
    """Return whether a Content-Type is JSON. Pages cannot send that to another site without permission."""
    kind = content_type.partition(";")[0].strip().lower()
    return kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json"))


def is_form(content_type: str) -> bool:
    """Return whether a Content-Type is that of a form."""
    return content_type.partition(";")[0].strip().lower() == "application/x-www-form-urlencoded"


def _from_own_page(scope: Scope, headers: Mapping[bytes, bytes]) -> bool:
    """Return whether a form is the console's: not for the API, and from our own page by the browser's headers.

    Any site can make a browser send a form, so the header is required here; missing means rejected.
    """
    origin = headers.get(b"origin", b"").decode("latin-1")
    ours = is_own_origin(scope, origin) if origin else headers.get(b"sec-fetch-site") == b"same-origin"
    return ours and not scope["path"].startswith(_PROGRAMS)


async def _read(receive: Receive) -> bytes:
    body = bytearray()
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _Gone
        body += message.get("body", b"")
        more = message.get("more_body", False)
        if len(body) > MAX_BODY:
            raise _too_large(unread=more)
    return bytes(body)


async def _drain(scope: Scope, receive: Receive) -> None:
    """Drain a refused body within limits. A client that waits for `100 Continue` gets none."""
    if any(name == b"expect" for name, _ in scope["headers"]):
        return
    left = DRAINED
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(BODY_SECONDS):
            while left > 0:
                message = await receive()
                left -= len(message.get("body", b""))
                if message["type"] == "http.disconnect" or not message.get("more_body", False):
                    return


def _too_large(*, unread: bool) -> _Refused:
    text = f"the body is larger than {MAX_BODY // 1024} KiB; send less"
    return _Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, text, unread=unread)


def _depth_exceeds(body: bytes, most: int) -> bool:
    """Return whether lists and objects are nested deeper, by counting brackets in one pass."""
    if body.count(b"[") + body.count(b"{") <= most:
        return False
    depth, in_text = 0, False
    for part in _PARTS.findall(body):
        if part == b'"':
            in_text = not in_text
        elif not in_text and part in b"[{":
            depth += 1
            if depth > most:
                return True
        elif not in_text and part in b"]}":
            depth -= 1
    return False


def _replay(body: bytes, receive: Receive) -> Receive:
    sent = False

    async def replayed() -> Message:
        nonlocal sent
        if sent:
            return await receive()
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replayed
