"""Requests of the client to a provider's token, revocation and device endpoints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx
from authlib.oauth2.auth import ClientAuth

from accounts.oauth.metadata import DEADLINE, Metadata, read_object
from accounts.oauth.providers import OAuthProvider
from retinue.errors import ServiceError, ServiceRefused, ServiceUnavailable
from retinue.network.service_client import ExternalService

_MOST_BYTES = 256 * 1024
_ANSWERS = (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN)
"""Statuses that come with an error of OAuth."""
_LATER = frozenset({"temporarily_unavailable", "server_error"})
_OPERATOR = "the operator checks the client id, its secret and what the client is registered for"


class Declined(ServiceRefused):
    """The provider answered with an error of OAuth; `code` is one of its registered words, or empty."""

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message, hint=_OPERATOR)
        self.code = code


class Endpoint:
    """One provider's endpoints, asked as its client.

    Args:
        client: Follows no redirects.
        provider: Whose.
        metadata: Where they are.
    """

    def __init__(self, client: httpx.AsyncClient, provider: OAuthProvider, metadata: Metadata) -> None:
        self._service = ExternalService(client, name=provider.title, deadline=DEADLINE, most_bytes=_MOST_BYTES)
        self._provider = provider
        self._metadata = metadata

    async def ask(self, address: str, body: str, *, empty: bool = False) -> dict[str, Any]:
        """Send a form and return the object of the answer.

        Args:
            address: Where to.
            body: The encoded form, without the client's own fields.
            empty: Whether an answer without an object is right.

        Raises:
            Declined: An error of OAuth.
            ServiceRefused: The provider does not know this client.
            ServiceUnavailable: No answer, an internal problem, or an answer that is not OAuth's.
            ServiceBusy: It asks for a pause.
        """
        headers = {"Accept": "application/json", "Content-Type": "application/x-www-form-urlencoded"}
        address, headers, body = self._signed(address, headers, body)
        try:
            reply = await self._service.request(
                "POST", address, headers=headers, content=body.encode(), judged=_ANSWERS
            )
        except ServiceRefused as error:
            raise ServiceRefused(f"{self._provider.title} cannot be asked: {error.message}", hint=error.hint) from None
        found = read_object(reply.content)
        if reply.status == httpx.codes.OK and (found is not None or empty):
            return found or {}
        if found is None or not isinstance(found.get("error"), str):
            raise ServiceUnavailable(f"the answer of {self._provider.title} cannot be read (HTTP {reply.status})")
        raise self._declined(found["error"])

    def _signed(self, address: str, headers: dict[str, str], body: str) -> tuple[str, dict[str, str], str]:
        secret = self._provider.client_secret
        shown = ClientAuth(self._provider.client_id, secret.get_secret_value() if secret else "", self._method())
        signed: tuple[str, dict[str, str], str] = shown.prepare("POST", address, headers, body)
        return signed

    def _method(self) -> str:
        if self._provider.client_secret is None:
            return "none"
        known = self._metadata.token_endpoint_auth_methods_supported or ["client_secret_basic"]
        in_body = self._provider.secret_in_body or "client_secret_basic" not in known
        return "client_secret_post" if in_body else "client_secret_basic"

    def _declined(self, code: str) -> ServiceError:
        if code in _LATER:
            return ServiceUnavailable(f"{self._provider.title} has a problem and asks to try later")
        word = code if code.replace("_", "").isalpha() and code.isascii() and len(code) <= 40 else ""
        return Declined(f"{self._provider.title} declines: {word or 'for an unknown reason'}", word)


def text(found: Mapping[str, Any], name: str) -> str:
    """Return a text of an answer; empty if it is missing or of another type."""
    value = found.get(name)
    return value if isinstance(value, str) else ""
