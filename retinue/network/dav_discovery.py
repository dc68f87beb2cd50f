"""Finds a person's calendar or address book on a WebDAV server, from the server's address alone.

It follows RFC 6764, 5397, 4791 and 6352: the well-known address redirects to the service, which names the signed-in
person's principal, which names the home of their collections; it takes the first collection of the right kind.

The server chooses every address on that path. Credentials follow only to the same host or, encrypted, to a neighbour of it
(`caldav.icloud.com` has calendars on `p42-caldav.icloud.com`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import SplitResult, urljoin, urlsplit
from xml.etree.ElementTree import Element

from retinue.errors import ServiceRefused
from retinue.network.dav import XML, multistatus
from retinue.network.service_client import ExternalService, Reply

_DAV = "{DAV:}"
_CALDAV = "{urn:ietf:params:xml:ns:caldav}"
_CARDDAV = "{urn:ietf:params:xml:ns:carddav}"
_REDIRECTS = (301, 302, 307, 308)
_MOST_REDIRECTS = 5
_QUESTION = (
    b'<?xml version="1.0"?><d:propfind xmlns:d="DAV:" xmlns:cal="urn:ietf:params:xml:ns:caldav"'
    b' xmlns:card="urn:ietf:params:xml:ns:carddav"><d:prop><d:resourcetype/><d:current-user-principal/>'
    b"<cal:calendar-home-set/><cal:supported-calendar-component-set/><card:addressbook-home-set/></d:prop></d:propfind>"
)


@dataclass(frozen=True)
class Kind:
    """The kind of collection to find."""

    noun: str
    well_known: str
    home: str
    resource_type: str
    component: str | None = None


CALENDARS = Kind("calendar", "caldav", f"{_CALDAV}calendar-home-set", f"{_CALDAV}calendar", "VEVENT")
ADDRESS_BOOKS = Kind("address book", "carddav", f"{_CARDDAV}addressbook-home-set", f"{_CARDDAV}addressbook")


async def collection_url(outside: ExternalService, url: str, kind: Kind) -> str:
    """Return the address of the collection: `url` itself if it is one, else the person's first one there.

    Args:
        outside: The server; its client carries the credentials.
        url: Of a collection, a home, a principal or a server.
        kind: What to find.

    Raises:
        ServiceRefused: There is none, or an address is on an untrusted host.
        ServiceError: See `ExternalService.request`.
    """
    here = await _entrance(outside, url, kind)
    for _ in range(2):
        if _is(here, kind):
            return here.url
        for home in here.addresses(kind.home):
            for found in await _look(outside, home, depth="1"):
                if _is(found, kind):
                    return found.url
        principal = next(here.addresses(f"{_DAV}current-user-principal"), None)
        if principal is None:
            break
        here = await _first(outside, principal, kind)
    raise _none(kind)


@dataclass(frozen=True)
class _Found:
    """One resource in an answer."""

    url: str
    properties: Element

    def addresses(self, name: str) -> Iterator[str]:
        """Return the absolute addresses in a property."""
        for href in self.properties.iterfind(f".//{name}/{_DAV}href"):
            yield _followed(self.url, (href.text or "").strip())


async def _entrance(outside: ExternalService, url: str, kind: Kind) -> _Found:
    """Return the start address: for a bare server its well-known address, if it has one."""
    if urlsplit(url).path in ("", "/"):
        try:
            return await _first(outside, urljoin(url, f"/.well-known/{kind.well_known}"), kind)
        except ServiceRefused:
            pass
    return await _first(outside, url, kind)


async def _first(outside: ExternalService, url: str, kind: Kind) -> _Found:
    found = await _look(outside, url, depth="0")
    if not found:
        raise _none(kind)
    return found[0]


async def _look(outside: ExternalService, url: str, *, depth: str) -> list[_Found]:
    url, reply = await _answered(outside, url, depth)
    if reply.status != 207:
        raise ServiceRefused(
            f"there is no calendar or address book at this address (HTTP {reply.status})", hint="check the settings"
        )
    return [
        _Found(_followed(url, (response.findtext(f"{_DAV}href") or "").strip()), response)
        for response in multistatus(reply.content).iterfind(f"{_DAV}response")
    ]


async def _answered(outside: ExternalService, url: str, depth: str) -> tuple[str, Reply]:
    """Send a request, following redirects; returns the final address and the answer."""
    for _ in range(_MOST_REDIRECTS):
        reply = await outside.request("PROPFIND", url, headers={**XML, "Depth": depth}, content=_QUESTION)
        if reply.status not in _REDIRECTS:
            return url, reply
        url = _followed(url, reply.headers.get("Location", ""))
    raise ServiceRefused("the server sends from one address to the next", hint="check the address in the settings")


def _is(found: _Found, kind: Kind) -> bool:
    if found.properties.find(f".//{_DAV}resourcetype/{kind.resource_type}") is None:
        return False
    told = found.properties.findall(f".//{_CALDAV}supported-calendar-component-set/{_CALDAV}comp")
    return kind.component is None or not told or kind.component in {each.get("name") for each in told}


def _followed(base: str, address: str) -> str:
    """Return `address` resolved against `base`.

    Raises:
        ServiceRefused: It is on a host that must not get the password.
    """
    try:
        url = urljoin(base, address)
        trusted = _trusted(urlsplit(base), urlsplit(url))
    except ValueError:
        trusted = False
    if not trusted:
        raise ServiceRefused(
            "the server sends to another host, which does not get the password",
            hint="if that is right, write that host's address into the settings",
        )
    return url


def _trusted(before: SplitResult, after: SplitResult) -> bool:
    if after.username or after.password or not before.hostname or not after.hostname:
        return False
    if after.scheme not in (before.scheme, "https"):
        return False
    if after.hostname == before.hostname:
        return after.port == before.port or after.scheme == "https"
    return after.scheme == "https" and _site(after.hostname) == _site(before.hostname) is not None


def _site(host: str) -> str | None:
    """Return the domain that neighbours share: all but the first label, or the last two. None for IP addresses."""
    labels = host.split(".")
    if len(labels) < 3 or labels[-1].isdigit() or ":" in host:
        return None
    return ".".join(labels[1:])


def _none(kind: Kind) -> ServiceRefused:
    return ServiceRefused(
        f"the server shows no {kind.noun} at this address",
        hint=f"write the {kind.noun}'s own address into the settings",
    )
