"""Reading pages over a real server: what comes back, and how each refusal is told."""

from __future__ import annotations

import asyncio
import gzip
import json
import tracemalloc
import zlib
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from fastapi import Response
from fastapi.responses import PlainTextResponse, RedirectResponse, StreamingResponse
from temporalio.exceptions import ApplicationError

MIB = 1024 * 1024


async def refusal(reading: Awaitable[Any]) -> ApplicationError:
    """The error of a page that cannot be read."""
    with pytest.raises(ApplicationError) as failure:
        await reading
    return failure.value


async def test_a_page_is_read_as_text(fetch: Any, site: Any) -> None:
    site.html("/news", "<title>News</title><h1>Today</h1><p>It <b>rains</b>. <a href='/more'>More</a></p>")

    assert await fetch("/news") == {
        "url": site.address("/news"),
        "final_url": site.address("/news"),
        "title": "News",
        "text": "# Today\nIt rains. More",
        "content_type": "text/html",
        "truncated": False,
        "links": [{"text": "More", "url": site.address("/more")}],
    }
    assert site.asked == ["/robots.txt", "/news"]
    asked = site.headers[1]
    assert asked["user-agent"] == "retinue/test (+ana@example.com)"
    assert asked["host"] == f"site.example:{site.port}"
    assert "cookie" not in asked


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("text/plain", "one\n  two"),
        ("application/json", '{\n  "a": 1\n}'),
        ("application/xml", "<a>\n  <b/>\n</a>"),
        ("application/rss+xml; charset=utf-8", "<rss/>"),
        ("application/ld+json", "{}"),
    ],
)
async def test_other_text_is_given_as_it_is(fetch: Any, site: Any, kind: str, body: str) -> None:
    site.pages["/data"] = Response(body, headers={"Content-Type": kind})
    page = await fetch("/data")

    assert (page["text"], page["title"], page["content_type"]) == (body, "", kind.partition(";")[0])


@pytest.mark.parametrize("kind", ["image/png", "application/pdf", "application/octet-stream", "text/evil <b>", ""])
async def test_what_is_no_text_is_refused_without_its_words(fetch: Any, site: Any, kind: str) -> None:
    site.pages["/file"] = Response(b"%PDF", headers={"Content-Type": kind})
    told = await refusal(fetch("/file"))

    assert (told.type, told.non_retryable) == ("ServiceRefused", True)
    assert "no text" in str(told)
    assert "evil" not in str(told)


@pytest.mark.parametrize(
    ("body", "kind", "text"),
    [
        ("Grüße", "text/plain; charset=utf-8", "Grüße"),
        ("Grüße".encode("latin-1"), "text/plain; charset=ISO-8859-1", "Grüße"),
        ("„Grüße“".encode("cp1252"), 'text/plain; charset="latin1"', "„Grüße“"),
        ("привет".encode("koi8-r"), "text/plain;charset=koi8-r", "привет"),
        ("日本".encode("shift_jis"), "text/plain; charset=Shift_JIS", "日本"),
        ("日本".encode("euc-jp"), "text/html", None),
        ("Grüße".encode("utf-16"), "text/plain", "Grüße"),
        ("\ufeffGrüße".encode(), "text/plain; charset=latin1", "Grüße"),
        ("Grüße".encode("latin-1"), "text/plain", "Grüße"),
        ("Grüße", "text/plain", "Grüße"),
        ("Grüße", "text/plain; charset=rot13", "Grüße"),
        ("Grüße", "text/plain; charset=utf-7", "Grüße"),
        ("Grüße", "text/plain; charset=../../etc", "Grüße"),
        (b"+ADw-script+AD4-", "text/plain; charset=utf-7", "+ADw-script+AD4-"),
        ("ab\u202ec\u200bd\x1b[2Je".encode(), "text/plain", "abcd[2Je"),
    ],
)
async def test_characters_are_read_by_their_encoding(
    fetch: Any, site: Any, body: str | bytes, kind: str, text: str | None
) -> None:
    head = b"<meta charset=euc-jp>" * (kind == "text/html")
    site.pages["/text"] = Response(head + (body.encode() if isinstance(body, str) else body), media_type=None)
    site.pages["/text"].headers["Content-Type"] = kind

    assert (await fetch("/text"))["text"] == (text or "日本")


async def test_a_long_page_is_cut_and_says_so(fetch: Any, site: Any) -> None:
    site.html("/long", "<p>word</p>" * 20_000)
    site.pages["/plain"] = PlainTextResponse("x" * 40_000)

    for path in ("/long", "/plain"):
        page = await fetch(path)
        assert (page["truncated"], len(page["text"])) == (True, 30_000)


async def test_an_endless_page_is_not_read_to_its_end(fetch: Any, site: Any) -> None:
    sent = 0

    async def endless() -> Any:
        nonlocal sent
        for _ in range(1024):
            sent += 65_536
            yield b"y" * 65_536

    site.pages["/endless"] = StreamingResponse(endless(), media_type="text/plain")
    page = await fetch("/endless")

    assert page["truncated"]
    assert sent < 16 * MIB


@pytest.mark.parametrize(("pack", "name"), [(gzip.compress, "gzip"), (zlib.compress, "deflate")])
async def test_a_packed_bomb_is_unpacked_only_so_far(
    fetch: Any, site: Any, pack: Callable[[bytes], bytes], name: str
) -> None:
    site.pages["/bomb"] = Response(pack(b"z" * 64 * MIB), media_type="text/plain", headers={"Content-Encoding": name})
    tracemalloc.start()
    page = await fetch("/bomb")
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert (page["truncated"], len(page["text"])) == (True, 30_000)
    assert most < 16 * MIB


@pytest.mark.parametrize(
    ("body", "encoding"),
    [
        (gzip.compress(b"packed", mtime=0), "gzip"),
        (zlib.compress(b"packed"), "deflate"),
        (zlib.compress(b"packed", wbits=-15), "deflate"),
        (b"packed", "identity"),
    ],
)
async def test_packed_pages_are_unpacked(fetch: Any, site: Any, body: bytes, encoding: str) -> None:
    site.pages["/x"] = Response(body, media_type="text/plain", headers={"Content-Encoding": encoding})

    assert (await fetch("/x"))["text"] == "packed"


@pytest.mark.parametrize("encoding", ["gzip", "br", "gzip, gzip", "evil"])
async def test_a_page_that_cannot_be_unpacked_is_refused(fetch: Any, site: Any, encoding: str) -> None:
    site.pages["/x"] = Response(b"not packed", media_type="text/plain", headers={"Content-Encoding": encoding})

    assert (await refusal(fetch("/x"))).type == "ServiceRefused"


@pytest.mark.parametrize(
    ("status", "headers", "kind", "final", "pause"),
    [
        (404, {}, "NotFound", True, None),
        (410, {}, "NotFound", True, None),
        (401, {}, "ServiceRefused", True, None),
        (403, {}, "ServiceRefused", True, None),
        (451, {}, "ServiceRefused", True, None),
        (304, {}, "ServiceRefused", True, None),
        (302, {}, "ServiceRefused", True, None),
        (500, {}, "ServiceUnavailable", False, None),
        (503, {}, "ServiceUnavailable", False, None),
        (503, {"Retry-After": "7"}, "ServiceBusy", False, 7),
        (429, {"Retry-After": "Mon, 02 Nov 2026 12:01:30 GMT"}, "ServiceBusy", False, 90),
        (429, {}, "ServiceBusy", False, 60),
        (429, {"Retry-After": "3600"}, "ServiceBusy", True, None),
    ],
)
async def test_how_refusals_are_told(
    fetch: Any, site: Any, status: int, headers: dict[str, str], kind: str, final: bool, pause: float | None
) -> None:
    site.pages["/x"] = Response(None, status, headers=headers)
    told = await refusal(fetch("/x"))

    assert (told.type, told.non_retryable) == (kind, final)
    assert (told.next_retry_delay and told.next_retry_delay.total_seconds()) == pause


async def test_a_site_that_wants_a_pause_is_left_alone_meanwhile(fetch: Any, site: Any) -> None:
    site.pages["/x"] = Response("later", 429, headers={"Retry-After": "30"})
    site.html("/y", "<p>hello</p>")
    await refusal(fetch("/x"))
    asked = list(site.asked)
    told = await refusal(fetch("/y"))

    assert told.type == "ServiceBusy"
    assert told.next_retry_delay is not None
    assert 28 < told.next_retry_delay.total_seconds() <= 30
    assert site.asked == asked
    assert (await fetch(site.address("/y", host="other.example")))["text"] == "hello"


async def test_a_silent_site_is_not_waited_for(fetch: Any, site: Any) -> None:
    async def silence() -> Response:
        await asyncio.sleep(3)
        return Response()

    site.pages["/x"] = silence
    told = await refusal(fetch("/x"))
    assert (told.type, told.non_retryable) == ("ServiceUnavailable", False)


async def test_a_site_that_only_drips_is_not_waited_for(fetch: Any, site: Any) -> None:
    async def drops() -> Any:
        for _ in range(20):
            yield b" "
            await asyncio.sleep(0.3)

    site.pages["/x"] = StreamingResponse(drops(), media_type="text/plain")
    told = await refusal(fetch("/x"))
    assert "did not answer in time" in str(told)


async def test_a_site_that_is_away_may_be_back_later(fetch: Any, site: Any, clock: Any) -> None:
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    async with server:
        told = await refusal(_directly(server.sockets[0].getsockname()[1], clock))
    assert (told.type, told.non_retryable) == ("ServiceUnavailable", False)


async def _directly(port: int, clock: Any) -> Any:
    from temporalio.testing import ActivityEnvironment

    from activities.web.settings import WebSettings
    from activities.web.worker import plugin
    from retinue.testing import activities_by_name

    capability = plugin(WebSettings(allow_hosts=f"127.0.0.1:{port}"))
    assert capability.run_context is not None
    async with capability.run_context():
        run = activities_by_name(capability.activities)["web.fetch"]
        return await ActivityEnvironment().run(run, {"url": f"http://127.0.0.1:{port}/"})


async def test_redirects_are_followed_and_told(fetch: Any, site: Any) -> None:
    site.pages["/1"] = RedirectResponse("2?a=b#part", 301)
    site.pages["/2"] = RedirectResponse(f"//other.example:{site.port}/3", 307)
    site.html("/3", "<p>there</p>")
    page = await fetch("/1")

    assert (page["text"], page["url"]) == ("there", site.address("/1"))
    assert page["final_url"] == site.address("/3", host="other.example")
    assert site.asked == ["/robots.txt", "/1", "/2", "/robots.txt", "/3"]


async def test_five_redirects_are_enough(fetch: Any, site: Any) -> None:
    for hop in range(6):
        site.pages[f"/{hop}"] = RedirectResponse(f"/{hop + 1}")
    site.html("/6", "<p>there</p>")

    assert (await fetch("/1"))["text"] == "there"
    assert (await refusal(fetch("/0"))).type == "ServiceRefused"


@pytest.mark.parametrize(
    "target",
    [
        "http://127.0.0.1:{port}/secret",
        "http://localhost:{port}/secret",
        "http://localhost/secret",
        "http://2130706433/secret",
        "http://[::1]/secret",
        "http://rebound.example/secret",
        "http://evil.example:{port}/secret",
        "http://site.example/secret",
        "http://who:ever@site.example:{port}/secret",
        "file:///etc/passwd",
        "ftp://site.example/secret",
        "http://a b/secret",
        "http://xn--/secret",
    ],
)
async def test_a_redirect_leads_to_no_closed_address(fetch: Any, site: Any, target: str) -> None:
    """Nothing arrives there, and what the stranger wrote is not repeated."""
    site.pages["/x"] = Response(None, 302, headers={"Location": target.format(port=site.port)})
    site.html("/secret", "the secret")
    told = await refusal(fetch("/x"))

    assert told.type in ("NotAllowed", "InvalidArguments", "ServiceRefused")
    assert told.non_retryable
    assert site.asked == ["/robots.txt", "/x"]
    assert "secret" not in str(told)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/",
        "http://127.1/",
        "localhost",
        "http://rebound.example/",
        "http://site.example:22/",
        "no url",
        "http://xn--/",
        "xn--a.example",
        "http://xn--zzzzzz99.example/page",
    ],
)
async def test_a_closed_address_is_refused_in_words(fetch: Any, site: Any, url: str) -> None:
    told = await refusal(fetch(url))

    assert told.type in ("NotAllowed", "InvalidArguments")
    assert told.non_retryable
    assert site.asked == []


async def test_the_same_page_is_read_once_in_five_minutes(fetch: Any, site: Any, clock: Any) -> None:
    site.html("/x", "<p>hello</p>")
    first, again = await asyncio.gather(fetch("/x"), fetch("/x"))
    clock.advance(minutes=4)
    await fetch(site.address("/x#part"))
    clock.advance(minutes=2)
    await fetch("/x")

    assert first == again
    assert site.asked == ["/robots.txt", "/x", "/x"]


async def test_a_failure_is_not_remembered(fetch: Any, site: Any) -> None:
    site.pages["/x"] = Response(None, 500)
    await refusal(fetch("/x"))
    site.html("/x", "<p>hello</p>")

    assert (await fetch("/x"))["text"] == "hello"


async def test_a_hostile_page_fails_alone(fetch: Any, site: Any) -> None:
    """The process that reads it is ended; what is read beside it, and the worker, go on."""
    site.html("/hostile", "".join(f"<p><b id={number}>x" for number in range(20_000)))
    site.html("/kind", "<p>hello</p>")
    told, page = await asyncio.gather(refusal(fetch("/hostile")), fetch("/kind"))

    assert (told.type, told.non_retryable) == ("ServiceRefused", True)
    assert page["text"] == "hello"


async def test_a_result_is_far_from_the_limit_of_histories(fetch: Any, site: Any) -> None:
    links = "".join(f"<a href='/{number}{'x' * 1900}'>{'y' * 400}</a>" for number in range(100))
    site.html("/x", f"<title>{'t' * 5000}</title>{links}{'<p>日本</p>' * 30_000}")
    page = await fetch("/x")

    assert len(page["links"]) == 20
    assert len(json.dumps(page)) < 256 * 1024
