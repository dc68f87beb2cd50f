"""Browser sessions: a cookie instead of an API key or a token, for pages that should store neither.

The cookie has 256 random bits. The table stores their hash, and the credential encrypted with them. Each request is
authenticated by that credential, so that a revoked key, an expired token or a lost role ends a session at once. Without
the cookie the table is useless.
"""

from __future__ import annotations

import hashlib
import secrets
from datetime import UTC, datetime, timedelta

from fastapi import Request, Response
from sqlalchemy import delete, insert, select

from api.http.same_origin import SESSION_COOKIE, session_of
from api.storage.encryption import decrypt, encrypt
from api.storage.tables import SESSIONS
from retinue.store import Store

LASTS = timedelta(hours=12)


class Sessions:
    """The table of sessions."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def begin(self, credential: str) -> str:
        """Create a session for this credential; return the cookie's value."""
        secret = secrets.token_urlsafe(32)
        row = {
            "id": _digest(secret),
            "credential": encrypt(secret, credential.encode(), about=_digest(secret)),
            "expires_at": datetime.now(UTC) + LASTS,
        }
        async with self._store.write() as session:
            await (await session.connection()).execute(insert(SESSIONS).values(row))
        return secret

    async def credential(self, secret: str) -> str | None:
        """Return the credential of a cookie; None if the session has ended or does not exist."""
        living = select(SESSIONS.c.credential).where(
            SESSIONS.c.id == _digest(secret), SESSIONS.c.expires_at > datetime.now(UTC)
        )
        async with self._store.read() as session:
            sealed: bytes | None = (await (await session.connection()).execute(living)).scalar_one_or_none()
        found = None if sealed is None else decrypt(secret, bytes(sealed), about=_digest(secret))
        return None if found is None else found.decode()

    async def end(self, secret: str) -> None:
        """End a session; idempotent."""
        async with self._store.write() as session:
            await (await session.connection()).execute(delete(SESSIONS).where(SESSIONS.c.id == _digest(secret)))


async def session_credential(request: Request) -> str | None:
    """Return the API key or token of the request's session cookie, if it has a live session.

    `api.http.same_origin` has already refused requests of other sites' pages.
    """
    secret = session_of(request.headers)
    return None if secret is None else await Sessions(request.app.state.house.keys.store).credential(secret)


def set_cookie(response: Response, request: Request, secret: str) -> None:
    """Set the cookie: HttpOnly, SameSite, and Secure if TLS is in use."""
    response.set_cookie(
        SESSION_COOKIE,
        secret,
        max_age=int(LASTS.total_seconds()),
        path="/",
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="lax",
    )


def remove_cookie(response: Response) -> None:
    """Remove the cookie."""
    response.delete_cookie(SESSION_COOKIE, path="/", httponly=True, samesite="lax")


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
