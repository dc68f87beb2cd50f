"""What a provider says of itself (OpenID Connect Discovery, RFC 8414), read at first use and kept for an hour."""

from __future__ import annotations

import json
import time
from typing import Any
from urllib.parse import urlsplit

import httpx
from pydantic import BaseModel, ValidationError

from accounts.oauth.providers import OAuthProvider, is_loopback
from retinue.errors import ServiceError, ServiceRefused, ServiceUnavailable
from retinue.network.service_client import ExternalService

DEADLINE = 15.0
"""Seconds that one request to a provider may take."""
_KEPT = 3600.0
_MOST_BYTES = 512 * 1024
_TENANT = "{tenantid}"


class Metadata(BaseModel):
    """The parts that are used; addresses are checked."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    revocation_endpoint: str | None = None
    device_authorization_endpoint: str | None = None
    jwks_uri: str | None = None
    token_endpoint_auth_methods_supported: list[str] | None = None
    authorization_response_iss_parameter_supported: bool = False

    def names(self, issuer: str, *, tenant: str = "") -> bool:
        """Whether an issuer is this one; Microsoft's stands for each tenant's."""
        return issuer == self.issuer.replace(_TENANT, tenant or _TENANT)

    def fits(self, issuer: str) -> bool:
        """Whether an issuer is this one, at Microsoft that of any tenant."""
        before, found, after = self.issuer.partition(_TENANT)
        if not found:
            return issuer == self.issuer
        tenant = issuer.removeprefix(before).removesuffix(after)
        return issuer == f"{before}{tenant}{after}" and "/" not in tenant


class Directory:
    """Reads descriptions and keys, and keeps them; an old one serves while the provider does not answer.

    Args:
        client: Follows no redirects.
    """

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client
        self._kept: dict[str, tuple[float, Any]] = {}

    async def metadata(self, provider: OAuthProvider) -> Metadata:
        """Return what a provider says of itself.

        Raises:
            ServiceUnavailable: It does not answer, or not with a description.
            ServiceRefused: The description is another issuer's, or names an address without encryption.
        """
        issuer = provider.issuer.rstrip("/")
        path = urlsplit(issuer).path
        places = [f"{issuer}/.well-known/openid-configuration"]
        if not issuer.endswith("/v2.0"):
            origin = issuer.removesuffix(path) if path else issuer
            places.append(f"{origin}/.well-known/oauth-authorization-server{path}")
        for place in places:
            if (found := await self._json(provider, place)) is not None:
                return _checked(provider, found)
        raise ServiceUnavailable(f"{provider.title} does not say where its sign-in is", hint="check its issuer")

    async def keys(self, provider: OAuthProvider, address: str, *, again: bool = False) -> dict[str, Any]:
        """Return the keys by which a provider signs.

        Args:
            provider: Whose.
            address: Where it publishes them.
            again: Whether to ask again, since a signature names a key that is not among those kept.

        Raises:
            ServiceUnavailable: It does not answer.
        """
        if again:
            self._kept.pop(address, None)
        found = await self._json(provider, address)
        if found is None:
            raise ServiceUnavailable(f"{provider.title} does not publish its keys now")
        return found

    async def _json(self, provider: OAuthProvider, address: str) -> dict[str, Any] | None:
        """Return an object, None if there is none at that address."""
        at, kept = self._kept.get(address, (0.0, None))
        if kept is not None and time.monotonic() - at < _KEPT:
            return _object(kept)
        try:
            service = ExternalService(self._client, name=provider.title, deadline=DEADLINE, most_bytes=_MOST_BYTES)
            reply = await service.request("GET", address, headers={"Accept": "application/json"})
        except ServiceError:
            if kept is None:
                raise
            return _object(kept)
        found = read_object(reply.content) if reply.status == httpx.codes.OK else None
        if found is not None:
            self._kept[address] = (time.monotonic(), found)
        return found


def read_object(content: bytes) -> dict[str, Any] | None:
    """Return the JSON object in an answer; None if it is anything else, as the page of a gateway is."""
    try:
        return _object(json.loads(content))
    except (ValueError, RecursionError):
        return None


def _object(found: object) -> dict[str, Any] | None:
    return found if isinstance(found, dict) else None


def _checked(provider: OAuthProvider, found: dict[str, Any]) -> Metadata:
    try:
        told = Metadata.model_validate(found)
    except ValidationError:
        raise ServiceUnavailable(f"{provider.title} describes its sign-in in a way that is not understood") from None
    if told.issuer.rstrip("/") != provider.issuer.rstrip("/") and not provider.any_tenant:
        raise ServiceRefused(f"the description of {provider.title} names another issuer", hint="check its issuer")
    addresses = [told.authorization_endpoint, told.token_endpoint, told.revocation_endpoint, told.jwks_uri]
    for address in filter(None, [*addresses, told.device_authorization_endpoint]):
        local = is_loopback(provider.issuer) and is_loopback(address)
        if not address.startswith("https://") and not local:
            raise ServiceRefused(f"{provider.title} names an address without encryption, which is not used")
    return told
