"""What routes need: the service's parts, and who calls."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated
from urllib.parse import unquote

from fastapi import Depends, Header, Request

from accounts.oauth_flows import OAuthFlows
from accounts.sealing import Sealer
from accounts.services.accounts import AccountBook
from accounts.services.audit import Refusals
from accounts.services.consents import Consents
from accounts.services.rules import RuleBook
from accounts.services.steps import Steps
from retinue.accounts import caller_keys
from retinue.accounts.wire import ORGANISATION, PERSON, ROLES
from retinue.errors import InvalidArguments, NotAuthenticated
from retinue.store import Store
from retinue.temporal.keyring import Keyring

_CAPABILITY = "capability/"


@dataclass(frozen=True)
class Parts:
    """The service's parts, made when it starts."""

    store: Store
    sealer: Sealer
    root: Keyring
    book: AccountBook
    consents: Consents
    rules: RuleBook
    steps: Steps
    refusals: Refusals
    oauth: OAuthFlows


def parts(request: Request) -> Parts:
    """Return the service's parts."""
    found: Parts = request.app.state.parts
    return found


async def _caller(held: Annotated[Parts, Depends(parts)], authorization: Annotated[str, Header()] = "") -> str:
    scheme, _, key = authorization.partition(" ")
    found = caller_keys.caller(key, held.root) if scheme.lower() == "bearer" else None
    if found is None:
        await held.refusals.record("", "a caller without a valid key")
        raise NotAuthenticated("the caller's key is not valid")
    return found


async def _front_door(held: Annotated[Parts, Depends(parts)], caller: Annotated[str, Depends(_caller)]) -> str:
    """Only the front door may act for people: a stolen key of a capability opens nothing here."""
    if caller != caller_keys.PEOPLE:
        await held.refusals.record("", f"{caller.removeprefix(_CAPABILITY)} called the people's side")
        raise NotAuthenticated("the caller's key is not valid here")
    return caller


async def _capability(held: Annotated[Parts, Depends(parts)], caller: Annotated[str, Depends(_caller)]) -> str:
    if not caller.startswith(_CAPABILITY):
        await held.refusals.record("", "the front door called the workers' side")
        raise NotAuthenticated("the caller's key is not valid here")
    return caller.removeprefix(_CAPABILITY)


def _person(
    _: Annotated[str, Depends(_front_door)], person: Annotated[str, Header(alias=PERSON, max_length=2000)] = ""
) -> str:
    if not person:
        raise InvalidArguments(f"the header {PERSON} is missing")
    return unquote(person)


def _roles(roles: Annotated[str, Header(alias=ROLES, max_length=2000)] = "") -> set[str]:
    return {unquote(role) for role in roles.split(",") if role}


def _organisation(
    _: Annotated[str, Depends(_front_door)],
    organisation: Annotated[str | None, Header(alias=ORGANISATION, max_length=2000)] = None,
) -> str:
    if organisation is None:
        raise InvalidArguments(f"the header {ORGANISATION} is missing")
    return unquote(organisation)


Held = Annotated[Parts, Depends(parts)]
ThePerson = Annotated[str, Depends(_person)]
TheirRoles = Annotated[set[str], Depends(_roles)]
TheOrganisation = Annotated[str, Depends(_organisation)]
TheCapability = Annotated[str, Depends(_capability)]
