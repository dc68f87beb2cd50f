"""Reading vCard files (.vcf): what other address books export becomes people of this one.

Each card is read for itself, so that a broken one is left out and counted and does not take the others with it.
"""

import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import vobject

from activities.contacts.models import StoredContact
from activities.contacts.names import one_line
from activities.contacts.store import person_called
from retinue.addresses import check_address
from retinue.errors import InvalidArguments, NotFound

LARGEST_FILE = 5 * 1024 * 1024
_CARD = re.compile(r"^BEGIN:VCARD\s*$.*?(?:^END:VCARD\s*$|(?=^BEGIN:VCARD\s*$)|\Z)", re.I | re.M | re.S)
_PHONE = re.compile(r"(?=\D*\d)[0-9+() ./-]{1,40}")
_LONGEST_ADDRESS = 254


@dataclass
class ContactsFile:
    """What one file held."""

    people: list[StoredContact] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)

    def outcome(self, added: int) -> str:
        """One sentence for the person: '12 contacts imported, 3 already known, 1 skipped: it has no name'."""
        known = len(self.people) - added
        sentence = f"{added} contact{'' if added == 1 else 's'} imported, {known} already known"
        reasons = "; ".join(self.skipped)
        return f"{sentence}, {self.skipped.total()} skipped: {reasons}" if reasons else sentence


def read_file(path: Path) -> ContactsFile:
    """Read one file.

    Raises:
        NotFound: There is no such file.
        InvalidArguments: It is larger than 5 MiB, not text in UTF-8, or holds no card.
    """
    if not path.is_file():
        raise NotFound(f"there is no file {path}")
    if path.stat().st_size > LARGEST_FILE:
        raise InvalidArguments(f"{path.name} is larger than {LARGEST_FILE // 1024**2} MiB", hint="export it in parts")
    try:
        return read_cards(path.read_text(encoding="utf-8-sig"))
    except UnicodeDecodeError:
        raise InvalidArguments(f"{path.name} is not text in UTF-8", hint="export it as vCard 3.0 or 4.0") from None


def read_cards(content: str) -> ContactsFile:
    """Read the cards of a file's content.

    Raises:
        InvalidArguments: It holds no card.
    """
    cards = _CARD.findall(content)
    if not cards:
        raise InvalidArguments("this is not a vCard file", hint="it begins with BEGIN:VCARD")
    file = ContactsFile()
    for card in cards:
        try:
            file.people.append(_person(card))
        except _Skipped as reason:
            file.skipped[str(reason)] += 1
        except InvalidArguments:
            file.skipped["it has no name"] += 1
    return file


class _Skipped(Exception):
    """This card cannot be entered; the text says why."""


def _person(card: str) -> StoredContact:
    try:
        read = vobject.readOne(card)
    # vobject hands on whatever a broken line made it stumble over, besides errors of its own.
    except (vobject.base.VObjectError, ValueError, LookupError, AttributeError, TypeError):
        raise _Skipped("it cannot be read") from None
    if read is None or not hasattr(read, "getChildValue"):
        raise _Skipped("it cannot be read")
    name = _value(read, "fn") or _value(read, "n") or _value(read, "org")
    return person_called(name[:200], email=_address(_value(read, "email")), phone=_phone(_value(read, "tel")))


def _value(card: object, name: str) -> str:
    """The first value of that name, on one line."""
    value = card.getChildValue(name, "")  # type: ignore[attr-defined]  # a component of vobject, which has no types
    if isinstance(value, list):
        value = " ".join(map(str, value))
    return one_line(str(value))


def _address(value: str) -> str | None:
    """A mail address that may be written to, or None: one that is open to two readings is not kept."""
    try:
        return check_address(value.removeprefix("mailto:")) if len(value) <= _LONGEST_ADDRESS else None
    except ValueError:
        return None


def _phone(value: str) -> str | None:
    """A telephone number in the characters that the contract allows, without what follows (an extension), or None."""
    number = _PHONE.match(value.removeprefix("tel:"))
    return number[0].strip() if number else None
