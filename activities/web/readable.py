"""Converts a page's HTML to readable text, in a separate process: `python -P -m activities.web.readable`.

HTML of 500 KB can keep a parser busy for a minute (tags nested a hundred thousand deep) or fill the memory (formatting
that is opened again in each paragraph), and the parser is written in C. So strangers' HTML is read by a process that may
use few seconds and little memory, knows no secrets and writes nothing; see `activities.web.reader` for who starts it.

Imports nothing of Retinue but `retinue.text`, so that it starts fast. In: one line of JSON with `base` and `most`, then the HTML. Out: JSON
with `title`, `text`, `links` and `truncated`.
"""

import json
import re
import resource
import sys
from collections.abc import Iterator
from typing import Any
from urllib.parse import urljoin, urlsplit

from selectolax.lexbor import LexborHTMLParser, LexborNode

from retinue.text import without_invisible

CPU_SECONDS = 4
MEMORY = 256 * 1024 * 1024
_LONGEST_TITLE = 300
_LONGEST_LINK = 2048
_MOST_LINKS = 20
_LEAST_MAIN = 200

_UNREAD = (
    "script style noscript template nav svg math iframe object embed canvas audio video map head "
    "button select option datalist textarea input dialog"
)
_OWN_LINES = (
    "address article aside blockquote body dd details div dl dt fieldset figcaption figure footer form h1 h2 h3 h4 h5 "
    "h6 header hr legend li main ol p pre section summary table tbody tfoot thead tr ul caption"
)
_DROPPED, _BLOCKS = frozenset(_UNREAD.split()), frozenset(_OWN_LINES.split())
_HEADINGS = {f"h{level}": "#" * level + " " for level in range(1, 7)}
_NOT_SHOWN = re.compile(r"(?:^|;)\s*(?:display\s*:\s*none|visibility\s*:\s*hidden)", re.IGNORECASE)
_CELL = " \ue000"
"""Where a cell of a table begins; the character is one that `without_invisible` takes out of every text."""


def read(html: str, *, base: str, most: int) -> dict[str, Any]:
    """Return the title, the text of at most `most` characters, the first links."""
    tree = LexborHTMLParser(html)
    title = tree.css_first("title")
    root = _main(tree)
    text = tidy("".join(_pieces(root))) if root is not None else ""
    return {
        "title": tidy(title.text() if title else "").replace("\n", " ")[:_LONGEST_TITLE],
        "text": text[:most],
        "truncated": len(text) > most,
        "links": _links(root, base) if root is not None else [],
    }


def _main(tree: LexborHTMLParser) -> LexborNode | None:
    """Return the part that the page calls its main one, if there is one such and it holds more than a sentence."""
    found = tree.css("main, [role=main]")
    if len(found) == 1 and len(tidy("".join(_pieces(found[0])))) >= _LEAST_MAIN:
        return found[0]
    return tree.body


def _walk(root: LexborNode) -> Iterator[tuple[LexborNode, bool]]:
    """Every node that is shown, once when it opens and once (True) when it closes. Without recursion: pages are deep."""
    stack = [(root, False)]
    while stack:
        node, closing = stack.pop()
        yield node, closing
        if closing or node.tag == "-text":
            continue
        stack.append((node, True))
        stack += [(child, False) for child in reversed(_children(node)) if _shown(child)]


def _children(node: LexborNode) -> list[LexborNode]:
    found = []
    child = node.child
    while child is not None:
        found.append(child)
        child = child.next
    return found


def _shown(node: LexborNode) -> bool:
    tag = node.tag or ""
    if tag == "-text":
        return True
    if tag in _DROPPED or tag.startswith(("-", "!")):
        return False
    said = node.attributes
    return not ("hidden" in said or said.get("aria-hidden") == "true" or _NOT_SHOWN.search(said.get("style") or ""))


def _pieces(root: LexborNode) -> Iterator[str]:
    """Yield the text with its marks; only what is set in type (`pre`) keeps its lines."""
    typeset = 0
    for node, closing in _walk(root):
        if node.tag == "-text":
            text = node.text_content or ""
            yield text if typeset else re.sub(r"\s+", " ", text)
        else:
            typeset += (-1 if closing else 1) if node.tag == "pre" else 0
            yield _mark(node.tag or "", closing)


def _mark(tag: str, closing: bool) -> str:
    """Return the text for the beginning or the end of an element."""
    if tag in ("td", "th"):
        return " |" if closing else _CELL
    if tag == "br":
        return "" if closing else "\n"
    if tag not in _BLOCKS:
        return ""
    opening = "- " if tag == "li" else "| " if tag == "tr" else _HEADINGS.get(tag, "")
    return "\n" if closing or not opening else f"\n{opening}"


def tidy(text: str) -> str:
    """Return text without needless blanks and empty lines, with marks right before their words."""
    text = without_invisible(re.sub(r"\n +\|", " |", re.sub(f"{_CELL}\\s*", " ", text)))
    text = re.sub(r"[^\S\n]+", " ", text)
    text = re.sub(r"^ ?(-|\||#{1,6}) ?\n\s*(?=[^\s|#-])", r"\1 ", text, flags=re.MULTILINE)
    return "\n".join(line.strip() for line in text.split("\n") if line.strip("-#| ")).strip()


def _links(root: LexborNode, base: str) -> list[dict[str, str]]:
    found: dict[str, str] = {}
    for node, closing in _walk(root):
        if node.tag == "a" and not closing and len(found) < _MOST_LINKS:
            url, text = _target(node.attributes.get("href") or "", base), tidy("".join(_pieces(node)))
            if url and text:
                found.setdefault(url, text.replace("\n", " ")[:_LONGEST_TITLE])
    return [{"text": text, "url": url} for url, text in found.items()]


def _target(href: str, base: str) -> str | None:
    """Return the absolute address of a link; None for what leads to no other page."""
    try:
        url = urljoin(base, href.strip()).partition("#")[0]
        wanted = urlsplit(url).scheme in ("http", "https") and url != base.partition("#")[0]
    except ValueError:
        return None
    return url if wanted and len(url) <= _LONGEST_LINK and url.isprintable() else None


def _limit() -> None:
    """Allow this process little; the memory's limit is not known to every system."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    if sys.platform == "linux":
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


def main() -> None:
    """Read a page from standard input, write its text to standard output."""
    _limit()
    asked = json.loads(sys.stdin.buffer.readline())
    html = sys.stdin.buffer.read().decode("utf-8", "replace")
    sys.stdout.write(json.dumps(read(html, base=asked["base"], most=asked["most"])))


if __name__ == "__main__":
    main()
