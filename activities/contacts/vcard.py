"""One person's vCard: read as far as it makes sense, and written so that every address book takes it.

What is read was written by other programs and people: every value is bounded, and whatever cannot be read is refused as
a whole card, so that nobody is found under half a name.
"""

import quopri
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import vobject

from activities.contacts.names import one_line
from retinue.addresses import check_address
from retinue.text import is_invisible, without_controls

LONGEST_NAME = 200
LONGEST_ADDRESS = 254
LONGEST_NOTE = 4000
MOST_ADDRESSES = 10
_MOST_NICKNAMES = 5
_PHONE = re.compile(r"(?=\D*\d)[0-9+() ./-]{1,40}")
_SCHEME = re.compile(r"^(?:mailto|tel|sms):", re.I)
_QUOTED_PRINTABLE = re.compile(
    r"^([^:\r\n]*;(?:ENCODING=)?QUOTED-PRINTABLE(?:;[^:\r\n]*)?):((?:[^\r\n]*=\r?\n)*[^\r\n]*)", re.I | re.M
)
_ENCODING = re.compile(r";(?:(?:ENCODING=)?QUOTED-PRINTABLE|CHARSET=([^;:]*))", re.I)
_DASHES = re.compile(r"[\u2010-\u2015\u2212\ufe58\ufe63\uff0d]")
_FOLD = re.compile(r"\r?\n[ \t]")
_NICKNAMES = re.compile(r"^(?:[\w-]+\.)?NICKNAME[^:\n]*:(.*?)\r?$", re.I | re.M)
_END = re.compile(r"^END:VCARD\s*\Z", re.I | re.M)
_LINE_BREAKS = {ord("\r"): None, ord("\n"): "\\n"}
_LINE_OCTETS = 75
_LAST = 101
"""After every preference that a vCard 4 can state, which goes from 1 (first) to 100."""


class Unreadable(Exception):
    """This card cannot be read; the text says why and repeats nothing of it."""


@dataclass(frozen=True)
class Card:
    """What Retinue knows of one card. `emails` begin with the preferred one."""

    name: str
    emails: tuple[str, ...] = ()
    phones: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    """Values of address and telephone fields that are not usable."""
    nicknames: tuple[str, ...] = ()
    organization: str | None = None
    note: str | None = None
    uid: str = ""
    is_group: bool = False

    @property
    def phone(self) -> str | None:
        """The preferred telephone number."""
        return next(iter(self.phones), None)


def read(text: str) -> Card:
    """Read one card (vCard 2.1, 3.0 or 4.0).

    Raises:
        Unreadable: It is broken or has no name.
    """
    text = _plainly_written(text)
    card = _parsed(text)
    name = _first(card, "fn") or _first(card, "n") or _first(card, "org")
    if not name:
        raise Unreadable("it has no name")
    emails = {line: usable_address(line) for line in _values(card, "email")}
    phones = {line: usable_phone(line) for line in _values(card, "tel")}
    return Card(
        name=name[:LONGEST_NAME],
        emails=tuple(dict.fromkeys(each for each in emails.values() if each))[:MOST_ADDRESSES],
        phones=tuple(dict.fromkeys(each for each in phones.values() if each))[:MOST_ADDRESSES],
        refused=tuple(line for line, read_ in [*emails.items(), *phones.items()] if line and read_ is None),
        nicknames=tuple(_nicknames(text))[:_MOST_NICKNAMES],
        organization=_first(card, "org")[:LONGEST_NAME] or None,
        note=_note(card),
        uid=_first(card, "uid")[:LONGEST_NAME],
        is_group="group" in (_first(card, "kind").casefold(), _first(card, "x-addressbookserver-kind").casefold()),
    )


def called(text: str) -> str:
    """What a card that cannot be read says of whom it is about: a name, or an address, as it is written; or nothing."""
    for name in ("FN", "N", "ORG", "EMAIL", "TEL"):
        if found := re.search(rf"^(?:[\w-]+\.)?{name}(?:;[^:\r\n]*)?:([^\r\n]*\w[^\r\n]*)", text, re.I | re.M):
            return one_line(found[1])[:LONGEST_NAME]
    return ""


def write(name: str, *, email: str | None, phone: str | None, uid: str, note: str | None = None) -> str:
    """Return a new card in vCard 3.0, which every server takes."""
    given, _, family = _printable(name).rpartition(" ")
    lines = [
        "BEGIN:VCARD",
        "VERSION:3.0",
        "PRODID:-//Retinue//Contacts//EN",
        f"UID:{uid}",
        f"FN:{_escaped(_printable(name))}",
        f"N:{_escaped(family)};{_escaped(given)};;;" if given else f"N:;{_escaped(family)};;;",
        *_known(email, phone, note),
        "END:VCARD",
    ]
    return "".join(f"{folded}\r\n" for line in lines for folded in _folded(line))


def completed(text: str, *, email: str | None, phone: str | None, note: str | None) -> str:
    """Return a card with these lines more and all else as it was, also what Retinue cannot read."""
    lines = [*_known(email, phone, note), "END:VCARD"]
    more = "".join(f"{folded}\r\n" for line in lines for folded in _folded(line))
    return _END.sub(lambda _: more, text, count=1)


def _note(card: object) -> str | None:
    lines = (str(getattr(line, "value", "")).strip() for line in _lines(card, "note"))
    return printable_lines("\n".join(filter(None, lines)))[:LONGEST_NOTE] or None


def _known(email: str | None, phone: str | None, note: str | None) -> Iterator[str]:
    """Yield the lines of what is known of a person."""
    if email:
        yield f"EMAIL;TYPE=INTERNET:{_escaped(email)}"
    if phone:
        yield f"TEL:{_escaped(phone)}"
    if note:
        yield "NOTE:" + _escaped(printable_lines(note.strip())).replace("\n", "\\n")


def printable_lines(text: str) -> str:
    """Return the text in its lines, without other control characters."""
    return "\n".join(without_controls(line) for line in text.splitlines())


def _plainly_written(text: str) -> str:
    """The card without quoted-printable (vCard 2.1), whose soft breaks and bare parameters the parser does not read."""
    return _QUOTED_PRINTABLE.sub(_unquoted, text)


def _unquoted(found: re.Match[str]) -> str:
    charset = next((label for label in _ENCODING.findall(found[1]) if label), "")
    content = quopri.decodestring(found[2].encode())
    return f"{_ENCODING.sub('', found[1])}:{_decoded(content, charset).translate(_LINE_BREAKS)}"


def _decoded(content: bytes, charset: str) -> str:
    for encoding in (charset, "utf-8"):
        try:
            return content.decode(encoding)
        except (LookupError, ValueError):
            continue
    return content.decode("cp1252", "replace")


def _parsed(text: str) -> object:
    try:
        card = vobject.readOne(text)
    # for a broken line vobject raises any error besides its own
    except (vobject.base.VObjectError, ValueError, LookupError, AttributeError, TypeError, RecursionError):
        raise Unreadable("it cannot be read") from None
    if card is None or not hasattr(card, "contents"):
        raise Unreadable("it cannot be read")
    return card


def _lines(card: object, name: str) -> Sequence[object]:
    lines: Sequence[object] = card.contents.get(name, [])  # type: ignore[attr-defined]  # vobject has no types
    return lines


def _value(line: object) -> str:
    """Return a line's value as one line of text."""
    value = getattr(line, "value", "")
    return one_line(" ".join(map(str, value)) if isinstance(value, list) else str(value))


def _first(card: object, name: str) -> str:
    return next((_value(line) for line in _lines(card, name)), "")


def _values(card: object, name: str) -> list[str]:
    """Return the values of all lines of that name, the preferred one first."""
    return [_value(line) for line in sorted(_lines(card, name), key=_rank)]


def usable_address(value: str) -> str | None:
    """An address that may be written to; one that is open to two readings is none."""
    address = _SCHEME.sub("", value).partition("?")[0] if _SCHEME.match(value) else value
    try:
        return check_address(address if len(address) <= LONGEST_ADDRESS else "")
    except ValueError:
        return None


def usable_phone(value: str) -> str | None:
    """Return a number in the characters that the contract allows, without what follows (an extension).

    Phones put direction marks around numbers, and word processors put dashes and spaces of their own into them.
    """
    written = _DASHES.sub("-", unicodedata.normalize("NFKC", _SCHEME.sub("", value)))
    kept = "".join(_digit(letter) for letter in written if not is_invisible(letter))
    found = _PHONE.match(kept.strip())
    return found[0].strip() if found else None


def _digit(letter: str) -> str:
    value = unicodedata.decimal(letter, None)
    return letter if value is None else str(value)


def _rank(line: object) -> int:
    """Return a line's rank by its preference: PREF=1 to 100 in vCard 4, TYPE=pref in 3, PREF alone in 2.1."""
    params: dict[str, list[str]] = getattr(line, "params", {})
    rank = next(iter(params.get("PREF", [])), "")
    if rank.isascii() and rank.isdigit():
        return min(int(rank[:3]), _LAST)
    kinds = {kind.casefold() for value in params.get("TYPE", []) for kind in value.split(",")}
    kinds |= {kind.casefold() for kind in getattr(line, "singletonparams", [])}
    return 1 if "pref" in kinds else _LAST


def _nicknames(text: str) -> Iterator[str]:
    """Read from the text, since vobject gives only the first of several."""
    for values in _NICKNAMES.findall(_FOLD.sub("", text)):
        for value in re.split(r"(?<!\\),", values):
            if name := one_line(re.sub(r"\\(.)", r"\1", value)):
                yield name[:LONGEST_NAME]


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace(",", "\\,").replace(";", "\\;")


def _printable(text: str) -> str:
    """Return one line without control characters, which servers refuse or read as the end of it."""
    return without_controls(one_line(text))


def _folded(line: str) -> Iterator[str]:
    """Yield the line in parts of at most 75 octets, cut between characters; a part that goes on begins with a space."""
    part = ""
    for letter in line:
        if len(f"{part}{letter}".encode()) > _LINE_OCTETS:
            yield part
            part = " "
        part += letter
    yield part
