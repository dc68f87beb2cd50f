"""Where requests may go. The forms are those of S16: each names this machine, its network or a metadata service."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from fastapi import FastAPI, Request, Response

from retinue.errors import CallerError, NotAllowed, NotFound
from retinue.network.egress import Egress, GuardedTransport, HostPort, guarded_client, look_up, public, web_address
from retinue.testing import serving

PUBLIC = "93.184.216.34"


class Names:
    """A name server that gives its answers in turn, the last one for ever."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append(host)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


class Wire(httpx.AsyncBaseTransport):
    """Stands where connections are made, and notes to which address each would have been made."""

    def __init__(self, *failing: str) -> None:
        self.failing = failing
        self.sent: list[httpx.Request] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.sent.append(request)
        if request.url.host in self.failing:
            raise httpx.ConnectError("refused")
        return httpx.Response(200, text="hello")


def client(egress: Egress, wire: httpx.AsyncBaseTransport) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=GuardedTransport(egress, wire), trust_env=False)


@pytest.mark.parametrize(
    "written",
    [
        "http://127.0.0.1/",
        "http://2130706433/",
        "http://0x7f000001/",
        "http://0x7f.0.0.1/",
        "http://0X7F.1/",
        "http://017700000001/",
        "http://0177.0.0.1/",
        "http://127.000.000.001/",
        "http://127.1/",
        "http://127.0.1/",
        "http://0/",
        "http://0.0.0.0/",
        "http://127.0.0.1./",
        "http://1.2.3.4.5/",
        "http://999.1.1.1/",
        "http://localhost/",
        "http://LOCALHOST/",
        "http://localhost./",
        "http://a.localhost/",
        "http://router/",
        "http://printer.local/",
        "http://metadata.google.internal/computeMetadata/v1/",
        "http://169.254.169.254/latest/meta-data/",
        "http://0xa9fea9fe/",
        "http://2852039166/",
        "http://[::ffff:169.254.169.254]/",
        "http://100.100.100.200/",
        "http://168.63.129.16/",
        "http://[fd00:ec2::254]/",
        "http://[::1]/",
        "http://[::]/",
        "http://[0:0:0:0:0:0:0:1]/",
        "http://[::127.0.0.1]/",
        "http://[::ffff:127.0.0.1]/",
        "http://[::ffff:7f00:1]/",
        "http://[::ffff:0:7f00:1]/",
        "http://[::ffff:93.184.216.34]/",
        "http://[64:ff9b::7f00:1]/",
        "http://[64:ff9b::10.0.0.1]/",
        "http://[64:ff9b:1::1]/",
        "http://[2002:7f00:1::]/",
        "http://[2001:0:4136:e378:8000:63bf:3fff:fdd2]/",
        "http://[fe80::1]/",
        "http://[fe80::1%25eth0]/",
        "http://[fe80::1%eth0]/",
        "http://[2606:2800:220:1::1%25lo]/",
        "http://[fec0::1]/",
        "http://[ff02::1]/",
        "http://127。0。0。1/",
        "http://127．0．0．1/",
        "http://127｡0｡0｡1/",
        "http://１２７.0.0.1/",
        "http://①②⑦.⓪.⓪.①/",
        "http://٣.0.0.1/",
        "http://ⓛⓞⓒⓐⓛⓗⓞⓢⓣ/",
        "http://loc\u00adalhost/",
        "http://localhost\u200b/",
        "http://%31%32%37.0.0.1/",
        "http://127.0.0.1%2f.example.com/",
        "http://user@example.com/",
        "http://example.com:80@127.0.0.1/",
        "http://@127.0.0.1/",
        "http://example.com\\@127.0.0.1/",
        "http://example.com#@127.0.0.1\\/",
        "http://127.0.0.1\t/",
        "http://exam\nple.com/",
        "http:///etc/passwd",
        "http:127.0.0.1",
        "//127.0.0.1/",
        "http://a..example.com/",
        "http://xn--/",
        "http://xn--.example.com/",
        "http://xn--a.example/",
        "http://xn--zzzzzz99.com/",
        "http://-example.com/",
        f"http://{'a' * 64}.example.com/",
        f"http://{'a.' * 127}example.com/",
        f"http://example.com/{'a' * 2048}",
        "http://example.com:22/",
        "http://example.com:7233/",
        "http://example.com:0/",
        "http://example.com:65536/",
        "http://example.com:99999999999/",
        "file:///etc/passwd",
        "ftp://example.com/",
        "gopher://example.com:70/",
        "javascript:alert(1)",
        "data:text/plain,hello",
        "unix:///var/run/docker.sock",
        "",
        " ",
        "two words",
    ],
)
async def test_no_form_of_a_closed_address_gets_through(written: str) -> None:
    """Not even where the name server calls every name public."""
    wire = Wire()
    async with client(Egress(resolve=Names([PUBLIC])), wire) as http:
        with pytest.raises(CallerError):
            await http.get(web_address(written))
    assert wire.sent == []


@pytest.mark.parametrize(
    "address",
    [
        *("0.1.2.3", "10.0.0.1", "100.64.0.1", "100.127.255.255", "127.255.255.254", "169.254.0.1"),
        *("172.16.0.1", "172.31.255.255", "192.0.0.1", "192.0.0.9", "192.0.0.192", "192.0.2.1", "192.88.99.1"),
        *("192.168.1.1", "198.18.0.1", "198.19.255.255", "198.51.100.7", "203.0.113.7", "224.0.0.1"),
        *("239.255.255.255", "240.0.0.1", "255.255.255.255", "::", "::1", "::ffff:8.8.8.8", "::8.8.8.8", "100::1"),
        *("64:ff9b::127.0.0.1", "64:ff9b::a00:1", "64:ff9b:1::808:808", "2001::1", "2001:db8::1", "2001:10::1"),
        *("2001:20::1", "2002:808:808::1", "3fff::1", "4000::1", "5f00::1", "fc00::1", "fd12::1", "fe80::1"),
        *("fe80::1%1", "2606::1%eth0", "fec0::1", "ff0e::1", "nonsense", "", "1.1", "0x1.1.1.1", "01.1.1.1"),
    ],
)
def test_special_addresses_are_not_public(address: str) -> None:
    assert not public(address)


@pytest.mark.parametrize(
    "address",
    [
        *(
            "1.1.1.1",
            "8.8.8.8",
            "100.63.0.1",
            "100.128.0.1",
            "172.32.0.1",
            "192.0.1.1",
            "198.20.0.1",
            "223.255.255.255",
        ),
        *("2606:2800:220:1::1", "2a00:1450::1", "2001:4860:4860::8888", "64:ff9b::8.8.8.8"),
    ],
)
def test_the_rest_of_the_internet_is(address: str) -> None:
    assert public(address)


@pytest.mark.parametrize(
    "answer", [["127.0.0.1"], [PUBLIC, "10.0.0.1"], ["::1", PUBLIC], ["fe80::1%eth0"], ["::ffff:127.0.0.1"], ["junk"]]
)
async def test_a_name_with_one_closed_address_is_closed(answer: list[str]) -> None:
    wire = Wire()
    async with client(Egress(resolve=Names(answer)), wire) as http:
        with pytest.raises(NotAllowed, match="private or reserved"):
            await http.get("http://rebound.example.com/")
    assert wire.sent == []


async def test_the_connection_goes_to_the_address_that_was_checked() -> None:
    """A name server that answers differently the second time is not asked a second time."""
    names, wire = Names([PUBLIC], ["127.0.0.1"]), Wire()
    async with client(Egress(resolve=names), wire) as http:
        assert (await http.get("https://rebound.example.com/page?a=b")).text == "hello"
        with pytest.raises(NotAllowed):
            await http.get("https://rebound.example.com/page?a=b")
    [sent] = wire.sent
    assert str(sent.url) == f"https://{PUBLIC}/page?a=b"
    assert (sent.headers["host"], sent.extensions["sni_hostname"]) == ("rebound.example.com", "rebound.example.com")
    assert len(names.asked) == 2


async def test_the_next_address_is_tried_where_one_does_not_answer() -> None:
    wire = Wire("2606:2800:220:1::1")
    async with client(Egress(resolve=Names(["2606:2800:220:1::1", PUBLIC])), wire) as http:
        assert (await http.get("http://example.com/")).text == "hello"
        assert [sent.url.host for sent in wire.sent] == ["2606:2800:220:1::1", PUBLIC]
    async with client(Egress(resolve=Names([PUBLIC])), Wire(PUBLIC)) as http:
        with pytest.raises(httpx.ConnectError):
            await http.get("http://example.com/")


async def test_an_international_name_is_asked_for_in_its_ascii_form() -> None:
    names, wire = Names([PUBLIC]), Wire()
    async with client(Egress(resolve=names), wire) as http:
        await http.get("https://bücher.example.com/")
    assert names.asked == ["xn--bcher-kva.example.com"]
    assert wire.sent[0].headers["host"] == "xn--bcher-kva.example.com"


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("example.com/page", "https://example.com/page"),
        (" http://example.com ", "http://example.com"),
        ("HTTPS://Example.COM/A?b=C#d", "https://example.com/A?b=C"),
        ("example.com:443/x", "https://example.com/x"),
    ],
)
def test_addresses_are_read_as_people_write_them(written: str, meant: str) -> None:
    assert str(web_address(written)) == meant


async def test_what_is_allowed_is_exact() -> None:
    """Host and port as named, whatever the address is; the port beside it and the name below it stay closed."""
    allow = [HostPort.parse("wiki.intranet:8080"), HostPort.parse("[::1]:9000")]
    egress = Egress(allow=allow, resolve=Names(["10.0.0.7"]), hint="ask Ana")
    assert await egress.addresses(web_address("http://WIKI.intranet:8080/x")) == ["10.0.0.7"]
    assert await egress.addresses(web_address("http://[0::1]:9000/x")) == ["::1"]
    for closed in ("http://wiki.intranet:8081/", "http://a.wiki.intranet:8080/", "http://wiki.intranet/"):
        with pytest.raises(NotAllowed) as refused:
            await egress.addresses(web_address(closed))
        assert refused.value.hint == "ask Ana"


@pytest.mark.parametrize(
    "text", ["", "host", ":80", "host:", "host:0", "host:65536", "host:http", "host:-1", "host:８０"]
)
def test_half_a_place_cannot_be_allowed(text: str) -> None:
    with pytest.raises(ValueError, match="host:port"):
        HostPort.parse(text)


async def test_a_name_that_nobody_has_is_not_found() -> None:
    with pytest.raises(NotFound):
        await look_up("nobody-has-this-name.invalid", 80)
    with pytest.raises(NotFound):
        await Egress(resolve=Names([])).addresses(web_address("http://example.com/"))


async def test_the_own_resolver_knows_this_machine_and_the_guard_refuses_it() -> None:
    assert "127.0.0.1" in await look_up("localhost", 80)
    with pytest.raises(NotAllowed):
        await Egress().addresses(web_address("http://localhost/"))


@pytest.fixture
def seen() -> list[dict[str, str]]:
    return []


@pytest.fixture
async def site(seen: list[dict[str, str]]) -> AsyncIterator[str]:
    """A server of this machine; gives its port."""
    app = FastAPI()

    @app.get("/{path:path}")
    async def answer(request: Request) -> Response:
        seen.append(dict(request.headers))
        return Response("hello", headers={"Set-Cookie": "who=me"})

    async with serving(app) as address:
        yield address.rpartition(":")[2]


async def test_neither_proxies_nor_cookies_get_between(
    monkeypatch: pytest.MonkeyPatch, site: str, seen: list[dict[str, str]]
) -> None:
    """A proxy would look the name up again, where nobody checks."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9/")
    egress = Egress(allow=[HostPort("site.example", int(site))], resolve=Names(["127.0.0.1"]))
    async with guarded_client(egress, timeout=5, user_agent="retinue/1") as http:
        for _ in range(2):
            assert (await http.get(f"http://site.example:{site}/")).text == "hello"
    assert [request["host"] for request in seen] == [f"site.example:{site}"] * 2
    assert [("cookie" in request, request["user-agent"]) for request in seen] == [(False, "retinue/1")] * 2


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate for one name, its key and itself in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "one.example")])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("one.example")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    file = tmp_path / "certificate.pem"
    plain = serialization.NoEncryption()
    secret = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    file.write_bytes(secret + signed.public_bytes(serialization.Encoding.PEM))
    return file


async def test_tls_goes_by_the_name_and_two_names_at_one_address_share_no_connection(certificate: Path) -> None:
    """Both names lead to this server. Only the one in its certificate is believed, also right after it was used."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server = await asyncio.start_server(_greet, "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    egress = Egress(allow=[HostPort("one.example", port), HostPort("two.example", port)], resolve=Names(["127.0.0.1"]))
    trust = ssl.create_default_context(cafile=str(certificate))
    async with server, guarded_client(egress, timeout=5, user_agent="x", tls=trust) as http:
        assert (await http.get(f"https://one.example:{port}/")).text == "hello"
        with pytest.raises(httpx.ConnectError, match=r"two\.example"):
            await http.get(f"https://two.example:{port}/")


async def _greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer on a connection that would stay open for more."""
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
    await reader.read()
    writer.close()
