"""Browser security: which origins may call, and the security headers of our answers.

A browser sends cookies with every request of any page. So a change with our session cookie needs the browser's header
that the page is ours (`Origin`, or `Sec-Fetch-Site`), and its body must be JSON, which `api.http.body_limits` checks and
no form can send. Without a cookie only a single-user installation could be abused: there, too, a foreign page changes
nothing.
"""

from __future__ import annotations

from collections.abc import Collection
from http import HTTPStatus
from http.cookies import CookieError, SimpleCookie

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import problem

SESSION_COOKIE = "retinue_session"
_PROBES = frozenset({"/healthz", "/readyz", "/metrics"})
_READS = frozenset({"GET", "HEAD", "OPTIONS"})
_NOTHING = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
_PAGE = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; font-src 'self'; "
    "manifest-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
)
_ALWAYS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
_CORS_REQUEST = "authorization, content-type, idempotency-key, if-none-match, last-event-id"
_CORS_ANSWER = "ETag, Idempotency-Replayed, Location, RateLimit, RateLimit-Policy, Retry-After"


class SecurityHeadersMiddleware:
    """Adds headers against content sniffing, framing, caching and leaking to every answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; headers that the answer sets itself stay."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in {**_ALWAYS, **_by_kind(scope, headers)}.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, guarded)


def _by_kind(scope: Scope, headers: MutableHeaders) -> dict[str, str]:
    page = headers.get("content-type", "").startswith("text/html")
    policy = {"Content-Security-Policy": _PAGE if page else _NOTHING}
    kept = scope["path"].startswith("/static/")
    return policy if kept else {**policy, "Cache-Control": "no-store"}


class SameOriginMiddleware:
    """Refuses requests of other sites' pages and unknown host names; answers allowed origins.

    The `Host` is checked against DNS rebinding. Health probes use the container's address and read nothing sensitive.
    """

    def __init__(self, app: ASGIApp, *, hosts: Collection[str], origins: Collection[str] = ()) -> None:
        self._app = app
        self._hosts = frozenset(hosts)
        self._origins = frozenset(origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, answer 403, or answer a preflight request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        reason = self._objection(scope, headers)
        if reason:
            await problem(HTTPStatus.FORBIDDEN, reason)(scope, receive, send)
        elif headers.get("origin") not in self._origins:
            await self._app(scope, receive, send)
        else:
            await self._for_allowed_site(scope, headers, receive, send)

    async def _for_allowed_site(self, scope: Scope, headers: Headers, receive: Receive, send: Send) -> None:
        """Answer with CORS headers. Cookies are never allowed: such a site sends its own credentials."""
        answer = {
            "Access-Control-Allow-Origin": headers["origin"],
            "Access-Control-Expose-Headers": _CORS_ANSWER,
            "Cross-Origin-Resource-Policy": "cross-origin",
        }

        async def readable(message: Message) -> None:
            if message["type"] == "http.response.start":
                found = MutableHeaders(scope=message)
                found.update(answer)
                found.add_vary_header("Origin")
            await send(message)

        if scope["method"] == "OPTIONS" and "access-control-request-method" in headers:
            await _allow(readable)
        else:
            await self._app(scope, receive, readable)

    def _objection(self, scope: Scope, headers: Headers) -> str | None:
        host, origin = headers.get("host", ""), headers.get("origin")
        if "*" not in self._hosts and scope["path"] not in _PROBES and _name(host) not in self._hosts:
            return "this host name is not allowed; add it to RETINUE_ALLOWED_HOSTS if it should be"
        if scope["method"] in _READS:
            return None
        fetched = headers.get("sec-fetch-site")
        ours = is_own_origin(scope, origin) if origin is not None else fetched in ("same-origin", "none")
        if session_of(headers):
            return None if ours and fetched in (None, "same-origin", "none") else _FOREIGN
        if ours or origin in self._origins or (origin is None and fetched is None):
            return None
        return _FOREIGN


def is_own_origin(scope: Scope, origin: str) -> bool:
    """Return whether this origin is ours: the scheme, host and port of this request.

    Behind a proxy that ends TLS the scheme is its `X-Forwarded-Proto`, which uvicorn accepts from addresses in
    `FORWARDED_ALLOW_IPS` (this machine by default).
    """
    return origin == f"{scope['scheme']}://{Headers(scope=scope).get('host', '')}"


_FOREIGN = "another site's page may not change anything here"


def session_of(headers: Headers) -> str | None:
    """Return the session cookie of a request, if any."""
    try:
        found = SimpleCookie(headers.get("cookie", "")).get(SESSION_COOKIE)
    except CookieError:
        return None
    return found.value if found is not None else None


async def _allow(send: Send) -> None:
    headers = {
        "Access-Control-Allow-Methods": "GET, POST, PUT, PATCH, DELETE",
        "Access-Control-Allow-Headers": _CORS_REQUEST,
        "Access-Control-Max-Age": "600",
    }
    raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": 204, "headers": raw})
    await send({"type": "http.response.body", "body": b""})


def _name(host: str) -> str:
    """Return the name in a Host header, without its port; empty if the port is invalid."""
    name, colon, port = (host if not host.endswith("]") else f"{host}:0").rpartition(":")
    return host if not colon else name if port.isdigit() or not port else ""
