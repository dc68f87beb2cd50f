"""From an address to a page as text: rules of the site, visits, politeness, a short memory."""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta

import httpx

from activities.web.contract import Page
from activities.web.fetch import FetchedPage, follow, get
from activities.web.media import HTML, decoded, media_type
from activities.web.reader import MAX_CHARS, Reader, Text
from activities.web.robots import MAX_ROBOTS_BYTES, Robots
from activities.web.throttle import SiteThrottle
from retinue.errors import NotFound, ServiceRefused, ServiceUnavailable
from retinue.network.egress import web_address
from retinue.network.service_client import pause_asked, wants_pause
from retinue.network.ttl_cache import TtlCache
from retinue.text import without_invisible

_GONE = frozenset({404, 410})
_LIFETIME = timedelta(minutes=5)
_SIZE = 64


class Pages:
    """Reads pages over one client, which the caller opens and closes.

    Args:
        client: A guarded one; see `retinue.network.egress`.
        deadline: Seconds that one page may take, with its redirects and the rules of its sites.
        clock: The present.
        manners: How sites are treated.
    """

    def __init__(
        self,
        client: httpx.AsyncClient,
        *,
        deadline: float,
        clock: Callable[[], datetime],
        manners: SiteThrottle | None = None,
    ) -> None:
        self._client = client
        self._deadline = deadline
        self._clock = clock
        self._manners = manners or SiteThrottle()
        self._robots = Robots(self._ask_for_rules, clock=clock)
        self._reader = Reader()
        self._pages: TtlCache[Page] = TtlCache(size=_SIZE, lifetime=_LIFETIME, clock=clock)

    async def read(self, address: str) -> Page:
        """Return the page at an address.

        Raises:
            InvalidArguments: That is no address of the web.
            NotAllowed: It, or where it leads, is closed: private, or forbidden by the site.
            NotFound: There is no such site or page.
            ServiceUnavailable: It may be there later.
            ServiceBusy: The site asks for a pause.
            ServiceRefused: It cannot be read, however often.
        """
        url = web_address(address)
        page = await self._pages.get_or_load(str(url), lambda: self._read(url))
        return page.model_copy(update={"url": address})

    async def _read(self, url: httpx.URL) -> Page:
        try:
            async with asyncio.timeout(self._deadline):
                visit = await follow(url, self._visit)
        except TimeoutError:
            raise ServiceUnavailable("the site did not answer in time") from None
        self._check(visit)
        kind = media_type(visit.headers)
        text = await self._text(kind, visit)
        return Page(
            url=str(url),
            final_url=str(visit.url),
            content_type=kind,
            title=text.title,
            text=text.text,
            truncated=text.truncated or visit.cut,
            links=text.links,
        )

    async def _visit(self, url: httpx.URL) -> FetchedPage:
        """Return one step of the way; each site on it is asked for its rules."""
        delay = await self._robots.check(url)
        async with self._manners.turn(url.host, delay=delay):
            return await get(self._client, url)

    async def _ask_for_rules(self, url: httpx.URL) -> FetchedPage:
        return await get(self._client, url, most_bytes=MAX_ROBOTS_BYTES)

    def _check(self, visit: FetchedPage) -> None:
        status = visit.status
        if status == httpx.codes.TOO_MANY_REQUESTS or (status == 503 and "Retry-After" in visit.headers):
            pause = pause_asked(visit.headers.get("Retry-After"), now=self._clock())
            self._manners.pause(visit.url.host, pause)
            raise wants_pause("the site", pause)
        if status in _GONE:
            raise NotFound(f"there is no such page (HTTP {status})")
        if status >= 500:
            raise ServiceUnavailable(f"the site has a problem of its own (HTTP {status})")
        if not 200 <= status < 300:
            raise ServiceRefused(f"the site does not show this page (HTTP {status})")

    async def _text(self, kind: str, visit: FetchedPage) -> Text:
        content = decoded(visit.body, visit.headers)
        if kind in HTML:
            return await self._reader.read(content, base=str(visit.url))
        text = without_invisible(content[: 2 * MAX_CHARS])
        return Text(title="", text=text[:MAX_CHARS], truncated=len(text) > MAX_CHARS, links=[])
