"""Servers found by an address alone: what a domain says by the web and by its names, through the rules of egress."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import dns.asyncresolver
import dns.message
import dns.rrset
import httpx
import pytest
from pydantic import SecretStr

from accounts.discovery import finder
from accounts.discovery.autoconfig import read
from accounts.discovery.finder import Finder
from accounts.discovery.names import DnsNames, Place
from accounts.discovery.service import ServerDiscovery
from retinue.accounts.connection import Provider
from retinue.accounts.wire import FoundServers
from retinue.errors import InvalidArguments, NotFound
from retinue.network.egress import Egress, GuardedTransport

PUBLIC = "93.184.216.34"
CONFIG = """<clientConfig version="1.1"><emailProvider id="example.com">
<incomingServer type="pop3"><hostname>pop.example.com</hostname><port>995</port><socketType>SSL</socketType></incomingServer>
<incomingServer type="imap"><hostname>plain.example.com</hostname><port>143</port><socketType>plain</socketType>
  <authentication>password-cleartext</authentication><username>%EMAILADDRESS%</username></incomingServer>
<incomingServer type="imap"><hostname>start.example.com</hostname><port>143</port><socketType>STARTTLS</socketType>
  <authentication>password-cleartext</authentication><username>%EMAILADDRESS%</username></incomingServer>
<incomingServer type="imap"><hostname>imap.%EMAILDOMAIN%</hostname><port>993</port><socketType>SSL</socketType>
  <authentication>OAuth2</authentication><authentication>password-cleartext</authentication>
  <username>%EMAILLOCALPART%</username></incomingServer>
<outgoingServer type="smtp"><hostname>smtp.example.com</hostname><port>587</port><socketType>STARTTLS</socketType>
  <authentication>password-cleartext</authentication><username>%EMAILADDRESS%</username></outgoingServer>
</emailProvider></clientConfig>"""
FOUND = {"imap": "imaps://imap.example.com:993", "smtp": "smtp://smtp.example.com:587"}


@dataclass
class ScriptedNames:
    """What a name server would say."""

    srv: Mapping[str, Sequence[Place]] = field(default_factory=dict)
    mx: Mapping[str, Sequence[str]] = field(default_factory=dict)
    txt: Mapping[str, str] = field(default_factory=dict)

    async def services(self, name: str) -> Sequence[Place]:
        return self.srv.get(name, ())

    async def mail_hosts(self, domain: str) -> Sequence[str]:
        return self.mx.get(domain, ())

    async def path(self, name: str) -> str:
        return self.txt.get(name, "")


@dataclass
class Web:
    """Pages by address; everything else is not there. It keeps what it was asked."""

    pages: Mapping[str, httpx.Response]
    private: Sequence[str] = ()
    asked: list[httpx.Request] = field(default_factory=list)

    def answer(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        assert request.url.host == PUBLIC, "a request went past the checked address"
        url = f"{request.url.scheme}://{request.headers['host']}{request.url.path}"
        page = self.pages.get(url, httpx.Response(404))
        return httpx.Response(page.status_code, headers=page.headers, stream=httpx.ByteStream(page.content))

    async def resolve(self, host: str, port: int) -> Sequence[str]:
        return ["10.0.0.7"] if host in self.private else [PUBLIC]


@asynccontextmanager
async def over(web: Web, names: ScriptedNames | None = None, *, ispdb: bool = False) -> AsyncIterator[Finder]:
    egress = Egress(resolve=web.resolve)
    async with httpx.AsyncClient(transport=GuardedTransport(egress, httpx.MockTransport(web.answer))) as client:
        yield Finder(client, names or ScriptedNames(), egress, ispdb=ispdb)


async def found(
    web: Web, address: str = "ana@example.com", names: ScriptedNames | None = None, *, ispdb: bool = False
) -> list[FoundServers]:
    async with over(web, names, ispdb=ispdb) as finding:
        return await finding.find(address)


def xml(text: str) -> httpx.Response:
    return httpx.Response(200, text=text)


def moved(address: str) -> httpx.Response:
    return httpx.Response(302, headers={"location": address})


def asks() -> httpx.Response:
    return httpx.Response(401, headers={"www-authenticate": 'Basic realm="DAV"'})


async def test_a_domain_describes_its_mail_servers() -> None:
    web = Web({"https://autoconfig.example.com/mail/config-v1.1.xml": xml(CONFIG)})
    (way,) = await found(web)
    assert (way.provider_id, way.endpoints, way.username) == ("imap", FOUND, "ana")
    assert way.source == "example.com describes them"


async def test_the_address_itself_is_told_nobody() -> None:
    web = Web({})
    await found(web, "ana.canary@example.com", ispdb=True)
    sent = [f"{request.url} {request.headers} {request.content!r}" for request in web.asked]
    assert len(sent) > 4
    assert not [each for each in sent if "canary" in each or "authorization" in each.casefold()]


async def test_mozillas_list_is_asked_last_and_only_where_it_is_allowed() -> None:
    web = Web({"https://autoconfig.thunderbird.net/v1.1/example.com": xml(CONFIG)})
    assert await found(web) == []
    assert "autoconfig.thunderbird.net" not in {request.headers["host"] for request in web.asked}
    (way,) = await found(web, ispdb=True)
    assert way.endpoints == FOUND
    assert "Mozilla" in way.source


async def test_names_stand_in_where_no_page_does() -> None:
    names = ScriptedNames(
        srv={
            "_imaps._tcp.example.com": [Place("mx.hoster.example", 993)],
            "_submissions._tcp.example.com": [Place("mx.hoster.example", 465)],
        }
    )
    (way,) = await found(Web({}), names=names)
    assert way.endpoints == {"imap": "imaps://mx.hoster.example:993", "smtp": "smtps://mx.hoster.example:465"}
    assert "domain name system" in way.source


async def test_a_strangers_page_does_not_point_into_the_own_network() -> None:
    page = {"https://autoconfig.example.com/mail/config-v1.1.xml": xml(CONFIG)}
    assert await found(Web(page, private=["smtp.example.com"])) == []
    assert await found(Web(page, private=["autoconfig.example.com"])) == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<html>not here</html>",
        '<!DOCTYPE x [<!ENTITY a "b">]><clientConfig>&a;</clientConfig>',
        CONFIG.replace("SSL", "plain").replace("STARTTLS", "plain"),
        CONFIG.replace("smtp.example.com", "10.0.0.1"),
        CONFIG.replace("smtp.example.com", "a b/@c.example"),
        CONFIG.replace("587", "99999"),
        CONFIG.replace("password-cleartext", "GSSAPI"),
    ],
)
def test_a_page_without_encrypted_servers_for_passwords_is_none(text: str) -> None:
    assert read(text.encode(), address="ana@example.com") is None


async def test_calendars_and_contacts_are_found_by_their_well_known_addresses() -> None:
    web = Web(
        {
            "https://example.com/.well-known/caldav": moved("https://cloud.example.com/remote.php/dav"),
            "https://example.com/.well-known/carddav": moved("/remote.php/dav"),
            "https://cloud.example.com/remote.php/dav": asks(),
            "https://example.com/remote.php/dav": httpx.Response(207, text="<x/>"),
        }
    )
    calendars, contacts = await found(web)
    assert calendars.endpoints == {"caldav": "https://cloud.example.com/remote.php/dav"}
    assert contacts.endpoints == {"carddav": "https://example.com/remote.php/dav"}


async def test_names_say_where_calendars_are_and_at_which_path() -> None:
    name = "_caldavs._tcp.example.com"
    names = ScriptedNames(srv={name: [Place("dav.hoster.example", 443)]}, txt={name: "/calendars"})
    (way,) = await found(Web({"https://dav.hoster.example/calendars": asks()}), names=names)
    assert way.endpoints == {"caldav": "https://dav.hoster.example/calendars"}


@pytest.mark.parametrize(
    "target",
    [
        "http://example.com/dav",
        "https://user:pw@example.com/dav",
        "https://10.0.0.1/dav",
        "https://[::1]/dav",
        "https://intern.example.com/dav",
        "https://example.com/.well-known/caldav",
        "//[",
    ],
)
async def test_a_redirect_that_is_not_public_and_encrypted_is_not_followed(target: str) -> None:
    pages = {target: asks(), "https://example.com/.well-known/caldav": moved(target)}
    assert await found(Web(pages, private=["intern.example.com"])) == []


async def test_a_site_that_asks_everywhere_for_something_else_is_no_dav_server() -> None:
    page = {"https://example.com/.well-known/caldav": httpx.Response(401, headers={"www-authenticate": "Negotiate"})}
    assert await found(Web(page)) == []


@pytest.mark.parametrize(
    ("address", "mx", "expected"),
    [
        ("ana@gmail.com", (), "google"),
        ("ana@outlook.com", (), "microsoft"),
        ("ana@example.com", ("aspmx.l.google.com",), "google"),
        ("ana@example.com", ("example-com.mail.protection.outlook.com",), "microsoft"),
    ],
)
async def test_providers_with_a_sign_in_come_first(address: str, mx: Sequence[str], expected: str) -> None:
    ways = await found(Web({}), address, ScriptedNames(mx={"example.com": mx}))
    assert [way.provider_id for way in ways] == [expected]


async def test_a_host_that_only_looks_like_googles_is_not() -> None:
    assert await found(Web({}), names=ScriptedNames(mx={"example.com": ["notgoogle.com", "google.com.example"]})) == []


async def test_a_servers_address_is_looked_at_or_taken_as_it_is() -> None:
    web = Web({"https://dav.example.com/.well-known/carddav": asks()})
    (way,) = await found(web, "https://dav.example.com")
    assert way.provider_id == "carddav"
    ways = await found(web, "https://dav.example.com/ana/work/")
    assert [each.endpoints for each in ways] == [
        {"caldav": "https://dav.example.com/ana/work/"},
        {"carddav": "https://dav.example.com/ana/work/"},
    ]


@pytest.mark.parametrize(
    "address", ["ana", "@example.com", "ana@localhost", "ana@10.0.0.1", "http://dav.example.com", "ana@exa mple.com"]
)
async def test_what_is_no_address_is_said(address: str) -> None:
    with pytest.raises(InvalidArguments):
        await found(Web({}), address)


async def test_a_name_in_another_script_is_looked_up_as_names_are() -> None:
    web = Web({"https://xn--mller-kva.example/.well-known/caldav": asks()})
    assert [way.provider_id for way in await found(web, "ana@müller.example")] == ["caldav"]


async def test_a_server_that_is_silent_does_not_hold_up_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    class Silent(ScriptedNames):
        async def mail_hosts(self, domain: str) -> Sequence[str]:
            await asyncio.Event().wait()
            return ()

    monkeypatch.setattr(finder, "DEADLINE", 2.0)
    web = Web({"https://example.com/.well-known/caldav": asks()})
    assert [way.provider_id for way in await found(web, names=Silent())] == ["caldav"]


async def test_servers_elsewhere_are_used_only_after_the_person_saw_them() -> None:
    page = {"https://autoconfig.example.com/mail/config-v1.1.xml": xml(CONFIG)}
    asked = {"username": "", "password": SecretStr("canary-password")}
    async with over(Web(page)) as finding:
        own = ServerDiscovery(finder=finding)
        assert await own.endpoints(Provider.IMAP, "ana@example.com", **asked) == FOUND  # type: ignore[arg-type]  # as asked
        await own.close()
    elsewhere = {page_: xml(CONFIG.replace("smtp.example.com", "smtp.hoster.example")) for page_ in page}
    async with over(web := Web(elsewhere)) as finding:
        own = ServerDiscovery(finder=finding)
        with pytest.raises(NotFound, match=r"not at your own domain: .*smtp\.hoster\.example"):
            await own.endpoints(Provider.IMAP, "ana@example.com", **asked)  # type: ignore[arg-type]  # as asked
        await own.close()
    assert not [request for request in web.asked if "canary" in f"{request.url}{request.headers}{request.content!r}"]


class NameServer(asyncio.DatagramProtocol):
    """A name server on this machine that knows a few records."""

    RECORDS = (
        ("_imaps._tcp.example.com.", "SRV", "20 1 993 second.example.com."),
        ("_imaps._tcp.example.com.", "SRV", "10 1 993 first.example.com."),
        ("_imap._tcp.example.com.", "SRV", "0 0 0 ."),
        ("example.com.", "MX", "5 aspmx.l.google.com."),
        ("_caldavs._tcp.example.com.", "TXT", '"path=/dav"'),
    )

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._send: Callable[[bytes, object], None] = transport.sendto  # type: ignore[attr-defined]  # of datagrams

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        query = dns.message.from_wire(data)
        answer = dns.message.make_response(query)
        asked = query.question[0]
        for name, kind, value in self.RECORDS:
            if asked.name.to_text() == name and asked.rdtype.name == kind:
                answer.answer.append(dns.rrset.from_text(name, 60, "IN", kind, value))
        self._send(answer.to_wire(), addr)


async def test_names_are_looked_up_at_a_name_server() -> None:
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(NameServer, local_addr=("127.0.0.1", 0))
    resolver = dns.asyncresolver.Resolver(configure=False)
    resolver.nameservers, resolver.port = ["127.0.0.1"], transport.get_extra_info("sockname")[1]
    names = DnsNames(resolver)
    first, second = Place("first.example.com", 993), Place("second.example.com", 993)
    assert await names.services("_imaps._tcp.example.com") == [first, second]
    assert await names.services("_imap._tcp.example.com") == []
    assert await names.services("_nothing._tcp.example.com") == []
    assert await names.mail_hosts("example.com") == ["aspmx.l.google.com"]
    assert await names.path("_caldavs._tcp.example.com") == "/dav"
    transport.close()
