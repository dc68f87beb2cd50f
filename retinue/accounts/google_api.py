"""Google's REST APIs: JSON in both directions, and Google's errors as those of `retinue.errors`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from urllib.parse import urlencode

import httpx

from retinue.accounts.access import Access
from retinue.accounts.rest_api import Json, RestApi, lacks_consent, not_its_own, objects, outcome_of, text_of
from retinue.errors import (
    Conflict,
    NotFound,
    RetinueError,
    ServiceRefused,
)
from retinue.network.service_client import MAX_BYTES, Reply, pause_asked, wants_pause

Params = Iterable[tuple[str, str | int]]
_TOO_OFTEN = {
    "rateLimitExceeded",
    "userRateLimitExceeded",
    "quotaExceeded",
    "dailyLimitExceeded",
    "RATE_LIMIT_EXCEEDED",
}
_NO_RIGHT = {"insufficientPermissions", "ACCESS_TOKEN_SCOPE_INSUFFICIENT"}
_ABSENT = (404, 410)


class GoogleApi:
    """One API in the name of one account.

    Args:
        http: See `RestApi`.
        access: The account's connection; its endpoint `api` replaces Google's own host.
        host: Of the API, as in "gmail.googleapis.com".
        path: Where its addresses begin, as in "/gmail/v1/users/me".
        name: The service in a sentence, as in "Gmail".
        most_bytes: A longer answer is an error.
    """

    def __init__(
        self,
        http: httpx.AsyncClient,
        access: Access,
        *,
        host: str,
        path: str,
        name: str,
        most_bytes: int = MAX_BYTES,
    ) -> None:
        base = access.connection.endpoints.get("api", f"https://{host}").rstrip("/")
        self._rest = RestApi(http, access, base=f"{base}{path}", name=name, most_bytes=most_bytes)
        self._access = access
        self._name = name

    async def get(self, path: str, params: Params = ()) -> Json:
        """Read something.

        Args:
            path: Relative, its parts quoted by `part`.
            params: The query.

        Raises:
            NotFound: It is not there.
            ServiceError: See `change`, and `ExternalService.request`.
        """
        return self._read(await self._rest.request("GET", _address(path, params), judged=(403,)))

    async def change(
        self,
        method: str,
        path: str,
        body: Json | bytes | None = None,
        *,
        params: Params = (),
        headers: Mapping[str, str] | None = None,
    ) -> Json:
        """Change something, and return the answer, which may be empty.

        Args:
            method: The HTTP method.
            path: Relative, its parts quoted by `part`.
            body: An object, or bytes whose type `headers` names.
            params: The query.
            headers: Such as `If-Match`.

        Raises:
            NotFound: It is not there (any more).
            Conflict: It exists already, or was changed meanwhile.
            AccountDisconnected: The person must connect the account again, or allow this.
            ServiceBusy: Google asks for a pause.
            ServiceRefused: Google refuses permanently.
            ServiceUnavailable: There is no answer, or none that is Google's.
            OutcomeUnknown: The request was sent, and no usable answer came.
        """
        reply = await self._rest.request(
            method, _address(path, params), body=body, headers=headers, changes=True, judged=(403,)
        )
        return outcome_of(reply, self._read)

    def _read(self, reply: Reply) -> Json:
        if reply.status < 300:
            return self._rest.read(reply) if reply.content else {}
        error = _error_in(reply.content)
        if error is None:
            raise not_its_own(self._name, reply)
        raise self._error(reply, error)

    def _error(self, reply: Reply, error: Json) -> RetinueError:
        reasons = {text_of(each, "reason") for each in [*objects(error, "errors"), *objects(error, "details")]}
        status = text_of(error, "status")
        if reply.status in _ABSENT:
            return NotFound("it does not exist any more")
        if reply.status in (409, 412) or status == "FAILED_PRECONDITION":
            return Conflict(f"it was changed meanwhile at {self._name}")
        if reply.status == 403 and (reasons & _TOO_OFTEN or status == "RESOURCE_EXHAUSTED"):
            return wants_pause(self._name, pause_asked(reply.headers.get("Retry-After"), now=datetime.now(UTC)))
        if reply.status == 403 and reasons & _NO_RIGHT:
            return lacks_consent(self._name, self._access.connection)
        if reply.status == 403:
            return ServiceRefused(f"{self._name} does not allow it (HTTP 403)")
        return ServiceRefused(f"{self._name} refuses the request (HTTP {reply.status})")


def _address(path: str, params: Params) -> str:
    query = urlencode(list(params))
    return f"{path}?{query}" if query else path


def _error_in(content: bytes) -> Json | None:
    """Return the description of an error as Google's APIs give it; None if it is none."""
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        return None
    error = found.get("error") if isinstance(found, dict) else None
    return error if isinstance(error, dict) and isinstance(error.get("code"), int) else None
