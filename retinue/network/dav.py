"""A WebDAV collection (CalDAV, CardDAV) over httpx: list, get, put and delete its resources, each with its ETag.

defusedxml parses servers' XML: no entities, no external references. Resources and their content are untrusted: this module
bounds them, the capability judges them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import quote, unquote, urljoin, urlsplit
from xml.etree.ElementTree import Element, ParseError
from xml.sax.saxutils import escape

import httpx
from defusedxml import ElementTree
from defusedxml.common import DefusedXmlException
from pydantic import SecretStr

from retinue.errors import Conflict, NotFound, ServiceRefused, ServiceUnavailable
from retinue.network.egress import Egress, GuardedTransport
from retinue.network.service_client import ExternalService, Reply

_DAV = "{DAV:}"
_LONGEST_TAG = 1000
XML = {"Content-Type": "application/xml; charset=utf-8"}


def client(
    url: str,
    *,
    username: str,
    password: SecretStr,
    timeout: float,
    token: SecretStr | None = None,
    egress: Egress | None = None,
) -> httpx.AsyncClient:
    """Return the HTTP client of one server. It follows no redirects: settings alone decide where the password goes.

    Args:
        url: Of the server or a collection on it.
        username: Empty if the server asks for none.
        password: Of that user.
        timeout: Seconds of a request's parts; of a connection at most 10.
        token: A bearer token, in the place of a password.
        egress: Checks each request, and pins it to a checked address; None: the operator chose the server.
    """
    auth = httpx.BasicAuth(username, password.get_secret_value()) if username and not token else None
    return httpx.AsyncClient(
        auth=auth,
        headers={"Authorization": f"Bearer {token.get_secret_value()}"} if token else None,
        timeout=httpx.Timeout(timeout, connect=min(10, timeout)),
        follow_redirects=False,
        # a proxy of the environment could read unencrypted requests to this machine, above all the password
        trust_env=egress is None and url.startswith("https:"),
        transport=GuardedTransport(egress, httpx.AsyncHTTPTransport()) if egress else None,
    )


@dataclass(frozen=True)
class Resource:
    """One resource of a collection: its absolute path on the server, its ETag, and its content if requested."""

    href: str
    etag: str
    content: str = ""


@dataclass(frozen=True)
class Listed:
    """One resource of a collection without its content; `size` in bytes if the server reports it."""

    href: str
    etag: str
    size: int | None


class Collection:
    """One calendar or address book on a server."""

    def __init__(self, outside: ExternalService, url: str, *, content_type: str) -> None:
        """Name the collection.

        Args:
            outside: The server; its client carries the credentials.
            url: Of the collection, with or without the slash at its end.
            content_type: Of new resources, as in `text/calendar; charset=utf-8`.
        """
        self._outside = outside
        self._url = url if url.endswith("/") else f"{url}/"
        self._content_type = content_type

    def href(self, name: str) -> str:
        """Return the path of the resource with that name (no slashes)."""
        return urlsplit(urljoin(self._url, quote(name, safe="@.-_~"))).path

    async def get(self, href: str) -> Resource:
        """Fetch one resource.

        Raises:
            NotFound: It is not there.
            ServiceError: See `ExternalService.request`.
        """
        reply = await self._outside.request("GET", self._absolute(href))
        if reply.status in (404, 410):
            raise NotFound("it does not exist any more")
        self._expect(reply, 200)
        return Resource(href, strong(reply.headers.get("ETag", "")), _text(reply.content))

    async def create(self, href: str, content: str) -> str:
        """Create a resource. Returns its ETag, empty if the server sends none.

        Raises:
            Conflict: There is one of that name.
            OutcomeUnknown: No reply came; a repeat is harmless, since it never overwrites.
            ServiceError: See `ExternalService.request`.
        """
        return await self._put(href, content, {"If-None-Match": "*"})

    async def replace(self, href: str, content: str, *, etag: str) -> str:
        """Put a new version of the resource whose ETag is `etag`. Returns the new one.

        Raises:
            Conflict: It was changed or removed meanwhile.
            OutcomeUnknown: No reply came.
            ServiceError: See `ExternalService.request`.
        """
        return await self._put(href, content, {"If-Match": etag})

    async def _put(self, href: str, content: str, condition: dict[str, str]) -> str:
        headers = {"Content-Type": self._content_type, **condition}
        reply = await self._outside.request(
            "PUT", self._absolute(href), headers=headers, content=content.encode(), changes=True
        )
        self._check_conditions(reply)
        self._expect(reply, 200, 201, 204)
        return strong(str(reply.headers.get("ETag", "")))

    async def delete(self, href: str, *, etag: str) -> None:
        """Remove the resource whose ETag is `etag`.

        Raises:
            NotFound: It is not there.
            Conflict: It was changed meanwhile.
            OutcomeUnknown: No reply came.
            ServiceError: See `ExternalService.request`.
        """
        headers = {"If-Match": etag} if etag else {}
        reply = await self._outside.request("DELETE", self._absolute(href), headers=headers, changes=True)
        if reply.status in (404, 410):
            raise NotFound("it does not exist any more")
        self._check_conditions(reply)
        self._expect(reply, 200, 202, 204)

    async def report(self, body: str, *, data: str, depth: str = "1") -> list[Resource]:
        """Run a REPORT and return the resources that it names, with their content.

        Args:
            body: The XML of the query.
            data: The element that carries the content, as in `{urn:ietf:params:xml:ns:caldav}calendar-data`.
            depth: The `Depth` header.

        Raises:
            ServiceError: See `ExternalService.request`; also where the answer is no multistatus.
        """
        return list(_resources(await self.multistatus("REPORT", body, depth=depth), data))

    async def found(self, query: str) -> list[Listed]:
        """Run a REPORT that asks for no content, and return the resources that it names.

        Raises:
            ServiceError: See `ExternalService.request`; also where the answer is no multistatus.
        """
        return list(_listed(await self.multistatus("REPORT", query)))

    async def multistatus(self, method: str, body: str, *, depth: str = "1") -> Element:
        """Send a REPORT or a PROPFIND and return the answer's tree, whose texts are the server's.

        Raises:
            ServiceError: See `ExternalService.request`; also where the answer is no multistatus.
        """
        headers = {**XML, "Depth": depth}
        reply = await self._outside.request(method, self._url, headers=headers, content=body.encode())
        self._expect(reply, 207)
        return multistatus(reply.content)

    async def listed(self) -> list[Listed]:
        """Return every resource of the collection, without its content.

        Raises:
            ServiceError: See `ExternalService.request`; also where the answer is no multistatus.
        """
        body = (
            '<?xml version="1.0"?><d:propfind xmlns:d="DAV:">'
            "<d:prop><d:getetag/><d:getcontentlength/><d:resourcetype/></d:prop></d:propfind>"
        )
        return list(_listed(await self.multistatus("PROPFIND", body)))

    async def sync(self, token: str) -> tuple[list[Listed], str] | None:
        """Return what was added or changed since a sync token (RFC 6578), and the next token; None if it is no longer valid.

        Args:
            token: Of the last answer; empty for everything there is.

        Raises:
            ServiceError: See `ExternalService.request`; also where the answer is no multistatus.
        """
        body = (
            f'<?xml version="1.0"?><d:sync-collection xmlns:d="DAV:"><d:sync-token>{escape(token)}</d:sync-token>'
            "<d:sync-level>1</d:sync-level><d:prop><d:getetag/><d:getcontentlength/></d:prop></d:sync-collection>"
        )
        try:
            reply = await self._outside.request(
                "REPORT", self._url, headers={**XML, "Depth": "0"}, content=body.encode()
            )
        except ServiceRefused as error:  # servers answer 403 or 507 where they no longer know a token
            if not token or error.sign_in:
                raise
            return None
        if token and reply.status in (400, 409):
            return None
        self._expect(reply, 207)
        tree = multistatus(reply.content)
        changed = [each for each in _listed(tree) if each.etag]
        return changed, (tree.findtext(f"{_DAV}sync-token") or "").strip()

    async def sync_token(self) -> str:
        """Return the sync token of now; empty if the server has none."""
        body = '<?xml version="1.0"?><d:propfind xmlns:d="DAV:"><d:prop><d:sync-token/></d:prop></d:propfind>'
        tree = await self.multistatus("PROPFIND", body, depth="0")
        return (tree.findtext(f".//{_DAV}sync-token") or "").strip()

    async def tag(self) -> str:
        """Return the tag that changes with the collection (`getctag`, else `sync-token`); empty if the server has none."""
        body = (
            '<?xml version="1.0"?><d:propfind xmlns:d="DAV:" xmlns:cs="http://calendarserver.org/ns/">'
            "<d:prop><cs:getctag/><d:sync-token/></d:prop></d:propfind>"
        )
        tree = await self.multistatus("PROPFIND", body, depth="0")
        for name in ("{http://calendarserver.org/ns/}getctag", f"{_DAV}sync-token"):
            if text := tree.findtext(f".//{name}"):
                return text.strip()
        return ""

    def _absolute(self, href: str) -> str:
        """Return a resource's absolute URL inside the collection, since an answer must not send credentials elsewhere."""
        absolute = urljoin(self._url, href)
        ours, theirs = urlsplit(self._url), urlsplit(absolute)
        # servers write the same path in several ways: `%40` or `@`
        inside = unquote(theirs.path).startswith(unquote(ours.path)) and "/../" not in f"{unquote(theirs.path)}/"
        if (theirs.scheme, theirs.netloc) != (ours.scheme, ours.netloc) or not inside:
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


def strong(etag: str) -> str:
    """Return the tag without the `W/` that compressing proxies add, since no condition holds with it.

    A tag that no header can carry counts as none, since a request with it could not be sent.
    """
    tag = etag.strip().removeprefix("W/")
    return tag if tag.isascii() and tag.isprintable() and len(tag) <= _LONGEST_TAG else ""


def _text(content: bytes) -> str:
    return content.decode("utf-8", "replace")


def multistatus(content: bytes) -> Element:
    """Return the tree of a multistatus answer.

    Raises:
        ServiceUnavailable: The answer is something else.
    """
    try:
        tree: Element = ElementTree.fromstring(content)
    except (ParseError, DefusedXmlException, ValueError):
        raise ServiceUnavailable("the server's answer is invalid") from None
    if tree.tag != f"{_DAV}multistatus":
        raise ServiceUnavailable("the server's answer is invalid")
    return tree


def _resources(tree: Element, data: str) -> Iterator[Resource]:
    for response in tree.iterfind(f"{_DAV}response"):
        content = response.findtext(f".//{data}")
        if content:
            yield Resource(_path(response), strong(response.findtext(f".//{_DAV}getetag") or ""), content)


def _listed(tree: Element) -> Iterator[Listed]:
    for response in tree.iterfind(f"{_DAV}response"):
        if response.find(f".//{_DAV}resourcetype/{_DAV}collection") is None:
            size = (response.findtext(f".//{_DAV}getcontentlength") or "").strip()
            etag = strong(response.findtext(f".//{_DAV}getetag") or "")
            yield Listed(_path(response), etag, int(size) if size.isascii() and size.isdigit() else None)


def _path(response: Element) -> str:
    """Return the path of a resource on its server; empty if it is invalid."""
    try:
        return urlsplit((response.findtext(f"{_DAV}href") or "").strip()).path
    except ValueError:
        return ""
