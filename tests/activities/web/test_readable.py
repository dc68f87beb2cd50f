"""HTML as text: what is kept, what nobody sees, and what would keep a parser busy for minutes."""

from __future__ import annotations

import asyncio
import os
import re
from pathlib import Path
from typing import Any

import pytest

from activities.web.readable import read
from activities.web.reader import Reader
from retinue.errors import ServiceRefused

BASE = "https://site.example/here/page?x#y"


def text_of(html: str) -> str:
    text: str = read(html, base=BASE, most=30_000)["text"]
    return text


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("<h1>One</h1><h3>Three</h3>", "# One\n### Three"),
        ("<h2><a href=x>Linked</a></h2>", "## Linked"),
        ("<h2>\n<div>Boxed</div></h2>", "## Boxed"),
        ("<p>one\n two</p><p>three</p>", "one two\nthree"),
        ("one<br>two<hr>three", "one\ntwo\nthree"),
        ("a<b>b</b><i> c</i>", "ab c"),
        ("<ul><li>one<li><p>two</p><li></ul>", "- one\n- two"),
        ("<ul><li>one<ul><li>inner</ul><li>two</ul>", "- one\n- inner\n- two"),
        ("<dl><dt>Word<dd>Meaning</dl>", "Word\nMeaning"),
        ("<table><tr><th>A<th>B<tr><td>1<td><b>2</b></table>", "| A | B |\n| 1 | 2 |"),
        ("<table><tr>\n<td><p>1</p></td>\n<td><div>2</div></td></tr></table>", "| 1 | 2 |"),
        ("<table><tr><td>1</table>\nafter", "| 1 |\nafter"),
        ("<pre>one\n  two</pre>", "one\ntwo"),
        ("1 &lt; 2 &amp;&nbsp;3", "1 < 2 & 3"),
        ("- dashes - stay -", "- dashes - stay -"),
        ("<p>&#x202e;evil&#x200b;\u00ad &#27;[2J</p>", "evil [2J"),
        ("<p>\u0645\u06cc\u200c\u062e</p>", "\u0645\u06cc\u200c\u062e"),
        ("plain words", "plain words"),
        ("", ""),
    ],
)
def test_the_form_of_a_text_is_kept(html: str, text: str) -> None:
    assert text_of(html) == text


@pytest.mark.parametrize(
    "hidden",
    [
        "<script>SECRET</script>",
        "<style>SECRET</style>",
        "<noscript>SECRET</noscript>",
        "<template><p>SECRET</p></template>",
        "<nav>SECRET</nav>",
        "<svg><text>SECRET</text></svg>",
        "<iframe>SECRET</iframe>",
        "<!-- SECRET -->",
        "<p hidden>SECRET</p>",
        "<p aria-hidden=true><b>SECRET</b></p>",
        "<p style='color:red; DISPLAY : none'>SECRET</p>",
        "<p style='visibility:hidden'>SECRET</p>",
        "<button>SECRET</button><select><option>SECRET</select><textarea>SECRET</textarea>",
        "<input value=SECRET><img alt=SECRET title=SECRET>",
        "<p title=SECRET data-x=SECRET></p>",
    ],
)
def test_what_nobody_sees_is_left_out(hidden: str) -> None:
    assert text_of(f"<body>before{hidden}<p>after</p>").replace("\n", " ").split() == ["before", "after"]


def test_the_main_part_is_taken_where_there_is_one() -> None:
    long = "word " * 100
    assert text_of(f"<p>menu</p><main><p>{long}</p></main><footer>imprint</footer>") == long.strip()
    assert text_of("<p>menu</p><main><p>short</p></main>") == "menu\nshort"
    assert text_of(f"<p>menu</p><main>{long}</main><main>{long}</main>").startswith("menu")


def test_the_title_is_one_line() -> None:
    assert read("<title> A &amp;\n B </title><p>x", base=BASE, most=10)["title"] == "A & B"
    assert len(read(f"<title>{'t' * 999}</title>", base=BASE, most=10)["title"]) == 300


def test_links_are_absolute_and_lead_to_other_pages() -> None:
    html = """<a href="/a">A</a> <a href="b#c">B</a> <a href="//x.example/d">D</a> <a href="/a">again</a> <a href="#y">self</a>
      <a href="javascript:x()">js</a> <a href="mailto:a@b">mail</a> <a href="http://[::1">bad</a> <a href="/e"></a>
      <a>none</a> <a href="/f" hidden>F</a> <a href="/g\u202e">G</a>"""
    assert read(html, base=BASE, most=1000)["links"] == [
        {"text": "A", "url": "https://site.example/a"},
        {"text": "B", "url": "https://site.example/here/b"},
        {"text": "D", "url": "https://x.example/d"},
    ]


async def test_a_page_is_read_by_another_process() -> None:
    found = await Reader().read("<title>T</title><p>Grüße</p>", base=BASE)

    assert (found.title, found.text, found.truncated, found.links) == ("T", "Grüße", False, [])


@pytest.mark.parametrize(
    "html",
    [
        pytest.param("<div>" * 100_000, id="deep: a minute in the parser"),
        pytest.param("".join(f"<p><b id={n}>x" for n in range(20_000)), id="reopened: gigabytes in the parser"),
    ],
)
async def test_a_page_that_costs_too_much_is_given_up(html: str) -> None:
    with pytest.raises(ServiceRefused, match="cannot be read"):
        await asyncio.wait_for(Reader().read(html, base=BASE), timeout=15)


async def test_no_process_is_left_behind_when_nobody_waits_any_more() -> None:
    reading = asyncio.create_task(Reader().read("<div>" * 100_000, base=BASE))
    await asyncio.sleep(1)
    assert len(_children()) == 1
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert _children() == []


async def test_the_deadline_ends_it_too() -> None:
    with pytest.raises(ServiceRefused):
        await Reader(deadline=0.5).read("<div>" * 100_000, base=BASE)
    assert _children() == []


def _children() -> list[str]:
    """The reading processes that this one has started and that still run."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        fields = _content(entry).rpartition(")")[2].split()
        found += [entry.parent.name] * (fields[1:2] == [str(os.getpid())] and fields[0] != "Z")
    return [pid for pid in found if "activities.web.readable" in _content(Path(f"/proc/{pid}/cmdline"))]


def _content(file: Path) -> str:
    try:
        return file.read_text()
    except OSError:
        return ""


async def test_the_process_knows_no_secrets_and_may_use_little(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its environment is its own; what the worker knows is not in it. Its limits are the system's, not its own will."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    reading: Any = asyncio.create_task(Reader().read("<div>" * 100_000, base=BASE))
    await asyncio.sleep(1)
    [child] = _children()
    variables = _content(Path(f"/proc/{child}/environ"))
    limits = dict(re.findall(r"^Max (.+?)  +(\S+)", _content(Path(f"/proc/{child}/limits")), re.MULTILINE))
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert "PYTHONPATH" in variables
    assert "sk-secret" not in variables
    assert (limits["cpu time"], limits["address space"], limits["file size"]) == ("4", str(256 * 1024 * 1024), "0")
