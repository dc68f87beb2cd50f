"""What sites let programs read, and how they are treated."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import Any

import httpx
import pytest
from fastapi import Response
from fastapi.responses import RedirectResponse
from temporalio.exceptions import ApplicationError

from activities.web.fetch import FetchedPage
from activities.web.robots import Robots
from activities.web.throttle import SiteThrottle
from retinue.errors import NotAllowed, ServiceBusy


async def refused(fetch: Any, where: str) -> str | None:
    with pytest.raises(ApplicationError) as failure:
        await fetch(where)
    return failure.value.type


@pytest.mark.parametrize(
    "rules",
    [
        "User-agent: *\nDisallow: /private",
        "User-agent: other\nAllow: /\n\nUser-agent: *\nDisallow: /*vate/$\nDisallow: /private/page",
        "User-agent: Retinue\nUser-agent: other\nDisallow: /private\n\nUser-agent: *\nAllow: /",
        "user-agent: retinue/2.0\r\ndisallow: /PRIVATE\r\ndisallow: /private",
        "\ufeffUser-agent: *\nDisallow: /",
        "User-agent: a\nUser-agent: *\n# a comment\n\nDisallow: /private",
        f"{'x' * 100_000}\nUser-agent: *\nDisallow: /private",
    ],
)
async def test_what_a_site_forbids_is_not_read(fetch: Any, site: Any, rules: str) -> None:
    site.robots(rules)
    site.html("/private/page", "<p>secret</p>")

    assert await refused(fetch, "/private/page") == "NotAllowed"
    assert site.asked == ["/robots.txt"]


@pytest.mark.parametrize(
    "rules",
    [
        "",
        "nonsense",
        "<html>no such file</html>",
        "User-agent: other\nDisallow: /",
        "User-agent: *\nDisallow: /\n\nUser-agent: retinue\nDisallow:",
        "User-agent: *\nDisallow: /\nAllow: /public",
        "User-agent: retinuebot\nDisallow: /",
    ],
)
async def test_what_a_site_allows_is_read(fetch: Any, site: Any, rules: str) -> None:
    site.robots(rules)
    site.html("/public/page", "<p>hello</p>")

    assert (await fetch("/public/page"))["text"] == "hello"


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410])
async def test_a_site_that_shows_no_rules_has_none(fetch: Any, site: Any, status: int) -> None:
    site.robots("User-agent: *\nDisallow: /", status)
    site.html("/x", "<p>hello</p>")

    assert (await fetch("/x"))["text"] == "hello"


@pytest.mark.parametrize(
    ("status", "kind"), [(500, "ServiceUnavailable"), (503, "ServiceUnavailable"), (429, "ServiceBusy")]
)
async def test_rules_that_cannot_be_had_forbid_everything_until_they_can(
    fetch: Any, site: Any, status: int, kind: str
) -> None:
    site.robots("", status)
    site.html("/x", "<p>hello</p>")
    assert await refused(fetch, "/x") == kind
    assert site.asked == ["/robots.txt"]

    site.robots("")
    assert (await fetch("/x"))["text"] == "hello"


async def test_rules_are_asked_for_once_in_an_hour(fetch: Any, site: Any, clock: Any) -> None:
    site.robots("User-agent: *\nDisallow: /private")
    site.html("/x", "<p>hello</p>")
    await fetch("/x")
    clock.advance(minutes=50)
    await fetch("/x")
    clock.advance(minutes=20)
    await fetch("/x")

    assert site.asked == ["/robots.txt", "/x", "/x", "/robots.txt", "/x"]


async def test_rules_may_stand_elsewhere_but_at_no_closed_address(fetch: Any, site: Any) -> None:
    site.pages["/robots.txt"] = RedirectResponse("/rules")
    site.pages["/rules"] = Response("User-agent: *\nDisallow: /private", media_type="text/plain")
    assert await refused(fetch, "/private") == "NotAllowed"

    site.pages["/robots.txt"] = RedirectResponse(f"http://127.0.0.1:{site.port}/rules")
    assert await refused(fetch, site.address("/x", host="other.example")) == "NotAllowed"
    assert site.asked == ["/robots.txt", "/rules", "/robots.txt"]


async def test_where_a_page_leads_to_has_rules_of_its_own(fetch: Any, site: Any) -> None:
    site.pages["/open"] = RedirectResponse("/private")
    site.robots("User-agent: *\nDisallow: /private")
    site.html("/private", "<p>secret</p>")

    assert await refused(fetch, "/open") == "NotAllowed"
    assert site.asked == ["/robots.txt", "/open"]


@pytest.mark.parametrize(
    "rules",
    [
        "".join(f"User-agent: a{n}\n" for n in range(15_000)) + "".join(f"Disallow: /{n}\n" for n in range(15_000)),
        "User-agent: *\n" + f"Disallow: /{'*a' * 200}b\n" * 1000,
        "User-agent: *\nDisallow: /" + "%" * 500_000,
        "x" * 3_000_000,
    ],
)
async def test_hostile_rules_cost_little(fetch: Any, site: Any, rules: str) -> None:
    """Within the two seconds that a page may take; 15,000 names with 15,000 rules each would take minutes."""
    site.robots(rules)
    site.html("/aaaa", "<p>hello</p>")

    assert (await asyncio.wait_for(fetch("/aaaa"), timeout=5))["text"] == "hello"


@pytest.mark.parametrize(("said", "seconds"), [("Crawl-delay: 3", 3), ("Crawl-delay: 86400", 10), ("", 0)])
async def test_the_pace_that_a_site_wants_is_kept_within_reason(clock: Any, said: str, seconds: float) -> None:
    async def ask(url: httpx.URL) -> FetchedPage:
        return FetchedPage(url, 200, httpx.Headers(), f"User-agent: *\nAllow: /\n{said}".encode(), False)

    assert await Robots(ask, clock=clock).check(httpx.URL("http://site.example/x")) == seconds


async def test_a_site_is_asked_one_thing_at_a_time_with_a_gap() -> None:
    manners, inside, most, ends = SiteThrottle(gap=0.1), 0, 0, []
    loop = asyncio.get_running_loop()

    async def visit() -> None:
        nonlocal inside, most
        async with manners.turn("site.example"):
            inside, most = inside + 1, max(most, inside + 1)
            started = loop.time()
            await asyncio.sleep(0.01)
            inside -= 1
            ends.append((started, loop.time()))

    await asyncio.gather(*(visit() for _ in range(3)))
    gaps = [later[0] - earlier[1] for earlier, later in pairwise(ends)]
    assert most == 1
    assert all(gap >= 0.09 for gap in gaps)


async def test_a_pause_is_over_when_it_is_over() -> None:
    now = 100.0
    manners = SiteThrottle(gap=0, clock=lambda: now)
    manners.pause("site.example", 30)
    with pytest.raises(ServiceBusy) as busy:
        async with manners.turn("site.example"):
            raise NotAllowed("unreachable")
    assert busy.value.retry_after == 30
    now = 130.0
    async with manners.turn("site.example"):
        pass
