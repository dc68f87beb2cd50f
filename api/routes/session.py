"""Signing in and out of a browser: an API key or a token becomes a cookie that no script can read."""

from __future__ import annotations

from datetime import UTC, datetime

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from api.auth.principals import Permission
from api.auth.sessions import LASTS, Sessions, hand_out, take_back
from api.deps import Caller, StateAtRest, needs
from api.errors import PROBLEMS
from api.http.same_origin import session_of
from retinue.errors import InvalidArguments
from retinue.times import Moment

router = APIRouter(prefix="/v1/session", tags=["session"], responses=PROBLEMS)


class SignedIn(BaseModel):
    """A session that has begun."""

    name: str = Field(description="whose it is")
    expires_at: Moment = Field(description="until then at the longest: it ends with the key or token that began it")


@router.post("", status_code=201, summary="Sign a browser in", dependencies=[needs(Permission.READ)])
async def sign_in(request: Request, response: Response, state: StateAtRest, me: Caller) -> SignedIn:
    """Give the cookie `retinue_session` in place of the key or token in `Authorization: Bearer ...`.

    It comes in that header, as to every other route, since no other site's page can send that without being allowed to.
    """
    scheme, _, credential = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not credential.strip():
        raise InvalidArguments(
            "there is nothing to sign in with", hint="send the header Authorization: Bearer <key or token>"
        )
    expires = datetime.now(UTC) + LASTS
    hand_out(response, request, await Sessions(state.keys.store).begin(credential.strip()))
    return SignedIn(name=me.name, expires_at=expires)


@router.delete("", status_code=204, summary="Sign out", dependencies=[needs(Permission.READ)])
async def sign_out(request: Request, response: Response, state: StateAtRest) -> None:
    """End the session that the cookie stands for; without one nothing happens."""
    secret = session_of(request.headers)
    if secret is not None:
        await Sessions(state.keys.store).end(secret)
    take_back(response)
