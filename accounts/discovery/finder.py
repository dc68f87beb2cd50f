"""Finds the servers of a mail address or of a server's address, all places asked at once and bounded in time."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable, Sequence
from urllib.parse import urljoin, urlsplit

import httpx

from accounts.discovery.autoconfig import MailServers, plain_host, read
from accounts.discovery.names import Names
from retinue.accounts.connection import Provider
from retinue.accounts.wire import FoundServers
from retinue.errors import InvalidArguments, RetinueError
from retinue.network.dav import XML
from retinue.network.dav_discovery import ADDRESS_BOOKS, CALENDARS, Kind
from retinue.network.egress import Egress
from retinue.network.service_client import ExternalService, Reply

DEADLINE = 20.0
"""Seconds that one search may take; what was not found by then is not found."""
_REQUEST = 8.0
_MOST_BYTES = 256 * 1024
_MOST_REDIRECTS = 4
_REDIRECTS = (301, 302, 303, 307, 308)
_ISPDB = "https://autoconfig.thunderbird.net/v1.1"
_OAUTH = {
    "google": ("gmail.com", "googlemail.com"),
    "microsoft": ("outlook.com", "hotmail.com", "live.com", "msn.com"),
}
_OAUTH_MAIL = {"google": ("google.com", "googlemail.com"), "microsoft": ("mail.protection.outlook.com",)}
_TITLES = {"google": "Google", "microsoft": "Microsoft"}
_DAV = {Provider.CALDAV: CALENDARS, Provider.CARDDAV: ADDRESS_BOOKS}
_PROPFIND = b'<?xml version="1.0"?><d:propfind xmlns:d="DAV:"><d:prop><d:current-user-principal/></d:prop></d:propfind>'


class Finder:
    """Finds servers.

    Args:
        client: A `guarded_client`: it goes to public addresses alone and follows no redirects.
        names: Looks up a domain's servers.
        egress: Judges the hosts of mail servers.
        ispdb: Whether Mozilla's list of providers may be asked, which tells Mozilla the domain.
    """

    def __init__(self, client: httpx.AsyncClient, names: Names, egress: Egress, *, ispdb: bool = False) -> None:
        self._web = ExternalService(client, name="the server", deadline=_REQUEST, most_bytes=_MOST_BYTES)
        self._names = names
        self._egress = egress
        self._ispdb = ispdb

    async def find(self, address: str) -> list[FoundServers]:
        """Return the ways to connect an address, best first; empty if none was found.

        Args:
            address: Of a person, or of a server for calendars and contacts.

        Raises:
            InvalidArguments: It is neither.
        """
        address = address.strip()
        if "://" in address:
            return await self._at_server(address)
        local, _, domain = address.rpartition("@")
        domain = _ascii(domain)
        if not local or not plain_host(domain):
            raise InvalidArguments("write a mail address, or the address of a server that begins with https://")
        ways = [self._oauth(domain), self._mail(f"{local}@{domain}", domain)]
        ways += [self._dav(provider, domain) for provider in _DAV]
        found = await _within(DEADLINE, ways)
        return [way for each in found for way in each]

    async def _at_server(self, address: str) -> list[FoundServers]:
        host = urlsplit(address).hostname or ""
        if not address.startswith("https://") or not host:
            raise InvalidArguments("the address of a server begins with https://")
        if urlsplit(address).path.strip("/"):
            source = "as you wrote it"
            return [FoundServers(provider_id=kind, endpoints={kind: address}, source=source) for kind in _DAV]
        found = await _within(DEADLINE, [self._well_known(provider, host, _DAV[provider], host) for provider in _DAV])
        return [way for each in found for way in each]

    async def _oauth(self, domain: str) -> list[FoundServers]:
        for provider_id, domains in _OAUTH.items():
            if domain in domains:
                return [_by_sign_in(provider_id, "an address of")]
        for host in await self._names.mail_hosts(domain):
            for provider_id, suffixes in _OAUTH_MAIL.items():
                if any(host == suffix or host.endswith(f".{suffix}") for suffix in suffixes):
                    return [_by_sign_in(provider_id, "its mail is at")]
        return []

    async def _mail(self, address: str, domain: str) -> list[FoundServers]:
        for url in (
            f"https://autoconfig.{domain}/mail/config-v1.1.xml",
            f"https://{domain}/.well-known/autoconfig/mail/config-v1.1.xml",
        ):
            if (servers := await self._described(url, address)) is not None:
                return [_by_mail(servers, f"{domain} describes them")]
        if (servers := await self._by_names(domain)) is not None:
            return [_by_mail(servers, f"the domain name system says so of {domain}")]
        if self._ispdb and (servers := await self._described(f"{_ISPDB}/{domain}", address)) is not None:
            return [_by_mail(servers, "from Mozilla's list of providers, which was told the domain")]
        return []

    async def _described(self, url: str, address: str) -> MailServers | None:
        reply = await self._get("GET", url)
        if reply is None or reply[1].status != httpx.codes.OK:
            return None
        servers = read(reply[1].content, address=address)
        return servers if servers is not None and await self._are_public(servers) else None

    async def _by_names(self, domain: str) -> MailServers | None:
        imap = await self._service(domain, (("_imaps._tcp", "imaps"), ("_imap._tcp", "imap")))
        smtp = await self._service(domain, (("_submissions._tcp", "smtps"), ("_submission._tcp", "smtp")))
        if not imap or not smtp:
            return None
        servers = MailServers(imap=imap, smtp=smtp, username="")
        return servers if await self._are_public(servers) else None

    async def _service(self, domain: str, kinds: Iterable[tuple[str, str]]) -> str:
        for name, scheme in kinds:
            for place in await self._names.services(f"{name}.{domain}"):
                if plain_host(place.host):
                    return f"{scheme}://{place.host}:{place.port}"
        return ""

    async def _are_public(self, servers: MailServers) -> bool:
        """Whether both hosts are public, so that a stranger's file cannot point into the own network."""
        try:
            for url in (servers.imap, servers.smtp):
                await self._egress.addresses(httpx.URL(f"https://{urlsplit(url).hostname}/"))
        except RetinueError:
            return False
        return True

    async def _dav(self, provider: Provider, domain: str) -> list[FoundServers]:
        """Return a DAV service: at the domain's well-known address, else where SRV says (RFC 6764)."""
        kind = _DAV[provider]
        if found := await self._well_known(provider, domain, kind, domain):
            return found
        name = f"_{kind.well_known}s._tcp.{domain}"
        for place in await self._names.services(name):
            if not plain_host(place.host):
                continue
            host = place.host if place.port == 443 else f"{place.host}:{place.port}"
            path = await self._names.path(name)
            if path and (url := await self._is_dav(f"https://{host}{path}")):
                return [_by_dav(provider, url, f"the domain name system says so of {domain}")]
            if found := await self._well_known(provider, host, kind, domain):
                return found
        return []

    async def _well_known(self, provider: Provider, host: str, kind: Kind, domain: str) -> list[FoundServers]:
        url = await self._is_dav(f"https://{host}/.well-known/{kind.well_known}")
        return [_by_dav(provider, url, f"{domain} says so")] if url else []

    async def _is_dav(self, url: str) -> str:
        """Return the address where a DAV service answers, or asks who is there; else empty."""
        found = await self._get("PROPFIND", url)
        if found is None or found[1].status not in (207, 401):
            return ""
        return found[0] if found[1].status == 207 or _takes_password(found[1]) else ""

    async def _get(self, method: str, url: str) -> tuple[str, Reply] | None:
        """Return the last address and its answer, redirects followed to https alone; None if there is no answer."""
        content = _PROPFIND if method == "PROPFIND" else None
        headers = {**XML, "Depth": "0"} if content else {}
        for _ in range(_MOST_REDIRECTS):
            try:
                reply = await self._web.request(method, url, headers=headers, content=content, judged=(401, 403, 429))
            except RetinueError:
                return None
            if reply.status not in _REDIRECTS:
                return url, reply
            try:
                url = urljoin(url, reply.headers.get("Location", ""))
                parts = urlsplit(url)
            except ValueError:
                return None
            if parts.scheme != "https" or parts.username or parts.password:
                return None
        return None


def _takes_password(reply: Reply) -> bool:
    return "basic" in str(reply.headers.get("WWW-Authenticate", "")).casefold()


def _by_sign_in(provider_id: str, how: str) -> FoundServers:
    return FoundServers(provider_id=provider_id, source=f"{how} {_TITLES[provider_id]}")


def _by_mail(servers: MailServers, source: str) -> FoundServers:
    endpoints = {"imap": servers.imap, "smtp": servers.smtp}
    return FoundServers(provider_id=Provider.IMAP, endpoints=endpoints, username=servers.username, source=source)


def _by_dav(provider: Provider, url: str, source: str) -> FoundServers:
    return FoundServers(provider_id=provider, endpoints={provider.value: url}, source=source)


def _ascii(domain: str) -> str:
    try:
        return domain.strip().encode("idna").decode("ascii").casefold()
    except UnicodeError:
        return ""


async def _within(
    seconds: float, searches: Sequence[Coroutine[None, None, list[FoundServers]]]
) -> list[list[FoundServers]]:
    """Run searches at once; returns what each found in time, in their order."""
    tasks = [asyncio.create_task(search) for search in searches]
    try:
        done, _ = await asyncio.wait(tasks, timeout=seconds)
    finally:
        for task in tasks:
            task.cancel()
    return [task.result() for task in tasks if task in done]
