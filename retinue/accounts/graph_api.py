"""Microsoft Graph: JSON in both directions, and Graph's errors as those of `retinue.errors`."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from urllib.parse import quote, urlencode

import httpx

from retinue.accounts.access import Access
from retinue.accounts.rest_api import Json, RestApi, lacks_consent, not_its_own, objects, outcome_of, text_of
from retinue.errors import (
    Conflict,
    InvalidArguments,
    NotFound,
    RetinueError,
    ServiceRefused,
    ServiceUnavailable,
)
from retinue.network.service_client import MAX_BYTES, Reply, pause_asked, wants_pause

Params = Mapping[str, str | int]
BASE = "https://graph.microsoft.com/v1.0"
MOST_LISTED = 10_000
"""Things in one list; more would take longer than anybody waits."""
MOST_AT_ONCE = 20
"""Requests in one batch, which is Graph's own limit."""

_ETAG = "@odata.etag"
_NEXT = "@odata.nextLink"
_NOT_THERE = {"ErrorItemNotFound", "ErrorInvalidIdMalformed", "ErrorInvalidId", "ErrorInvalidMailboxItemId"}
_CHANGED = {"ErrorIrresolvableConflict", "ErrorDuplicateTransactionId", "ErrorConcurrentItemSave"}
_NO_RIGHT = {"ErrorAccessDenied", "Authorization_RequestDenied", "accessDenied", "AccessDenied"}


class GraphApi:
    """What belongs to one account, in the name of its person.

    Args:
        http: See `RestApi`.
        access: The account's connection; its endpoint `api` replaces Graph's own address.
        name: The service in a sentence, as in "the calendar at Microsoft".
        deadline: Seconds that one request may take.
    """

    def __init__(self, http: httpx.AsyncClient, access: Access, *, name: str, deadline: float = 25) -> None:
        base = access.connection.endpoints.get("api") or BASE
        self._rest = RestApi(http, access, base=base, name=name, deadline=deadline, most_bytes=2 * MAX_BYTES)
        self._access = access
        self._name = name

    async def get(self, path: str, params: Params | None = None, *, prefer: str = "") -> Json:
        """Read one thing.

        Args:
            path: Relative, its parts quoted by `part`.
            params: The query.
            prefer: What the answer should look like, as the header `Prefer` says it.

        Raises:
            NotFound: It is not there.
            ServiceError: See `change`, and `ExternalService.request`.
        """
        headers = {"Prefer": prefer} if prefer else {}
        return self._read(await self._rest.request("GET", address(path, params), headers=headers, judged=(403,)))

    async def listed(self, path: str, params: Params | None = None, *, prefer: str = "") -> AsyncIterator[Json]:
        """Yield the things of a list, page by page.

        Raises:
            InvalidArguments: There are more than `MOST_LISTED`.
            ServiceError: See `change`, and `ExternalService.request`.
        """
        count, following = 0, address(path, params)
        while following:
            page = await self.get(following, prefer=prefer)
            for each in objects(page, "value"):
                yield each
            count += max(1, len(objects(page, "value")))
            following = text_of(page, _NEXT)
            if count > MOST_LISTED:
                raise InvalidArguments(f"{self._name} lists more than {MOST_LISTED} entries", hint="ask for less")

    async def all_of(self, paths: Sequence[str], *, prefer: str = "") -> AsyncIterator[Json]:
        """Yield several things, in any order and without those that are not there, by as few requests as possible.

        Args:
            paths: Relative, with their queries, their parts quoted by `part`.
            prefer: See `get`.

        Raises:
            ServiceBusy: Graph asks for a pause.
            ServiceError: See `change`, and `ExternalService.request`.
        """
        for at in range(0, len(paths), MOST_AT_ONCE):
            asked = [
                {"id": str(number), "method": "GET", "url": f"/{path}", "headers": {"Prefer": prefer}}
                for number, path in enumerate(paths[at : at + MOST_AT_ONCE])
            ]
            reply = await self._rest.request("POST", "$batch", body={"requests": asked}, judged=(403,))
            for each in objects(self._read(reply), "responses"):
                if (found := self._answered(each)) is not None:
                    yield found

    async def change(self, method: str, path: str, body: Json | None = None, *, etag: str = "") -> Json:
        """Change something, and return the answer, which may be empty.

        Args:
            method: The HTTP method.
            path: Relative, its parts quoted by `part`.
            body: The object to send.
            etag: Of the version that is changed; empty: any.

        Raises:
            NotFound: It is not there (any more).
            Conflict: It exists already, or was changed meanwhile.
            AccountDisconnected: The person must connect the account again, or allow this.
            ServiceBusy: Graph asks for a pause.
            ServiceRefused: Graph refuses permanently.
            ServiceUnavailable: There is no answer, or none that is Graph's.
            OutcomeUnknown: The request was sent, and no usable answer came.
        """
        headers = {"Prefer": IMMUTABLE, **({"If-Match": etag} if etag else {})}
        reply = await self._rest.request(method, path, body=body, headers=headers, changes=True, judged=(403,))
        return outcome_of(reply, self._read)

    def _read(self, reply: Reply) -> Json:
        if reply.status < 300:
            return self._rest.read(reply) if reply.content else {}
        code = _code_in(reply.content)
        if code is None:
            raise not_its_own(self._name, reply)
        raise self._error(reply.status, code)

    def _answered(self, response: Json) -> Json | None:
        status, body = response.get("status"), response.get("body")
        if status == 200 and isinstance(body, dict):
            return body
        if status == 429:
            headers = response.get("headers")
            asked = text_of(headers, "Retry-After") if isinstance(headers, dict) else ""
            raise wants_pause(self._name, pause_asked(asked, now=datetime.now(UTC)))
        if status == 404:
            return None
        raise ServiceUnavailable(f"{self._name} did not answer a part of the request (HTTP {status})")

    def _error(self, status: int, code: str) -> RetinueError:
        if status in (404, 410) or code in _NOT_THERE:
            return NotFound("it does not exist any more")
        if status in (409, 412) or code in _CHANGED:
            return Conflict(f"it was changed meanwhile at {self._name}", hint="look at it again")
        if status == 403 and code in _NO_RIGHT:
            return lacks_consent(self._name, self._access.connection)
        if status == 403:
            return ServiceRefused(f"{self._name} does not allow it (HTTP 403)")
        return ServiceRefused(f"{self._name} refuses the request (HTTP {status})")


IMMUTABLE = 'IdType="ImmutableId"'
"""Ids that stay the same when something is moved."""


def quoted(text: str) -> str:
    """Return a text in a filter."""
    return "'" + text.replace("'", "''") + "'"


def etag_of(found: Json) -> str:
    """Return the version of something; empty where it is not told."""
    return text_of(found, _ETAG)


def inside(found: Json, name: str) -> Json:
    """Return an object of an answer; empty where there is none."""
    value = found.get(name)
    return value if isinstance(value, dict) else {}


class Properties:
    """Extended properties of ours: texts that Graph keeps at an event or a contact, and shows to this app alone.

    Args:
        namespace: A GUID of ours.
        names: Of the properties.
    """

    def __init__(self, namespace: str, names: Iterable[str]) -> None:
        self._ids = {name: f"String {{{namespace}}} Name {name}" for name in names}

    def expand(self, *names: str) -> str:
        """Return the `$expand` that asks for these properties, or for all."""
        wanted = " or ".join(f"id eq {quoted(self._ids[name])}" for name in names or self._ids)
        return f"singleValueExtendedProperties($filter={wanted})"

    def filter(self, name: str, value: str) -> str:
        """Return the `$filter` for what has this value in a property."""
        ours = f"ep/id eq {quoted(self._ids[name])} and ep/value eq {quoted(value)}"
        return f"singleValueExtendedProperties/Any(ep: {ours})"

    def written(self, values: Mapping[str, str]) -> list[Json]:
        """Return the properties as they are sent."""
        return [{"id": self._ids[name], "value": value} for name, value in values.items()]

    def read(self, found: Json) -> dict[str, str]:
        """Return the properties that something has."""
        values = {
            text_of(each, "id"): text_of(each, "value") for each in objects(found, "singleValueExtendedProperties")
        }
        return {name: value for name, id_ in self._ids.items() if (value := values.get(id_))}


def address(path: str, params: Params | None) -> str:
    """Return a path with its query, written so that it may also stand in a batch."""
    return f"{path}?{urlencode(params, quote_via=quote)}" if params else path


def _code_in(content: bytes) -> str | None:
    """Return the code of an error as Graph gives it; None if the answer is none of Graph's."""
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        return None
    error = found.get("error") if isinstance(found, dict) else None
    return text_of(error, "code") if isinstance(error, dict) and isinstance(error.get("code"), str) else None
