"""Politeness: one request at a time per site, a moment between two, and none while the site wants a pause."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from retinue.network.service_client import wants_pause

_MOST_SITES = 256


@dataclass
class _Site:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    next_at: float = 0.0
    open_at: float = 0.0


class SiteThrottle:
    """What is known about the sites that were visited lately, in this process.

    Args:
        gap: Seconds between the end of one request and the start of the next to the same site.
        clock: Seconds that only grow.
    """

    def __init__(self, *, gap: float = 0.5, clock: Callable[[], float] = time.monotonic) -> None:
        self._gap = gap
        self._clock = clock
        self._sites: OrderedDict[str, _Site] = OrderedDict()

    @asynccontextmanager
    async def turn(self, host: str, *, delay: float = 0.0) -> AsyncIterator[None]:
        """Hold the site's turn.

        Args:
            host: The site.
            delay: Seconds that it wants between two visits itself.

        Raises:
            ServiceBusy: It wants a pause.
        """
        site = self._site(host)
        async with site.lock:
            now = self._clock()
            if now < site.open_at:
                raise wants_pause("the site", site.open_at - now, asked=True)
            await asyncio.sleep(max(0.0, site.next_at - now))
            try:
                yield
            finally:
                site.next_at = self._clock() + max(self._gap, delay)

    def pause(self, host: str, seconds: float) -> None:
        """Remember that a site wants to be left alone."""
        self._site(host).open_at = self._clock() + seconds

    def _site(self, host: str) -> _Site:
        site = self._sites.setdefault(host, _Site())
        self._sites.move_to_end(host)
        while len(self._sites) > _MOST_SITES:
            self._sites.popitem(last=False)
        return site
