"""The flows: consent by browser or by a code on another device, refresh, revocation."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import secrets
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import httpx
from authlib.oauth2.rfc6749.parameters import prepare_grant_uri, prepare_token_request
from authlib.oauth2.rfc7009 import prepare_revoke_token_request
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from authlib.oauth2.rfc8628 import DEVICE_CODE_GRANT_TYPE
from pydantic import SecretStr

from accounts.oauth.endpoint import Declined, Endpoint, text
from accounts.oauth.identity import Identity, identity
from accounts.oauth.metadata import Directory, Metadata
from accounts.oauth.providers import OAuthProvider
from accounts.oauth_flows import AccessToken, DeviceFlow, Flow, Tokens
from retinue.accounts.connection import SecretKind
from retinue.accounts.wire import ProviderInfo
from retinue.errors import AccountDisconnected, InvalidArguments, ServiceRefused, ServiceUnavailable

EARLY = timedelta(minutes=5)
"""A token is refreshed so long before its end, which is also by how much two clocks may differ."""
RENEWAL = 30.0
"""Seconds that a renewal may take with all its requests."""
REVOCATION = 20.0
"""Seconds that a withdrawal may take: the person waits for it, and the account is deleted here in any case."""
_TIMEOUT = 10.0
_WITHDRAWN = frozenset({"invalid_grant", "interaction_required", "consent_required", "login_required", "access_denied"})
_SHORTEST_INTERVAL = 5
_LONGEST_INTERVAL = 60
_LONGEST_LIFE = 10 * 365 * 86400
_LONGEST_TOKEN = 16 * 1024


def _utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class _Visit:
    """A provider with its description, for one request."""

    provider: OAuthProvider
    metadata: Metadata
    endpoint: Endpoint


class ProviderFlows:
    """Implements `OAuthFlows` for all providers; keeps nothing but what providers say of themselves.

    Args:
        providers: By id.
        client: Follows no redirects; closed by `close`.
        now: The clock, for tests.
    """

    def __init__(
        self,
        providers: Mapping[str, OAuthProvider],
        *,
        client: httpx.AsyncClient | None = None,
        now: Callable[[], datetime] = _utc_now,
    ) -> None:
        self._providers = providers
        self._client = client or httpx.AsyncClient(timeout=_TIMEOUT, follow_redirects=False)
        self._directory = Directory(self._client)
        self._now = now

    def providers(self) -> Sequence[ProviderInfo]:
        """Return the providers with OAuth, those without a client id included (`ready` false)."""
        return [
            ProviderInfo(
                id=provider.id,
                provider=provider.provider,
                title=provider.title,
                kind=SecretKind.BEARER,
                capabilities=list(provider.uses),
                ready=provider.client_id is not None,
                device=provider.device,
            )
            for provider in self._providers.values()
        ]

    def endpoints(self, provider_id: str) -> dict[str, str]:
        """Return the `Connection.endpoints` of its accounts: `api`, `imap`, `smtp`."""
        return dict(self._named(provider_id).endpoints)

    async def begin(
        self,
        provider_id: str,
        *,
        capabilities: Sequence[str],
        redirect_uri: str,
        state: str,
        address: str = "",
        read_only: Collection[str] = (),
    ) -> Flow:
        """Return where the browser goes.

        Args:
            provider_id: Where to sign in.
            capabilities: Scopes for these are asked for.
            redirect_uri: Where the provider sends the browser back.
            state: Comes back with the browser.
            address: A hint for whom to sign in.
            read_only: Those of the capabilities for which reading is enough.

        Raises:
            InvalidArguments: No such provider, it is not ready, or does not serve a capability.
            ServiceUnavailable: The provider does not answer.
        """
        visit = await self._visit(provider_id)
        scopes = self._scopes(visit.provider, capabilities, read_only)
        verifier, nonce = secrets.token_urlsafe(64), secrets.token_urlsafe(24)
        url = prepare_grant_uri(
            visit.metadata.authorization_endpoint,
            client_id=visit.provider.client_id,
            response_type="code",
            redirect_uri=redirect_uri,
            scope=" ".join(scopes),
            state=state,
            nonce=nonce,
            code_challenge=create_s256_code_challenge(verifier),
            code_challenge_method="S256",
            login_hint=address or None,
            **visit.provider.parameters,
        )
        memory = {"verifier": verifier, "nonce": nonce, "scopes": " ".join(scopes), "capability": capabilities[0]}
        return Flow(authorize_url=url, memory=memory)

    async def finish(
        self, provider_id: str, *, code: SecretStr, iss: str | None, redirect_uri: str, memory: dict[str, str]
    ) -> Tokens:
        """Exchange a code.

        Args:
            provider_id: Of the provider that was asked.
            code: From the redirect.
            iss: From the redirect (RFC 9207).
            redirect_uri: As it was asked with.
            memory: Of the `Flow`.

        Raises:
            InvalidArguments: The provider does not accept the code, or another provider answered.
            ServiceRefused: The provider does not know this installation, or grants nothing that lasts.
            ServiceUnavailable: It does not answer.
            ServiceBusy: It asks for a pause.
        """
        visit = await self._visit(provider_id)
        _check_issuer(visit, iss)
        scopes = visit.provider.for_resource(memory["capability"], memory["scopes"].split())
        body = prepare_token_request(
            "authorization_code",
            redirect_uri=redirect_uri,
            code=code.get_secret_value(),
            code_verifier=memory["verifier"],
            scope=" ".join(scopes) if visit.provider.use(memory["capability"]).resource else "",
        )
        return await self._granted(visit, body, memory)

    async def begin_device(
        self, provider_id: str, *, capabilities: Sequence[str], read_only: Collection[str] = ()
    ) -> DeviceFlow:
        """Return the code that the person types at the provider.

        Raises:
            InvalidArguments: No such provider, it is not ready, does not serve a capability, or has no such flow.
            ServiceUnavailable: The provider does not answer.
        """
        visit = await self._visit(provider_id)
        if not visit.provider.device or visit.metadata.device_authorization_endpoint is None:
            raise InvalidArguments(f"{visit.provider.title} cannot be connected by a code on another device")
        scopes = self._scopes(visit.provider, capabilities, read_only)
        body = urlencode({"scope": " ".join(scopes)})
        found = await visit.endpoint.ask(visit.metadata.device_authorization_endpoint, body)
        device_code, user_code = text(found, "device_code"), text(found, "user_code")
        where = text(found, "verification_uri") or text(found, "verification_url")
        if not (device_code and user_code and where.startswith(("https://", "http://127.0.0.1:"))):
            raise ServiceUnavailable(f"the answer of {visit.provider.title} cannot be read")
        whole = text(found, "verification_uri_complete")
        return DeviceFlow(
            user_code=user_code[:60],
            verification_uri=where,
            verification_uri_complete=whole if whole.startswith(where) else "",
            interval=min(max(_number(found, "interval"), _SHORTEST_INTERVAL), _LONGEST_INTERVAL),
            expires_in=min(max(_number(found, "expires_in"), 60), 1800),
            memory={"device_code": device_code, "scopes": " ".join(scopes), "capability": capabilities[0]},
        )

    async def poll_device(self, provider_id: str, *, memory: dict[str, str]) -> Tokens | None:
        """Return the tokens once the person has agreed; None while they have not.

        Raises:
            InvalidArguments: The person said no, or the code has expired.
            ServiceUnavailable: The provider does not answer.
            ServiceBusy: It asks for a pause.
        """
        visit = await self._visit(provider_id)
        body = prepare_token_request(DEVICE_CODE_GRANT_TYPE, device_code=memory["device_code"])
        try:
            return await self._granted(visit, body, memory)
        except Declined as error:
            if error.code in ("authorization_pending", "slow_down"):
                return None
            raise

    def token(self, provider_id: str, tokens: Tokens, *, capability: str) -> AccessToken | None:
        """Return the access token for a capability; None if it must be refreshed first.

        Raises:
            AccountDisconnected: The person has not allowed this capability.
        """
        provider = self._named(provider_id)
        _check_allowed(provider, tokens, capability)
        kept = tokens.of(provider.use(capability).resource)
        return kept if kept is not None and _is_fresh(kept, self._now()) else None

    async def refresh(self, provider_id: str, tokens: Tokens, *, capability: str | None = None) -> Tokens:
        """Return the tokens with a new access token; call it for one account at a time.

        Args:
            provider_id: Of the account.
            tokens: As they are stored.
            capability: For which a token is needed; None: any that was granted.

        Raises:
            AccountDisconnected: Consent was withdrawn, or there is no refresh token. If it was withdrawn for some
                capabilities alone, `token` says so of them.
            ServiceRefused: The provider does not know this installation, or answers for somebody else.
            ServiceUnavailable: The provider does not answer.
            ServiceBusy: It asks for a pause.
        """
        try:
            async with asyncio.timeout(RENEWAL):
                return await self._renewed(await self._visit(provider_id), tokens, capability)
        except TimeoutError:
            raise ServiceUnavailable(f"{self._named(provider_id).title} did not answer in time") from None

    async def revoke(self, provider_id: str, tokens: Tokens) -> bool:
        """Withdraw the consent at the provider; returns whether it offers that.

        Raises:
            ServiceUnavailable: It does not answer.
            ServiceBusy: It asks for a pause.
        """
        try:
            async with asyncio.timeout(REVOCATION):
                return await self._revoked(await self._visit(provider_id), tokens)
        except TimeoutError:
            raise ServiceUnavailable(f"{self._named(provider_id).title} did not answer in time") from None

    async def _revoked(self, visit: _Visit, tokens: Tokens) -> bool:
        if visit.metadata.revocation_endpoint is None:
            return False
        shown = [(tokens.refresh_token, "refresh_token")] if tokens.refresh_token else []
        shown = shown or [
            (each, "access_token") for each in (tokens.access_token, *(m.token for m in tokens.more.values()))
        ]
        for secret, hint in shown:
            body, _ = prepare_revoke_token_request(secret.get_secret_value(), hint)
            with contextlib.suppress(Declined):  # it does not know the token any more
                await visit.endpoint.ask(visit.metadata.revocation_endpoint, body, empty=True)
        return True

    def allowed(self, provider_id: str, scopes: Collection[str]) -> dict[str, str]:
        """Return what each capability may do: `read` or `write`."""
        return dict(self._named(provider_id).allowed(scopes))

    def manage(self, provider_id: str) -> str | None:
        """Return where people see and withdraw what they allowed."""
        return self._named(provider_id).manage

    async def close(self) -> None:
        """Close the HTTP client."""
        await self._client.aclose()

    def _named(self, provider_id: str) -> OAuthProvider:
        if provider_id not in self._providers:
            raise InvalidArguments("there is no such provider", hint=f"known: {', '.join(self._providers)}")
        return self._providers[provider_id]

    async def _visit(self, provider_id: str) -> _Visit:
        provider = self._named(provider_id)
        if provider.client_id is None:
            raise InvalidArguments(
                f"{provider.title} is not set up here", hint="the operator registers a client, see docs/accounts.md"
            )
        metadata = await self._directory.metadata(provider)
        return _Visit(provider, metadata, Endpoint(self._client, provider, metadata))

    @staticmethod
    def _scopes(provider: OAuthProvider, capabilities: Sequence[str], read_only: Collection[str]) -> list[str]:
        if not capabilities:
            raise InvalidArguments("say for what the account is to be used", hint=", ".join(provider.uses))
        return provider.scopes(capabilities, read_only=read_only)

    async def _granted(self, visit: _Visit, body: str, memory: Mapping[str, str]) -> Tokens:
        """Return the tokens of a first request.

        Raises:
            InvalidArguments: It does not accept the code.
        """
        title = visit.provider.title
        try:
            found = await visit.endpoint.ask(visit.metadata.token_endpoint, body)
        except Declined as error:
            if error.code in ("invalid_grant", "expired_token"):
                raise InvalidArguments(
                    f"{title} does not accept this code: it has expired or was used; begin again"
                ) from None
            if error.code == "access_denied":
                raise InvalidArguments(f"{title} was not allowed to be connected") from None
            raise
        asked = memory["scopes"].split()
        resource = visit.provider.use(memory["capability"]).resource
        # an answer that names no scopes granted all; one for a single API says nothing of the others
        scopes = asked if resource else text(found, "scope").split() or asked
        granted = list(visit.provider.allowed(scopes))
        if not granted:
            raise InvalidArguments(
                f"{title} was not allowed anything that is needed", hint="connect again and leave the boxes ticked"
            )
        who = await self._who(visit, found, nonce=memory.get("nonce"))
        access, refresh = self._secrets(visit.provider, found)
        if refresh is None:
            place = visit.provider.manage or title
            raise ServiceRefused(f"{title} gave no access that lasts", hint=f"remove it at {place} and connect again")
        return Tokens(
            access_token=access.token,
            refresh_token=refresh,
            obtained_at=access.obtained_at,
            expires_at=access.expires_at,
            resource=resource,
            scopes=scopes,
            subject=who.subject if who else "",
            address=who.address if who else "",
            capabilities=granted,
        )

    async def _renewed(self, visit: _Visit, tokens: Tokens, capability: str | None) -> Tokens:
        title = visit.provider.title
        if tokens.refresh_token is None:
            raise AccountDisconnected(f"{title} must be connected again: it gave no access that lasts")
        capability = capability or next(iter(visit.provider.allowed(tokens.scopes)), "")
        _check_allowed(visit.provider, tokens, capability)
        resource = visit.provider.use(capability).resource
        scopes = visit.provider.for_resource(capability, tokens.scopes) if resource else []
        body = prepare_token_request(
            "refresh_token", refresh_token=tokens.refresh_token.get_secret_value(), scope=" ".join(scopes)
        )
        try:
            found = await visit.endpoint.ask(visit.metadata.token_endpoint, body)
        except Declined as error:
            if error.code in _WITHDRAWN:
                raise AccountDisconnected(
                    f"{title} must be connected again: it no longer accepts the connection"
                ) from None
            raise
        return await self._updated(visit, tokens, found, resource)

    async def _updated(self, visit: _Visit, tokens: Tokens, found: Mapping[str, Any], resource: str) -> Tokens:
        """Return the tokens after a refresh: what was left out stays."""
        who = await self._who(visit, found, nonce=None)
        if (
            who is not None
            and tokens.subject
            and not hmac.compare_digest(who.subject.encode(), tokens.subject.encode())
        ):
            raise ServiceRefused(f"{visit.provider.title} answers for somebody else")
        access, refresh = self._secrets(visit.provider, found)
        changes: dict[str, Any] = {}
        if resource == tokens.resource:
            changes |= {
                "access_token": access.token,
                "obtained_at": access.obtained_at,
                "expires_at": access.expires_at,
            }
        else:
            changes["more"] = {**tokens.more, resource: access}
        if refresh is not None:
            changes["refresh_token"] = refresh
        if who is not None and who.address:
            changes["address"] = who.address
        if not resource and (scopes := text(found, "scope").split()):
            changes |= {"scopes": scopes, "capabilities": list(visit.provider.allowed(scopes))}
        return tokens.model_copy(update=changes)

    def _secrets(self, provider: OAuthProvider, found: Mapping[str, Any]) -> tuple[AccessToken, SecretStr | None]:
        access, refresh = text(found, "access_token"), text(found, "refresh_token")
        is_bearer = text(found, "token_type").lower() == "bearer"
        if not access or not is_bearer or max(len(access), len(refresh)) > _LONGEST_TOKEN:
            raise ServiceUnavailable(f"the answer of {provider.title} cannot be read")
        seconds, now = min(_number(found, "expires_in"), _LONGEST_LIFE), self._now()
        ends = now + timedelta(seconds=seconds) if seconds > 0 else None
        kept = AccessToken(token=SecretStr(access), obtained_at=now, expires_at=ends)
        return kept, SecretStr(refresh) if refresh else None

    async def _who(self, visit: _Visit, found: Mapping[str, Any], *, nonce: str | None) -> Identity | None:
        id_token = text(found, "id_token")
        if not id_token:
            return None
        return await identity(self._directory, visit.provider, visit.metadata, id_token, nonce=nonce, now=self._now())


def _check_issuer(visit: _Visit, iss: str | None) -> None:
    """Refuse an answer of another provider, which would get this one's code (RFC 9207).

    Raises:
        InvalidArguments: It is another's, or does not say whose it is though this provider always does.
    """
    expected = visit.metadata.authorization_response_iss_parameter_supported
    if expected if iss is None else not visit.metadata.fits(iss):
        raise InvalidArguments(f"another provider than {visit.provider.title} answered; begin again")


def _check_allowed(provider: OAuthProvider, tokens: Tokens, capability: str) -> None:
    if capability not in provider.allowed(tokens.scopes):
        raise AccountDisconnected(f"{provider.title} must be connected again: it was not allowed to use {capability}")


def _is_fresh(token: AccessToken, now: datetime) -> bool:
    if token.expires_at is None:
        return True
    begun = token.obtained_at or token.expires_at - EARLY * 2
    early = min(EARLY, (token.expires_at - begun) / 2)
    # one that was obtained in the future: a clock was set back, so its end is not known
    return begun - EARLY <= now < token.expires_at - early


def _number(found: Mapping[str, Any], name: str) -> int:
    try:
        return int(float(found.get(name) or 0))
    except (TypeError, ValueError, OverflowError):
        return 0
