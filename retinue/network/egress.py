"""Guards requests whose address a stranger may have chosen: public addresses only, and one DNS look-up.

A name is looked up once. All its addresses must be public, and the connection goes to one of the checked addresses, with
the requested name in `Host` and TLS. So a name server cannot answer a second look-up differently. Each redirect is a new
request and is checked again. Proxies of the environment are ignored, since a proxy would look up names on its own.

`GuardedTransport` does this below an HTTP client, so that no caller can forget it; `guarded_client` builds the client.
Private addresses are refused, and ports other than those of web servers. `allow` lists exceptions by host and port.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
import ssl
from collections.abc import Awaitable, Callable, Collection, Sequence
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import NamedTuple

import httpx

from retinue.errors import InvalidArguments, NotAllowed, NotFound, ServiceUnavailable

Resolver = Callable[[str, int], Awaitable[Sequence[str]]]
"""Resolves a name and a port to addresses as text."""

WEB_PORTS = frozenset({80, 443})
_DEFAULT_PORTS = {"http": 80, "https": 443}
_MOST_ADDRESSES = 4
_LONGEST_URL = 2048

_NAME = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?:\.(?!-)[a-z0-9_-]{1,63})*")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_PRIVATE_NAMES = ("localhost", "local", "internal", "intranet", "lan", "home.arpa", "onion", "test", "invalid")

# The registries of special addresses (RFC 6890 and what was added since). `ipaddress.is_global` is no replacement: on
# Python 3.11 it calls 192.0.0.9, 64:ff9b:1::1, 2002:7f00:1:: and multicast groups global.
_CLOSED_V4 = tuple(
    ipaddress.IPv4Network(block)
    for block in (
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",
        "100.64.0.0/10",  # shared by a provider's customers
        "127.0.0.0/8",
        "168.63.129.16/32",  # a public address that is the host of every virtual machine at Azure
        "169.254.0.0/16",  # link-local; metadata services are here
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/3",  # multicast, reserved, broadcast
    )
)
_OPEN_V6 = ipaddress.IPv6Network("2000::/3")
_CLOSED_V6 = tuple(
    ipaddress.IPv6Network(block)
    for block in (
        "2001::/23",  # protocol assignments, Teredo among them
        "2001:db8::/32",
        "2002::/16",  # 6to4: holds an IPv4 address, and no server is only there
        "3fff::/20",
    )
)
_TRANSLATED = ipaddress.IPv6Network("64:ff9b::/96")


class HostPort(NamedTuple):
    """A host (name or address) and a port: '127.0.0.1:8080' or '[::1]:8080' as text."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> HostPort:
        """Read 'host:port'.

        Raises:
            ValueError: It has another form; both parts are needed.
        """
        host, colon, port = text.strip().casefold().rpartition(":")
        if not (colon and host and port.isascii() and port.isdecimal() and 0 < int(port) < 65536):
            raise ValueError("write host:port, as in 'wiki.example.com:443' or '[::1]:8080'")
        return cls(_canonical(host.removeprefix("[").removesuffix("]")), int(port))


def public(address: str) -> bool:
    """Whether an address, as text, is on the public internet; for NAT64's prefix the IPv4 address in it counts."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(found, ipaddress.IPv4Address):
        return not any(found in block for block in _CLOSED_V4)
    if found.scope_id is not None:
        return False
    if found in _TRANSLATED:
        return public(str(ipaddress.IPv4Address(int(found) & 0xFFFFFFFF)))
    return found in _OPEN_V6 and not any(found in block for block in _CLOSED_V6)


async def look_up(host: str, port: int) -> Sequence[str]:
    """Return the addresses that this machine's resolver returns for a name.

    Raises:
        NotFound: The name does not exist.
        ServiceUnavailable: The name servers do not answer.
    """
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        if error.errno in (socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)):
            raise NotFound("there is no web server of that name") from None
        raise ServiceUnavailable("the name of that web server cannot be looked up now") from None
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class Egress:
    """Decides where requests may go.

    Args:
        allow: Hosts and ports that are always allowed.
        ports: Allowed on other hosts.
        resolve: Resolves names.
        hint: For the person about a refused host, such as which setting allows it.
    """

    def __init__(
        self,
        *,
        allow: Collection[HostPort] = (),
        ports: Collection[int] = WEB_PORTS,
        resolve: Resolver = look_up,
        hint: str | None = None,
    ) -> None:
        self._allow = frozenset(allow)
        self._ports = frozenset(ports)
        self._resolve = resolve
        self._hint = hint

    def check(self, url: httpx.URL) -> HostPort:
        """Check an address by its text alone.

        Raises:
            InvalidArguments: It is not a plain web address.
            NotAllowed: Its port or its host is not allowed.
        """
        if url.scheme not in _DEFAULT_PORTS:
            raise InvalidArguments("only http and https addresses can be read")
        if url.userinfo:
            raise InvalidArguments("an address with a user name in it is not read", hint="leave out what is before @")
        port = _DEFAULT_PORTS[url.scheme] if url.port is None else url.port
        try:
            readable_host(url)
        except ValueError:
            raise InvalidArguments("the host of that address is not a valid encoded name") from None
        place = HostPort(_canonical(url.raw_host.decode("ascii", "replace").casefold()), port)
        _check_form(place.host)
        if place in self._allow:
            return place
        if place.port not in self._ports:
            raise NotAllowed(f"port {place.port} is closed for reading web pages", hint=self._hint)
        if not _literal(place.host) and _is_private_name(place.host):
            raise NotAllowed("names of the own network are not read", hint=self._hint)
        return place

    async def addresses(self, url: httpx.URL) -> list[str]:
        """Return the checked addresses to which a request for `url` may connect, in the order to try.

        Raises:
            InvalidArguments: It is not a plain web address.
            NotAllowed: One of its addresses is not public, or its port is not allowed.
            NotFound: The name does not exist.
            ServiceUnavailable: It cannot be looked up now.
        """
        place = self.check(url)
        found = [place.host] if _literal(place.host) else list(await self._resolve(place.host, place.port))
        if not found:
            raise NotFound("there is no web server of that name")
        # one private address refuses them all, since an attacker mixes both to pass the check
        if place not in self._allow and not all(map(public, found)):
            raise NotAllowed("that address lies in a private or reserved network and is not read", hint=self._hint)
        return found[:_MOST_ADDRESSES]


def web_address(text: str) -> httpx.URL:
    """Read an address as people write it: without a scheme it means https; the part after '#' is dropped.

    Raises:
        InvalidArguments: It is not a web address.
    """
    text = text.strip()
    if len(text) > _LONGEST_URL or re.search(r"[\s\\\x00-\x1f\x7f]", text):
        raise InvalidArguments("that is not a web address", hint="write it as in 'https://example.com/page'")
    try:
        url = httpx.URL(text if "://" in text else f"https://{text}").copy_with(fragment=None)
        readable_host(url)
    except (httpx.InvalidURL, ValueError):  # idna raises a bare UnicodeError for some invalid names
        raise InvalidArguments("that is not a web address", hint="write it as in 'https://example.com/page'") from None
    return url


def readable_host(url: httpx.URL) -> str:
    """Return the host in readable form: `xn--...` decoded.

    Raises:
        ValueError: It is not a valid encoded name, as in `http://xn--/`.
    """
    return url.host


def _check_form(host: str) -> None:
    """Refuse every form of a host that two programs could read differently.

    Raises:
        InvalidArguments: It has such a form.
    """
    if _literal(host):
        return
    plain = len(host) <= 253 and _NAME.fullmatch(host) is not None
    # the C library takes a host that ends in a number for an IPv4 address: decimal, octal, hex, or with omitted parts
    if not plain or _NUMBER.fullmatch(host.rpartition(".")[2]):
        raise InvalidArguments("the host of that address is written in a way that is not read")


def _canonical(host: str) -> str:
    """Return an address in its canonical form, a name unchanged."""
    return str(ipaddress.ip_address(host)) if _literal(host) else host


def _literal(host: str) -> bool:
    """Whether a host is an address in an unambiguous form, without a zone."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return "%" not in host


def _is_private_name(host: str) -> bool:
    return "." not in host or any(host == name or host.endswith(f".{name}") for name in _PRIVATE_NAMES)


class GuardedTransport(httpx.AsyncBaseTransport):
    """Sends each request to an address that `egress` has checked, and to no other.

    Args:
        egress: Checks the addresses.
        inner: Sends the requests; see `guarded_client` for what it must not do.
    """

    def __init__(self, egress: Egress, inner: httpx.AsyncBaseTransport) -> None:
        self._egress = egress
        self._inner = inner

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Check, then connect to the first address that accepts a connection."""
        failure: Exception | None = None
        for address in await self._egress.addresses(request.url):
            try:
                return await self._inner.handle_async_request(_pinned(request, address))
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                failure = error
        raise failure or RuntimeError("no address was found")

    async def aclose(self) -> None:
        """Close the inner transport."""
        await self._inner.aclose()


def _pinned(request: httpx.Request, address: str) -> httpx.Request:
    """Return the same request to an address, with the name in `Host` and for TLS."""
    return httpx.Request(
        request.method,
        request.url.copy_with(host=address),
        headers=request.headers,
        stream=request.stream,
        extensions={**request.extensions, "sni_hostname": request.url.raw_host.decode("ascii")},
    )


def guarded_client(
    egress: Egress, *, timeout: float, user_agent: str, tls: ssl.SSLContext | None = None
) -> httpx.AsyncClient:
    """Return a client that follows no redirects, stores no cookies and uses no proxies; the caller closes it.

    Args:
        egress: Checks the addresses.
        timeout: Seconds without data; connecting may take half of it.
        user_agent: The header `User-Agent`.
        tls: Trusted certificates, by default the usual authorities'.
    """
    # no keep-alive: the pool goes by address, so two names at one address would share a TLS connection for the first name
    inner = httpx.AsyncHTTPTransport(
        verify=tls or httpx.create_ssl_context(), limits=httpx.Limits(max_keepalive_connections=0)
    )
    return httpx.AsyncClient(
        transport=GuardedTransport(egress, inner),
        timeout=httpx.Timeout(timeout, connect=timeout / 2),
        follow_redirects=False,
        trust_env=False,
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
        headers={"User-Agent": user_agent},
    )
