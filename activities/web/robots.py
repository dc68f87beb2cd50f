"""What a site lets programs read: its robots.txt, by the rules of RFC 9309."""

import asyncio
import re
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

import httpx
from protego import Protego

from activities.web.fetch import FetchedPage, Step, follow
from retinue.errors import NotAllowed, ServiceUnavailable
from retinue.network.service_client import pause_asked, wants_pause
from retinue.network.ttl_cache import TtlCache

NAME = "retinue"
MAX_ROBOTS_BYTES = 512 * 1024
_LONGEST_DELAY = 10.0
_LONGEST_LINE = 2048
_AGENT = re.compile(r"\s*user-?\s?agent\s*:\s*([^\s#]*)", re.IGNORECASE)
_SIZE = 32
_LIFETIME = timedelta(hours=1)


class Robots:
    """The rules of the sites that were visited lately.

    Args:
        step: Asks one address once.
        clock: The present.
    """

    def __init__(self, step: Step, *, clock: Callable[[], datetime]) -> None:
        self._step = step
        self._clock = clock
        self._known: TtlCache[Protego] = TtlCache(size=_SIZE, lifetime=_LIFETIME, clock=clock)

    async def check(self, url: httpx.URL) -> float:
        """See that a page may be read; gives the seconds that the site wants between two visits, at most ten.

        Raises:
            NotAllowed: The site does not want it.
            ServiceUnavailable: Its rules cannot be had now, which means no until they can.
            ServiceBusy: It asks for a pause.
        """
        address = url.copy_with(raw_path=b"/robots.txt")
        rules = await self._known.get_or_load(str(address), lambda: self._ask(address))
        if not rules.can_fetch(str(url), NAME):
            raise NotAllowed("the site's robots.txt does not let programs read this page", hint="open it yourself")
        return min(rules.crawl_delay(NAME) or 0.0, _LONGEST_DELAY)

    async def _ask(self, address: httpx.URL) -> Protego:
        visit = await follow(address, self._step)
        if visit.status == httpx.codes.TOO_MANY_REQUESTS:
            pause = pause_asked(visit.headers.get("Retry-After"), now=self._clock())
            raise wants_pause("the site", pause)
        if visit.status >= 500:
            raise ServiceUnavailable(
                f"the site's robots.txt cannot be had now (HTTP {visit.status}), so nothing is read"
            )
        return await asyncio.to_thread(Protego.parse, "\n".join(_for_us(_text(visit))))


def _text(visit: FetchedPage) -> str:
    """Return the file's text; a site without a readable file forbids nothing."""
    return visit.body.decode("utf-8-sig", "replace") if visit.status == httpx.codes.OK else ""


def _for_us(text: str) -> Iterator[str]:
    """Return the rules with all other agents as one, since each rule counts once per name, which can be thousands."""
    group: set[str] = set()
    for line in text.splitlines():
        found = _AGENT.match(line)
        if found is None:
            group = group if not line.strip() or line.lstrip().startswith("#") else set()
            yield line[:_LONGEST_LINE]
            continue
        name = found[1].casefold().partition("/")[0]
        name = name if name in ("*", NAME) else "-"
        if name not in group:
            yield f"User-agent: {name}"
        group.add(name)
