"""A WebDAV collection (CalDAV, CardDAV) over httpx: list, get, put and delete its resources, each with its ETag.

Servers' XML is read by defusedxml: no entities, no outside references. Which resources there are, and what they hold, is
decided by others; everything is bounded here and judged by the capability.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import quote, urljoin, urlsplit
from xml.etree.ElementTree import Element, ParseError

from defusedxml import ElementTree
from defusedxml.common import DefusedXmlException

from retinue.errors import Conflict, NotFound, ServiceRefused, ServiceUnavailable
from retinue.outside import Outside, Reply

_DAV = "{DAV:}"
_XML = {"Content-Type": "application/xml; charset=utf-8"}


@dataclass(frozen=True)
class Resource:
    """One resource of a collection: its absolute path on the server, its ETag, and its content where it was asked for."""

    href: str
    etag: str
    content: str = ""


class Collection:
    """One calendar or address book on a server."""

    def __init__(self, outside: Outside, url: str, *, content_type: str) -> None:
        """Name the collection.

        Args:
            outside: The server; its client carries the credentials.
            url: Of the collection, with or without the slash at its end.
            content_type: Of what is put there, as in `text/calendar; charset=utf-8`.
        """
        self._outside = outside
        self._url = url if url.endswith("/") else f"{url}/"
        self._content_type = content_type

    def href(self, name: str) -> str:
        """The path of the resource of that name (no slashes)."""
        return urlsplit(urljoin(self._url, quote(name, safe="@.-_~"))).path

    async def get(self, href: str) -> Resource:
        """Fetch one resource.

        Raises:
            NotFound: It is not there.
            ServiceError: See `Outside.ask`.
        """
        reply = await self._outside.ask("GET", self._absolute(href))
        if reply.status in (404, 410):
            raise NotFound("it is not there any more")
        self._expect(reply, 200)
        return Resource(href, reply.headers.get("ETag", ""), _text(reply.content))

    async def create(self, href: str, content: str) -> str:
        """Put a resource where none is. Returns its ETag, empty where the server tells none.

        Raises:
            Conflict: There is one of that name.
            OutcomeUnknown: No reply came; doing it again is harmless, since it never overwrites.
            ServiceError: See `Outside.ask`.
        """
        return await self._put(href, content, {"If-None-Match": "*"})

    async def replace(self, href: str, content: str, *, etag: str) -> str:
        """Put a new version of the resource whose ETag is `etag`. Returns the new one.

        Raises:
            Conflict: Somebody changed or removed it meanwhile.
            OutcomeUnknown: No reply came.
            ServiceError: See `Outside.ask`.
        """
        return await self._put(href, content, {"If-Match": etag})

    async def _put(self, href: str, content: str, condition: dict[str, str]) -> str:
        headers = {"Content-Type": self._content_type, **condition}
        reply = await self._outside.ask(
            "PUT", self._absolute(href), headers=headers, content=content.encode(), changes=True
        )
        self._check_conditions(reply)
        self._expect(reply, 200, 201, 204)
        return str(reply.headers.get("ETag", ""))

    async def delete(self, href: str, *, etag: str) -> None:
        """Remove the resource whose ETag is `etag`.

        Raises:
            NotFound: It is not there.
            Conflict: Somebody changed it meanwhile.
            OutcomeUnknown: No reply came.
            ServiceError: See `Outside.ask`.
        """
        headers = {"If-Match": etag} if etag else {}
        reply = await self._outside.ask("DELETE", self._absolute(href), headers=headers, changes=True)
        if reply.status in (404, 410):
            raise NotFound("it is not there any more")
        self._check_conditions(reply)
        self._expect(reply, 200, 202, 204)

    async def report(self, body: str, *, data: str, depth: str = "1") -> list[Resource]:
        """Run a REPORT and return the resources that it names, with their content.

        Args:
            body: The XML of the query.
            data: The element that carries the content, as in `{urn:ietf:params:xml:ns:caldav}calendar-data`.
            depth: The `Depth` header.

        Raises:
            ServiceError: See `Outside.ask`; also where the answer is no multistatus.
        """
        headers = {**_XML, "Depth": depth}
        reply = await self._outside.ask("REPORT", self._url, headers=headers, content=body.encode())
        self._expect(reply, 207)
        return list(_resources(_parsed(reply.content), data))

    async def tag(self) -> str:
        """What changes whenever anything in the collection does (`getctag`, else `sync-token`); empty if it tells none."""
        body = (
            '<?xml version="1.0"?><d:propfind xmlns:d="DAV:" xmlns:cs="http://calendarserver.org/ns/">'
            "<d:prop><cs:getctag/><d:sync-token/></d:prop></d:propfind>"
        )
        reply = await self._outside.ask("PROPFIND", self._url, headers={**_XML, "Depth": "0"}, content=body.encode())
        self._expect(reply, 207)
        tree = _parsed(reply.content)
        for name in ("{http://calendarserver.org/ns/}getctag", f"{_DAV}sync-token"):
            if text := tree.findtext(f".//{name}"):
                return text.strip()
        return ""

    def _absolute(self, href: str) -> str:
        """On the collection's own server and inside it: an answer must not send our credentials elsewhere."""
        absolute = urljoin(self._url, href)
        if not absolute.startswith(self._url) or "/../" in absolute:
            raise ServiceRefused("the server names a resource outside of the collection")
        return absolute

    def _check_conditions(self, reply: Reply) -> None:
        if reply.status in (409, 412, 423):
            raise Conflict("it was changed on the server meanwhile", hint="look at it again")

    def _expect(self, reply: Reply, *wanted: int) -> None:
        if reply.status in wanted:
            return
        if reply.status in (404, 410):
            raise ServiceRefused("the server has no such collection", hint="check the address in the settings")
        if reply.status == 413:
            raise ServiceRefused("the server finds it too large (HTTP 413)")
        raise ServiceRefused(f"the server refused the request (HTTP {reply.status})")


def _text(content: bytes) -> str:
    return content.decode("utf-8", "replace")


def _parsed(content: bytes) -> Element:
    try:
        tree: Element = ElementTree.fromstring(content)
    except (ParseError, DefusedXmlException, ValueError):
        raise ServiceUnavailable("the server's answer makes no sense") from None
    if tree.tag != f"{_DAV}multistatus":
        raise ServiceUnavailable("the server's answer makes no sense")
    return tree


def _resources(tree: Element, data: str) -> Iterator[Resource]:
    for response in tree.iterfind(f"{_DAV}response"):
        content = response.findtext(f".//{data}")
        if content:
            href = urlsplit((response.findtext(f"{_DAV}href") or "").strip()).path
            yield Resource(href, (response.findtext(f".//{_DAV}getetag") or "").strip(), content)
