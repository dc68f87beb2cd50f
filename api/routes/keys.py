"""The authenticated caller and their API keys."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Path, Request
from pydantic import BaseModel, ConfigDict, Field

from api.auth.api_keys import LASTS, LONGEST, ApiKey, ApiKeys
from api.auth.authenticator import Authentication, AuthMethod
from api.auth.principals import Permission, Person, Role
from api.deps import Caller, StateAtRest, needs
from api.errors import PROBLEMS
from api.services.grants import Grants
from retinue.errors import InvalidArguments, NotAllowed, ServiceUnavailable
from retinue.times import Moment

router = APIRouter(prefix="/v1", tags=["identity"], responses=PROBLEMS)
_ALONE = "This is a single-user installation: anyone who reaches it acts as you. Serve it on loopback only."


class Me(BaseModel):
    """The authenticated caller."""

    name: str = Field(description="unique within the organisation")
    tenant: str = Field(description="the organisation; empty where there is only one")
    roles: list[Role]
    permissions: list[Permission] = Field(description="what you may do with this credential")
    recognised_by: AuthMethod | None = Field(description="by what")
    notice: str | None = Field(None, description="a notice about this credential")


class MakeKey(BaseModel):
    """A key to create."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]+$", description="name in lists")
    scopes: list[Permission] | None = Field(
        None,
        min_length=1,
        max_length=20,
        description="permissions of the key; default: all permissions that its owner has",
    )
    expires_at: Moment | None = Field(None, description="expiry; default: in 90 days, at most 366")


class ShownKey(BaseModel):
    """A key without its secret."""

    id: str
    name: str
    prefix: str = Field(description="first characters of the secret")
    scopes: list[Permission] = Field(description="empty: all permissions that its owner has")
    created_at: Moment
    expires_at: Moment
    last_used_at: Moment | None = Field(description="rounded to the hour")


class NewKey(ShownKey):
    """A new key."""

    key: str = Field(description="the secret; it is shown only once")


class ShownKeys(BaseModel):
    """The caller's keys."""

    keys: list[ShownKey]


@router.get("/me", summary="Read the caller", dependencies=[needs(Permission.READ)])
async def me(request: Request, person: Caller) -> Me:
    """Return the authenticated caller."""
    found = _recognised(request)
    how = found.how if found else None
    return Me(
        name=person.name,
        tenant=person.tenant,
        roles=sorted(person.roles),
        permissions=[permission for permission in Permission if person.may(permission)],
        recognised_by=how,
        notice=_ALONE if how is AuthMethod.SINGLE_USER else None,
    )


@router.get("/keys", summary="List API keys", dependencies=[needs(Permission.KEYS)])
async def list_keys(state: StateAtRest, person: Caller) -> ShownKeys:
    """List your keys, newest first, without their secrets."""
    return ShownKeys(keys=[ShownKey(**_shown(key)) for key in await ApiKeys(state.keys.store).of(person)])


@router.post("/keys", status_code=201, summary="Create an API key", dependencies=[needs(Permission.KEYS)])
async def make_key(body: MakeKey, request: Request, state: StateAtRest, person: Caller) -> NewKey:
    """Create a key. Its secret is in this answer only."""
    scopes = _scopes(body, person)
    expires = _expiry(body, _recognised(request))
    made, secret = await ApiKeys(state.keys.store).add(person, body.name, scopes, expires)
    return NewKey(**_shown(made), key=secret)


@router.delete("/keys/{key_id}", status_code=204, summary="Revoke an API key", dependencies=[needs(Permission.KEYS)])
async def revoke_key(key_id: Annotated[str, Path(max_length=40)], state: StateAtRest, person: Caller) -> None:
    """Revoke a key at once, and the grants that it created.

    Schedules that it created keep only the rights of a key that may not decide. If the answer is 503, the key is revoked
    but its grants are not; then repeat the request.
    """
    keys = ApiKeys(state.keys.store)
    await keys.end(person, key_id)
    state.rights_changed.set()
    try:
        await state.connect()
        await Grants(state.client, person.owner).revoke_given_through(key_id)
    except ServiceUnavailable as error:
        message = f"the key is revoked, but grants that it created may still count: {error.message}"
        raise ServiceUnavailable(message, hint="repeat the request soon") from None
    await keys.remove(person, key_id)


def _scopes(body: MakeKey, person: Person) -> frozenset[Permission] | None:
    """Return the permissions of the new key: never more than its creator's."""
    if body.scopes is None:
        return person.scopes
    refused = sorted(scope for scope in body.scopes if not person.may(scope))
    if refused:
        raise NotAllowed(f"a key cannot have more permissions than you; you lack {', '.join(refused)}")
    return frozenset(body.scopes)


def _expiry(body: MakeKey, found: Authentication | None) -> datetime:
    """Return the expiry of the new key: never after the key that creates it."""
    now = datetime.now(UTC)
    last = min(now + LONGEST, found.until if found and found.until else now + LONGEST)
    expires = body.expires_at or min(now + LASTS, last)
    if not now < expires <= last:
        raise InvalidArguments(f"expires_at must lie between now and {last.isoformat(timespec='seconds')}")
    return expires


def _recognised(request: Request) -> Authentication | None:
    found: Authentication | None = getattr(request.state, "recognised", None)
    return found


def _shown(key: ApiKey) -> dict[str, object]:
    return {
        "id": key.id,
        "name": key.name,
        "prefix": key.prefix,
        "scopes": sorted(key.scopes or ()),
        "created_at": key.created_at,
        "expires_at": key.expires_at,
        "last_used_at": key.last_used_at,
    }
