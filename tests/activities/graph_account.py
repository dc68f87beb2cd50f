"""What tests of Microsoft Graph share: a server on this machine that follows the public reference, and an account there.

It stands in because no emulator has more of Graph than `/me`. It checks what it is sent, as Graph does, and knows the same
conditions: tokens, ETags, transaction ids, filters and properties, pages, batches.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from retinue.accounts.connection import Connection, Provider, SecretKind

Json = dict[str, Any]
TOKEN = "canary-3c9d-graph"
_PROPERTY = re.compile(r"ep/id eq '([^']*)' and ep/value eq '((?:[^']|'')*)'")
_EXPANDED = re.compile(r"id eq '([^']*)'")


class GraphError(Exception):
    """An answer other than success."""

    def __init__(self, status: int, code: str, **headers: str) -> None:
        super().__init__(code)
        self.status, self.code, self.headers = status, code, headers


def account(base: str, *, token: str = TOKEN, **fields: Any) -> Connection:
    """A person's account at that server."""
    values: dict[str, Any] = {
        "account_id": "m1",
        "name": "work",
        "address": "ana@example.org",
        "provider": Provider.MICROSOFT,
        "endpoints": {"api": f"{base}/v1.0"},
    }
    return Connection(**values | fields, secret=SecretStr(token), kind=SecretKind.BEARER)


@dataclass
class Asked:
    """One request, also one inside of a batch."""

    method: str
    path: str
    query: dict[str, str]
    body: Any
    headers: dict[str, str]

    @property
    def prefers(self) -> str:
        return self.headers.get("prefer", "")


Answer = tuple[int, Json | None]


@dataclass
class Graph:
    """The server's state; subclasses answer for their part of the API."""

    tokens: set[str] = field(default_factory=lambda: {TOKEN})
    page: int = 1000
    asked: list[str] = field(default_factory=list)
    faults: list[Callable[[Asked], Response | None]] = field(default_factory=list)
    """Asked in turn before every request; the first that answers is used up."""
    broken: list[tuple[str, bool]] = field(default_factory=list)
    """Methods whose next answer breaks off, and whether the request is done before."""
    things: dict[str, Json] = field(default_factory=dict)
    _versions: int = 0

    def app(self) -> Starlette:
        methods = ["GET", "POST", "PATCH", "DELETE"]
        return Starlette(routes=[Route("/v1.0/{path:path}", self._respond, methods=methods)])

    def answer(self, asked: Asked) -> Answer:
        raise NotImplementedError

    def fail(self, status: int, code: str = "", *, method: str = "", content: bytes = b"", **headers: str) -> None:
        """Answer the next request of that method so, instead of doing it."""

        def fault(asked: Asked) -> Response | None:
            if method not in ("", asked.method):
                return None
            if content:
                return Response(content, status, headers={"Content-Type": "text/html"})
            return _error(GraphError(status, code, **headers))

        self.faults.append(fault)

    def stamp(self, thing: Json) -> Json:
        """Give something its next version."""
        self._versions += 1
        thing["@odata.etag"] = f'W/"v{self._versions}=="'
        thing["lastModifiedDateTime"] = "2026-11-20T10:00:00.1234567Z"
        return thing

    def thing(self, asked: Asked, id_: str) -> Json:
        """The thing that is changed, if the condition holds."""
        found = self.things.get(id_)
        if found is None:
            raise GraphError(404, "ErrorItemNotFound")
        condition = asked.headers.get("if-match")
        if condition is not None and condition != found["@odata.etag"]:
            raise GraphError(412, "ErrorIrresolvableConflict")
        return found

    def patch(self, found: Json, body: Json) -> Json:
        """Change what is named, and of properties those that are named."""
        properties = {each["id"]: each for each in found.get("singleValueExtendedProperties", [])}
        properties |= {each["id"]: each for each in body.get("singleValueExtendedProperties", [])}
        found.update({**body, "singleValueExtendedProperties": list(properties.values())})
        return self.stamp(found)

    def shown(self, thing: Json, query: dict[str, str]) -> Json:
        """What a request selects and expands."""
        wanted = query.get("$select", "").split(",")
        found = {name: value for name, value in thing.items() if wanted == [""] or name in wanted or name[0] == "@"}
        found.pop("singleValueExtendedProperties", None)
        if "singleValueExtendedProperties" in query.get("$expand", ""):
            ids = set(_EXPANDED.findall(query["$expand"]))
            properties = [each for each in thing.get("singleValueExtendedProperties", []) if each["id"] in ids]
            if properties:
                found["singleValueExtendedProperties"] = properties
        return found

    def filtered(self, things: Iterator[Json], wanted: str) -> Iterator[Json]:
        """The things that a filter lets through."""
        if not wanted:
            yield from things
        elif match := _PROPERTY.search(wanted):
            pair = {"id": match[1], "value": match[2].replace("''", "'")}
            yield from (each for each in things if pair in each.get("singleValueExtendedProperties", []))
        else:
            name, _, value = wanted.partition(" eq ")
            yield from (each for each in things if each.get(name) == value.strip("'").replace("''", "'"))

    def paged(self, asked: Asked, things: list[Json]) -> Answer:
        """One page of a list, with the address of the next one."""
        size = min(int(asked.query.get("$top", 10)), self.page)
        at = int(asked.query.get("$skip", 0))
        found: Json = {"value": [self.shown(each, asked.query) for each in things[at : at + size]]}
        if at + size < len(things):
            query = "&".join(f"{name}={value}" for name, value in {**asked.query, "$skip": at + size}.items())
            found["@odata.nextLink"] = f"{asked.headers['base']}{asked.path}?{query}"
        return 200, found

    async def _respond(self, request: Request) -> Response:
        body = await request.body()
        asked = Asked(
            request.method,
            request.path_params["path"],
            dict(request.query_params),
            json.loads(body) if body else None,
            {**request.headers, "base": f"{request.base_url!s}v1.0/"},
        )
        self.asked.append(f"{asked.method} {asked.path}")
        breaks = next((each for each in self.broken if each[0] == asked.method), None)
        if breaks is not None:
            self.broken.remove(breaks)
            if breaks[1]:
                self.answer(asked)
            return _Broken()
        for fault in self.faults:
            if (answer := fault(asked)) is not None:
                self.faults.remove(fault)
                return answer
        if request.headers.get("authorization", "").removeprefix("Bearer ") not in self.tokens:
            return _error(GraphError(401, "InvalidAuthenticationToken"))
        if asked.path == "$batch":
            return JSONResponse({"responses": [self._in_batch(each, asked) for each in asked.body["requests"]]})
        try:
            status, found = self.answer(asked)
        except GraphError as error:
            return _error(error)
        return Response(status_code=status) if found is None else JSONResponse(found, status)

    def _in_batch(self, part: Json, whole: Asked) -> Json:
        address = urlsplit(part["url"])
        headers = {name.lower(): value for name, value in part.get("headers", {}).items()}
        query = dict(parse_qsl(address.query.replace("+", "%2B")))
        asked = Asked(part["method"], unquote(address.path).lstrip("/"), query, None, {**whole.headers, **headers})
        try:
            status, body = self.answer(asked)
        except GraphError as error:
            status, body = error.status, {"error": {"code": error.code, "message": "canary-stranger"}}
        return {"id": part["id"], "status": status, "headers": {}, "body": body}


class _Broken(Response):
    """An answer that begins and does not end."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"100")]})
        await send({"type": "http.response.body", "body": b'{"id": "', "more_body": True})


def _error(error: GraphError) -> Response:
    body = {"error": {"code": error.code, "message": "canary-stranger", "innerError": {}}}
    return JSONResponse(
        body, error.status, headers={name.replace("_", "-"): value for name, value in error.headers.items()}
    )
