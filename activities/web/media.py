"""What kind of thing was answered, and its bytes as characters."""

import codecs
import re

import httpx

from retinue.errors import ServiceRefused

HTML = frozenset({"text/html", "application/xhtml+xml"})
_TEXT = frozenset({"text/plain", "application/json", "application/xml", "text/xml"})
_KINDRED = re.compile(r"application/[a-z0-9.-]{1,60}\+(json|xml)")
_META = re.compile(rb"<meta[^>]{0,200}?charset\s{0,5}=\s{0,5}[\"']?\s{0,5}([a-z0-9_:-]{1,40})", re.IGNORECASE)
_XML = re.compile(rb"^<\?xml[^>]{0,200}?encoding\s{0,5}=\s{0,5}[\"']([a-z0-9_:-]{1,40})", re.IGNORECASE)
_HEAD = 2048
_BOMS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))

# The encodings that browsers know; others that Python has are no text (rot13, hex) or run risks (utf-7, punycode).
_ENCODINGS = frozenset(
    codecs.lookup(name).name
    for name in (
        *("utf-8", "utf-16", "utf-16-le", "utf-16-be", "koi8-r", "koi8-u", "mac-roman", "cp866", "cp874", "ascii"),
        *(f"iso8859-{number}" for number in (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 13, 14, 15, 16)),
        *(f"cp125{number}" for number in range(9)),
        *("gbk", "gb2312", "gb18030", "big5", "big5hkscs", "euc-jp", "iso2022-jp", "shift-jis", "cp932", "euc-kr"),
    )
)
_AS_BROWSERS_DO = {"iso8859-1": "cp1252", "ascii": "cp1252", "gb2312": "gbk", "shift_jis": "cp932"}


def media_type(headers: httpx.Headers) -> str:
    """Return the type of an answer, without its parameters.

    Raises:
        ServiceRefused: It is nothing that can be read as text.
    """
    kind: str = headers.get("Content-Type", "").partition(";")[0].strip().casefold()
    if kind in HTML or kind in _TEXT or _KINDRED.fullmatch(kind):
        return kind
    # not quoted, since the site chose the words
    raise ServiceRefused("what stands there is no text, as a picture, a film or a file for download")


def decoded(body: bytes, headers: httpx.Headers) -> str:
    """The characters of a body: by its mark, its header, what it says of itself, and else as UTF-8 or Windows-1252."""
    for mark, meant in _BOMS:
        if body.startswith(mark):
            return body[len(mark) :].decode(meant, "replace")
    encoding = _named(headers) or _claimed(body[:_HEAD])
    if encoding is not None:
        return body.decode(encoding, "replace")
    try:
        # a character may be cut in the middle at the limit of sizes
        return codecs.getincrementaldecoder("utf-8")().decode(body)
    except UnicodeDecodeError:
        return body.decode("cp1252", "replace")


def _named(headers: httpx.Headers) -> str | None:
    found = re.search(r";\s*charset\s*=\s*[\"']?([^\s\"';]{1,40})", headers.get("Content-Type", ""), re.IGNORECASE)
    return _known(found[1]) if found else None


def _claimed(head: bytes) -> str | None:
    found = _META.search(head) or _XML.search(head)
    name = _known(found[1].decode("ascii")) if found else None
    # It could be read, so it is written in bytes that stand for ASCII.
    return "utf-8" if name is not None and name.startswith("utf-16") else name


def _known(name: str) -> str | None:
    try:
        found = codecs.lookup(name).name
    except (LookupError, ValueError):
        return None
    return _AS_BROWSERS_DO.get(found, found) if found in _ENCODINGS else None
