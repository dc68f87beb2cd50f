"""One bounded GET after another: redirects by hand, sizes counted on the wire and again after decompression."""

import zlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import httpx

from retinue.errors import NotAllowed, ServiceRefused, ServiceUnavailable
from retinue.network.connection_errors import about_tls
from retinue.network.egress import readable_host
from retinue.runtime import telemetry

MAX_BYTES = 2 * 1024 * 1024
MAX_REDIRECTS = 5
_CHUNK = 64 * 1024
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
# Both headers of zlib, and none at all: what "deflate" means depends on whom one asks.
_WINDOW_BITS = {"gzip": (31,), "x-gzip": (31,), "deflate": (15, -15)}


@dataclass(frozen=True)
class FetchedPage:
    """What one address answered."""

    url: httpx.URL
    status: int
    headers: httpx.Headers
    body: bytes
    cut: bool

    @property
    def sends_on(self) -> bool:
        """Whether it is a redirect."""
        return self.status in _REDIRECTS and "Location" in self.headers


_SENSELESS = "the page leads on to an address that makes no sense"
Step = Callable[[httpx.URL], Awaitable[FetchedPage]]


async def get(client: httpx.AsyncClient, url: httpx.URL, *, most_bytes: int = MAX_BYTES) -> FetchedPage:
    """Ask one address once. A longer body is cut, which `cut` says.

    Raises:
        RetinueError: The address is closed (see `retinue.network.egress`).
        ServiceUnavailable: No answer, or it broke off.
        ServiceRefused: Its certificate or its encoding is not to be used.
    """
    try:
        request = client.build_request("GET", url, headers={"Accept": _ACCEPT, "Accept-Encoding": "gzip"})
        with telemetry.span("HTTP GET", outgoing=True, peer__service="a web page") as span:
            response = await client.send(request, stream=True)
            span.set(http__response__status_code=response.status_code)
        try:
            body, cut = await _wire(response, most_bytes)
        finally:
            await response.aclose()
    except httpx.TimeoutException:
        raise ServiceUnavailable("the site did not answer in time") from None
    except UnicodeError:  # httpx reads where an answer leads before it gives it to us
        raise ServiceRefused(_SENSELESS) from None
    except httpx.HTTPError as error:
        raise _broken(error) from None
    body, longer = _unpacked(body, response.headers.get("Content-Encoding", ""), most_bytes)
    return FetchedPage(url, response.status_code, response.headers, body, cut or longer)


_ACCEPT = "text/html, application/xhtml+xml, text/plain;q=0.9, application/json;q=0.8, application/xml;q=0.8, */*;q=0.1"


async def follow(url: httpx.URL, step: Step) -> FetchedPage:
    """Take each step up to an answer that sends nowhere.

    Raises:
        NotAllowed: It leads from https to http, where anybody on the way could read and change it.
        ServiceRefused: It leads on too often, or to no address.
    """
    visit = await step(url)
    for _ in range(MAX_REDIRECTS):
        if not visit.sends_on:
            return visit
        visit = await step(_next(visit))
    if visit.sends_on:
        raise ServiceRefused(f"the page leads on more than {MAX_REDIRECTS} times")
    return visit


def _next(visit: FetchedPage) -> httpx.URL:
    try:
        target = visit.url.join(visit.headers["Location"]).copy_with(fragment=None)
        readable_host(target)
    except (httpx.InvalidURL, ValueError):
        raise ServiceRefused(_SENSELESS) from None
    if visit.url.scheme == "https" and target.scheme == "http":
        raise NotAllowed("the page leads on to an address without encryption, which is not followed")
    return target


async def _wire(response: httpx.Response, most_bytes: int) -> tuple[bytes, bool]:
    """Return the body as it came, compressed or not, up to the limit."""
    content = bytearray()
    async for chunk in response.aiter_raw(_CHUNK):
        content += chunk
        if len(content) > most_bytes:
            return bytes(content[:most_bytes]), True
    return bytes(content), False


def _unpacked(body: bytes, encoding: str, most_bytes: int) -> tuple[bytes, bool]:
    """Return the body without its compression, never more than the limit of it: a few bytes can unpack to gigabytes."""
    encoding = encoding.strip().casefold()
    if encoding in ("", "identity") or not body:
        return body, False
    for window_bits in _WINDOW_BITS.get(encoding, ()):
        unpacker = zlib.decompressobj(window_bits)
        try:
            content = unpacker.decompress(body, most_bytes)
        except zlib.error:
            continue
        return content, bool(unpacker.unconsumed_tail)
    raise ServiceRefused("the page is packed in a way that cannot be read")


def _broken(error: httpx.HTTPError) -> ServiceUnavailable | ServiceRefused:
    if (refused := about_tls(error, "the site", hint="open the address in a browser to see more")) is not None:
        return refused
    return ServiceUnavailable(f"the site cannot be reached or broke off: {type(error).__name__}")
