"""Text as the mailbox keeps it: no control characters, no markup, nothing that a terminal or a database trips over."""

import re
import unicodedata
from collections.abc import Iterator
from html.parser import HTMLParser
from urllib.parse import urlsplit

from retinue.text import whole

MAX_HTML = 500_000
"""Characters of HTML that are looked at."""

_MOST_MARKS = 30
_LONE_BRACKET = re.compile(r"<(?![^<>]*>)")
_COMMENT_END = re.compile(r"--!?>")
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_SILENT = frozenset({"script", "style", "title"})
_BLOCKS = frozenset({
    "address", "article", "blockquote", "body", "br", "dd", "div", "dl", "dt", "footer", "form", "h1", "h2", "h3", "h4",
    "h5", "h6", "header", "hr", "li", "main", "nav", "ol", "p", "pre", "section", "table", "tr", "ul",
})  # fmt: skip


def plain(text: str) -> str:
    r"""Text without control characters other than line break and tab; all line ends become `\n`."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return _CONTROLS.sub("", whole(text))


def one_line(text: str, *, limit: int) -> str:
    """Text on one line, every run of white space one blank, at most `limit` characters."""
    return plain(" ".join(text.split()))[:limit]


def folded(text: str) -> str:
    """Return the form in which words are compared: `STRASSE` finds `Straße`, and `fi` finds its ligature."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", _few_marks(text)).casefold())


def _few_marks(text: str) -> str:
    """Text with at most `_MOST_MARKS` combining marks on one letter: sorting them takes time by the square of them."""
    if text.isascii():
        return text
    kept, marks = [], 0
    for char in text:
        marks = marks + 1 if unicodedata.combining(char) else 0
        kept += [char] if marks <= _MOST_MARKS else []
    return "".join(kept)


def from_html(html: str) -> str:
    """What an HTML mail says, as text.

    Scripts and styles are dropped. A link keeps the host that it really leads to, since its words may say another.
    Text that a style hides from people stays: what somebody hid is the last thing that should go unseen.
    """
    reader = _Reader()
    reader.feed(_closed_tags_only(html[:MAX_HTML]))
    reader.close()
    lines = (" ".join(line.split()) for line in reader.text().splitlines())
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()


def _closed_tags_only(html: str) -> str:
    """HTML without comments, and with every `<` that opens nothing as text.

    For unclosed comments and tags the parser looks through all that follows, each time again: half a megabyte of `<!--`
    would keep it busy for minutes.
    """
    return _LONE_BRACKET.sub("&lt;", "".join(_outside_comments(html)))


def _outside_comments(html: str) -> Iterator[str]:
    """Return what browsers show: `<!-->` and `<!--->` are whole comments, so `<!--[if !mso]><!-->` hides nothing."""
    at = 0
    while (begin := html.find("<!--", at)) >= 0:
        yield html[at:begin]
        if html.startswith((">", "->"), begin + 4):
            at = html.index(">", begin) + 1
        elif end := _COMMENT_END.search(html, begin + 4):
            at = end.end()
        else:
            return
    yield html[at:]


class _Reader(HTMLParser):
    """Collects the words between the tags."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._pieces: list[str] = []
        self._silenced_by: str | None = None
        self._links: list[str] = []

    def text(self) -> str:
        """All that was read so far."""
        return "".join(self._pieces)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what starts here."""
        if tag in _SILENT:
            self._silenced_by = tag
        elif tag in _BLOCKS:
            self._pieces.append("\n- " if tag == "li" else "\n")
        elif tag in ("td", "th"):
            self._pieces.append(" ")
        elif tag == "a":
            self._links.append(_host(dict(attrs).get("href")))

    def handle_endtag(self, tag: str) -> None:
        """Close what ends here; end tags that nothing opened are common and mean nothing."""
        if tag == self._silenced_by:
            self._silenced_by = None
        elif tag in _BLOCKS:
            self._pieces.append("\n")
        elif tag == "a" and self._links and (host := self._links.pop()):
            self._pieces.append(f" [{host}]")

    def handle_data(self, data: str) -> None:
        """Keep the words, unless they are a script's."""
        if self._silenced_by is None:
            self._pieces.append(data)

    def parse_marked_section(self, i: int, report: int = 1) -> int:
        """Skip `<![...]>`: the standard library raises AssertionError for every keyword that it does not know."""
        return self.parse_bogus_comment(i)


def _host(href: str | None) -> str:
    try:
        return one_line(urlsplit((href or "").strip()).hostname or "", limit=253)
    except ValueError:
        return "broken link"
