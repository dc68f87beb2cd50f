"""Bounds that hold before anything is parsed."""

from __future__ import annotations

from collections.abc import Collection
from http import HTTPStatus

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import problem

_PROBES = frozenset({"/healthz", "/readyz", "/metrics"})
MAX_BODY = 64 * 1024
"""Bytes. One update argument of 2 MiB would kill a workflow, so nothing near that may come in."""


class BodyLimit:
    """Refuses larger bodies with 413, by their declared length or, for streamed ones, as soon as they exceed it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with its whole body, or answer 413."""
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD", "OPTIONS"):
            await self._app(scope, receive, send)
            return
        body = await _read(scope, receive)
        if body is None:
            refusal = problem(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body is larger than {MAX_BODY // 1024} KiB; send less"
            )
            await refusal(scope, receive, send)
            return
        await self._app(scope, _replay(body, receive), send)


class OwnSite:
    """Refuses what another site's page sends, and names that are not ours.

    A browser tells which page a request comes from (`Origin`). The `Host` is checked too, since a stranger's name may
    be made to lead to this machine. Probes reach containers by address and read nothing that matters.
    """

    def __init__(self, app: ASGIApp, *, hosts: Collection[str]) -> None:
        self._app = app
        self._hosts = frozenset(hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer 403."""
        reason = self._objection(scope) if scope["type"] == "http" else None
        if reason:
            refusal = problem(HTTPStatus.FORBIDDEN, reason)
            await refusal(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _objection(self, scope: Scope) -> str | None:
        headers = dict(scope["headers"])
        host = headers.get(b"host", b"").decode("latin-1")
        if "*" not in self._hosts and scope["path"] not in _PROBES and _name(host) not in self._hosts:
            return "this host name is not one of ours; add it to RETINUE_ALLOWED_HOSTS if it should be"
        origin = headers.get(b"origin")
        changes = scope["method"] not in ("GET", "HEAD", "OPTIONS")
        if origin is not None and changes and origin.decode("latin-1").partition("://")[2] != host:
            return "another site's page may not change anything here"
        return None


def _name(host: str) -> str:
    """The name in a Host header, without its port."""
    return host.partition("]")[0] + "]" if host.startswith("[") else host.partition(":")[0]


async def _read(scope: Scope, receive: Receive) -> bytes | None:
    declared = dict(scope["headers"]).get(b"content-length", b"0")
    if not declared.isdigit() or int(declared) > MAX_BODY:
        return None
    chunks: list[bytes] = []
    more = True
    while more:
        message = await receive()
        chunks.append(message.get("body", b""))
        more = message.get("more_body", False)
        if sum(map(len, chunks)) > MAX_BODY:
            return None
    return b"".join(chunks)


def _replay(body: bytes, receive: Receive) -> Receive:
    sent = False

    async def replayed() -> Message:
        nonlocal sent
        if sent:
            return await receive()
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replayed
