"""Strict checks of mail and web addresses, since a destination must not be ambiguous."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from urllib.parse import urlsplit

from retinue.text import is_invisible, looks_latin, mark, safe

_ADDRESS = re.compile(
    r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z]{2,63}"
)
_NAMED = re.compile(r"(?:[^<>@]*<)?(?:mailto:)?([^\s<>@]+)@([^\s<>@]+?)>?", re.IGNORECASE)
"""One address, with or without a display name, as third-party tools accept it."""
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://\S+")
_ENCODED = "xn--"
_ASIAN = frozenset({"LATIN", "CJK", "HIRAGANA", "KATAKANA", "BOPOMOFO", "HANGUL", "IDEOGRAPHIC"})
"""Scripts that people write in one word (UTS 39, "highly restrictive"). None of them has letters that look Latin."""
_SHOWN = 80


def check_address(value: str) -> str:
    """Return `value` if it is one bare ASCII address (`ana@example.com`).

    Raises:
        ValueError: It is not. Display names, several addresses, control characters and a domain that imitates another
            one are refused.
    """
    if not _ADDRESS.fullmatch(value) or ".." in value or value.startswith(".") or ".@" in value:
        raise ValueError(f"{value[:_SHOWN]!r} is not a mail address like ana@example.com")
    if problem := misleading(value):
        raise ValueError(problem)
    return value


def misleading(value: str) -> str | None:
    """Return why a mail or web address may be mistaken for another one; None if it cannot, or if it is no address.

    A name that mixes scripts imitates others: `paypal` with one Cyrillic letter. The local part and each label of the
    domain are checked, also if encoded (`xn--...`). A text may contain several addresses, separated by commas or
    semicolons.
    """
    for piece in re.split(r"[,;]", value):
        one = piece.strip()
        parts = list(_parts(one))
        hidden = next((char for char in one if is_invisible(char)), None) if parts else None
        if hidden:
            return f"{safe(one[:_SHOWN])!r} contains an invisible character ({mark(hidden)}), so it is not what it looks like"
        among_latin = any(char.isalpha() and char.isascii() for part in parts for char in _decoded_or_same(part))
        problems = (_imitates(part, among_latin=among_latin) for part in parts)
        if problem := next((found for found in problems if found), None):
            return f"{safe(one[:_SHOWN])!r} {problem}, so it may imitate another address"
    return None


def readable_domain(value: str) -> str:
    """Return the readable form of an encoded domain (`xn--...`) in an address; empty if there is none."""
    if _ENCODED not in value.casefold():
        return ""
    try:
        host = value.rpartition("@")[2] if "://" not in value else urlsplit(value).hostname or ""
        return ".".join(_decoded(label) for label in host.split("."))
    except ValueError:
        return ""


def _parts(one: str) -> Iterator[str]:
    """Yield the names in an address: of the local part and of the domain."""
    if _URL.fullmatch(one):
        try:
            yield from (urlsplit(one).hostname or "").split(".")
        except ValueError:
            return
    elif found := _NAMED.fullmatch(one):
        yield from re.split(r"[.+_-]", found[1])
        yield from found[2].split(".")


def _imitates(label: str, *, among_latin: bool) -> str | None:
    try:
        name = unicodedata.normalize("NFC", _decoded(label))
    except ValueError:
        return f"has a domain that cannot be read ({safe(label[:_SHOWN])})"
    if name.isascii():
        return None
    shown = "" if name == label else f" ({safe(name[:_SHOWN])})"
    if unicodedata.normalize("NFKC", name) != name:
        return f"has letters in a special form{shown}"
    scripts = sorted({unicodedata.name(char, "UNKNOWN").split()[0] for char in name if char.isalpha()})
    if len(scripts) > 1 and not _ASIAN.issuperset(scripts):
        return f"mixes {' and '.join(script.capitalize() for script in scripts)} letters in one word{shown}"
    if among_latin and looks_latin(name):
        return f"is written in {scripts[0].capitalize()} letters that look like Latin ones{shown}"
    return None


def _decoded_or_same(label: str) -> str:
    try:
        return _decoded(label)
    except ValueError:
        return label


def _decoded(label: str) -> str:
    """Return a label in readable form.

    Raises:
        ValueError: It has the prefix of an encoded label, but is not one.
    """
    if not label.casefold().startswith(_ENCODED):
        return label
    return label[len(_ENCODED) :].encode("ascii").decode("punycode")
