"""JSON over HTTP at a provider, signed in with a person's bearer token."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Container, Mapping
from typing import Any
from urllib.parse import quote, urljoin, urlsplit

import httpx

from retinue.accounts.access import Access
from retinue.accounts.connection import Connection
from retinue.errors import AccountDisconnected, OutcomeUnknown, ServiceRefused, ServiceUnavailable
from retinue.network.service_client import MAX_BYTES, ExternalService, Reply
from retinue.settings import in_the_clear

_UNAUTHORIZED = 401
Json = dict[str, Any]


class RestApi:
    """The REST API of one provider, for one account.

    Args:
        http: Carries no credentials and follows no redirects; many accounts may share it.
        access: The account's connection; its token goes to the base address alone.
        base: Where relative addresses begin, as in `https://graph.microsoft.com/v1.0`.
        name: The service in a sentence, as in "the calendar at Microsoft".
        deadline: Seconds that one request may take.
        most_bytes: A longer answer is an error.
    """

    def __init__(
        self,
        http: httpx.AsyncClient,
        access: Access,
        *,
        base: str,
        name: str,
        deadline: float = 25,
        most_bytes: int = MAX_BYTES,
    ) -> None:
        self._service = ExternalService(http, name=name, deadline=deadline, most_bytes=most_bytes)
        self._access = access
        self._base = f"{base.rstrip('/')}/"
        self._name = name
        parts = urlsplit(self._base)
        if in_the_clear(parts.scheme, parts.hostname, access.connection.secret):
            raise ServiceRefused(f"the address of {name} must be https: a token would cross the network in the clear")

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str | int | float] | None = None,
        body: Json | bytes | None = None,
        headers: Mapping[str, str] | None = None,
        changes: bool = False,
        judged: Container[int] = (),
    ) -> Reply:
        """Send one request; a refused token is replaced once, and the request sent again.

        Args:
            method: The HTTP method.
            path: Relative to the base, or an address below it, such as a page that an answer names.
            params: The query.
            body: The JSON to send, or bytes whose type the headers name.
            headers: In addition to the token.
            changes: Whether it changes something, so that after a lost reply the outcome is unknown.
            judged: Statuses that the caller judges although `ExternalService.request` would raise.

        Raises:
            AccountDisconnected: The service refuses the token, and the one that was obtained instead.
            ServiceRefused: The address is outside of the base, or the service refuses permanently.
            ServiceError: See `ExternalService.request`.
        """
        connection = self._access.connection
        while True:
            reply = await self._service.request(
                method,
                self._address(path),
                headers={
                    "Accept": "application/json",
                    **({"Content-Type": "application/json"} if isinstance(body, dict) else {}),
                    **(headers or {}),
                    "Authorization": f"Bearer {connection.secret.get_secret_value()}",
                },
                content=json.dumps(body).encode() if isinstance(body, dict) else body,
                params=params,
                changes=changes,
                judged=_Also(judged),
            )
            if reply.status != _UNAUTHORIZED:
                return reply
            connection = await self._access.instead_of(connection)

    def read(self, reply: Reply) -> Json:
        """Return the JSON object that an answer is.

        Raises:
            ServiceUnavailable: It is something else, such as the page of a proxy.
        """
        try:
            found = json.loads(reply.content)
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            raise ServiceUnavailable(f"the answer of {self._name} makes no sense")
        return found

    async def pages(
        self,
        path: str,
        *,
        params: Mapping[str, str | int | float] | None = None,
        headers: Mapping[str, str] | None = None,
        next_field: str,
        most: int = 100,
    ) -> AsyncIterator[Json]:
        """Yield the pages of a list, each of which names the address of the next one in `next_field`.

        Raises:
            ServiceUnavailable: The list does not end after `most` pages.
            ServiceError: See `request`; a status other than 200 is a `ServiceRefused`.
        """
        address: str | None = path
        for _ in range(most):
            if address is None:
                return
            reply = await self.request("GET", address, params=params, headers=headers)
            if reply.status != httpx.codes.OK:
                raise ServiceRefused(f"{self._name} refused the request (HTTP {reply.status})")
            page = self.read(reply)
            yield page
            params, following = None, page.get(next_field)
            address = following if isinstance(following, str) and following else None
        if address is not None:
            raise ServiceUnavailable(f"the list of {self._name} does not end")

    def _address(self, path: str) -> str:
        """Return an absolute address below the base, since an answer must not send the token elsewhere."""
        try:
            absolute = urljoin(self._base, path)
            ours, theirs = urlsplit(self._base), urlsplit(absolute)
        except ValueError:
            raise self._elsewhere() from None
        if (theirs.scheme, theirs.netloc) != (ours.scheme, ours.netloc) or not theirs.path.startswith(ours.path):
            raise self._elsewhere()
        return absolute

    def _elsewhere(self) -> ServiceRefused:
        return ServiceRefused(f"{self._name} names an address on another server")


def part(text: str) -> str:
    """Return one part of a path, quoted."""
    return quote(text, safe="")


def objects(found: Json, name: str) -> list[Json]:
    """Return the objects of a list in an answer; what else it holds is left out."""
    listed = found.get(name)
    return [each for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []


def text_of(found: Json, name: str) -> str:
    """Return a text of an answer; empty where there is none."""
    value = found.get(name)
    return value if isinstance(value, str) else ""


def outcome_of(reply: Reply, read: Callable[[Reply], Json]) -> Json:
    """Return what `read` reads out of the answer to a change.

    Raises:
        OutcomeUnknown: The service says that it is done, in an answer that cannot be used.
        ServiceError: As `read`.
    """
    try:
        return read(reply)
    except ServiceUnavailable as error:
        if reply.status < 300:
            raise OutcomeUnknown(error.message, hint="nobody knows whether it was done") from None
        raise


def not_its_own(name: str, reply: Reply) -> ServiceUnavailable:
    """Return the error of an answer that is not the service's, as a proxy's page: that it knows nothing proves nothing."""
    return ServiceUnavailable(f"the answer of {name} is not its own (HTTP {reply.status})")


def lacks_consent(name: str, connection: Connection) -> AccountDisconnected:
    """Return the error of a token without the right to this."""
    told = f"{name} may not be used with the account {connection.name!r}: access was not allowed"
    return AccountDisconnected(told, hint="connect the account again")


class _Also:
    """Statuses that the caller judges, and that of a refused token."""

    def __init__(self, judged: Container[int]) -> None:
        self._judged = judged

    def __contains__(self, status: object) -> bool:
        return status == _UNAUTHORIZED or status in self._judged
