"""Reading vCard files (.vcf): what other address books export becomes people of this one.

Each card is read for itself, so that a broken one is left out and counted and does not take the others with it.
"""

import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from activities.contacts import vcard
from activities.contacts.models import StoredContact
from activities.contacts.store import person_called
from retinue.errors import InvalidArguments, NotFound

LARGEST_FILE = 5 * 1024 * 1024
_CARD = re.compile(r"^BEGIN:VCARD\s*$.*?(?:^END:VCARD\s*$|(?=^BEGIN:VCARD\s*$)|\Z)", re.I | re.M | re.S)


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
        except vcard.Unreadable as reason:
            file.skipped[str(reason)] += 1
        except InvalidArguments:
            file.skipped["it has no name"] += 1
    return file


def _person(card: str) -> StoredContact:
    read = vcard.read(card)
    return person_called(read.name, email=next(iter(read.emails), None), phone=read.phone)
