"""Browser sessions: exchange an API key or token for a cookie that scripts cannot read."""

from __future__ import annotations

from datetime import UTC, datetime

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from api.auth.principals import Permission
from api.auth.sessions import LASTS, Sessions, remove_cookie, set_cookie
from api.deps import Caller, StateAtRest, needs
from api.errors import PROBLEMS
from api.http.same_origin import session_of
from retinue.errors import InvalidArguments
from retinue.times import Moment

router = APIRouter(prefix="/v1/session", tags=["session"], responses=PROBLEMS)


class SignedIn(BaseModel):
    """A new session."""

    name: str = Field(description="the signed-in person")
    expires_at: Moment = Field(description="latest end; it ends earlier with its key or token")


@router.post("", status_code=201, summary="Sign in", dependencies=[needs(Permission.READ)])
async def sign_in(request: Request, response: Response, state: StateAtRest, me: Caller) -> SignedIn:
    """Set the cookie `retinue_session` for the key or token in `Authorization: Bearer ...`.

    It is sent in that header, as for every other route, since another site's page cannot send it without permission.
    """
    scheme, _, credential = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not credential.strip():
        raise InvalidArguments("there is no key or token", hint="send the header Authorization: Bearer <key or token>")
    expires = datetime.now(UTC) + LASTS
    set_cookie(response, request, await Sessions(state.keys.store).begin(credential.strip()))
    return SignedIn(name=me.name, expires_at=expires)


@router.delete("", status_code=204, summary="Sign out", dependencies=[needs(Permission.READ)])
async def sign_out(request: Request, response: Response, state: StateAtRest) -> None:
    """End the session of the cookie; without a cookie do nothing."""
    secret = session_of(request.headers)
    if secret is not None:
        await Sessions(state.keys.store).end(secret)
    remove_cookie(response)
