"""Redirects, step by step."""

from __future__ import annotations

import httpx
import pytest

from activities.web.fetch import FetchedPage, follow
from retinue.errors import NotAllowed


class Way:
    """Addresses that lead from one to the next, and which were taken."""

    def __init__(self, **leads: str) -> None:
        self.leads = leads
        self.taken: list[str] = []

    async def step(self, url: httpx.URL) -> FetchedPage:
        self.taken.append(str(url))
        target = self.leads.get(url.path.strip("/"))
        headers = httpx.Headers({"Location": target} if target else {})
        return FetchedPage(url, 302 if target else 200, headers, b"", False)


@pytest.mark.parametrize("target", ["http://site.example/b", "HTTP://other.example/b"])
async def test_no_way_leads_from_encryption_to_none(target: str) -> None:
    """Whoever sits on the line could read what is asked for and write what is answered."""
    way = Way(a=target)
    with pytest.raises(NotAllowed, match="without encryption"):
        await follow(httpx.URL("https://site.example/a"), way.step)
    assert way.taken == ["https://site.example/a"]


@pytest.mark.parametrize(
    ("start", "target", "end"),
    [
        ("http://site.example/a", "https://site.example/b#part", "https://site.example/b"),
        ("https://site.example/a", "//other.example/b", "https://other.example/b"),
        ("https://site.example/x/../a", "b?c=d", "https://site.example/b?c=d"),
    ],
)
async def test_other_ways_are_followed(start: str, target: str, end: str) -> None:
    way = Way(a=target)
    assert str((await follow(httpx.URL(start), way.step)).url) == end
