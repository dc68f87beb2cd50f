"""Reading vCard files (.vcf): what other address books export becomes people of this one.

Each card is read for itself, so that a broken one is left out and named and does not take the others with it.
"""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from activities.contacts import vcard
from activities.contacts.models import StoredContact
from activities.contacts.store import person_called
from retinue.errors import InvalidArguments
from retinue.file_import import LeftOut, content_of, outcome, quoted

LARGEST_FILE = 5 * 1024 * 1024
_OTHERS = re.compile(r"^(?:[\w-]+\.)?(ADR|BDAY|ANNIVERSARY|PHOTO|ORG|TITLE|URL|IMPP|NICKNAME)(?=[;:])", re.I | re.M)
_CARD = re.compile(r"^BEGIN:VCARD\s*$.*?(?:^END:VCARD\s*$|(?=^BEGIN:VCARD\s*$)|\Z)", re.I | re.M | re.S)


@dataclass
class ContactsFile:
    """What one file held."""

    people: list[StoredContact] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)

    def outcome(self, added: int) -> str:
        """What came of the file: a sentence, then a line for each thing that was left out."""
        known = len(self.people) - added
        sentence = f"{added} contact{'' if added == 1 else 's'} imported, {known} already known"
        return outcome(sentence, self.left_out)


def read_file(path: Path) -> ContactsFile:
    """Read one file.

    Raises:
        NotFound: There is no such file.
        InvalidArguments: It is larger than 5 MiB, not text in UTF-8, or holds no card.
    """
    content = content_of(path, LARGEST_FILE)
    try:
        return read_cards(content.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n"))
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
    not_kept: Counter[str] = Counter()
    for number, card in enumerate(cards, start=1):
        try:
            read = vcard.read(card)
            if read.is_group:
                raise vcard.Unreadable("it is a group of people, and the address book holds people only")
            email = next(iter(read.emails), None)
            file.people.append(person_called(read.name, email=email, phone=read.phone, note=read.note))
        except vcard.Unreadable as reason:
            file.left_out.append(LeftOut(_called(card, number), str(reason)))
        except InvalidArguments:
            file.left_out.append(LeftOut(_called(card, number), "it has no name"))
        else:
            file.left_out += [LeftOut(f"'{read.name}'", part) for part in _not_taken(read)]
            not_kept.update({name.upper() for name in _OTHERS.findall(card)})
    if not_kept:
        names = ", ".join(f"{name} ({number})" for name, number in sorted(not_kept.items()))
        file.left_out.append(LeftOut("details of which the address book keeps none", names))
    return file


def _not_taken(card: vcard.Card) -> Iterator[str]:
    """What of a person the address book has no place for: it keeps one address and one number."""
    for what, values in (("addresses", card.emails[1:]), ("telephone numbers", card.phones[1:])):
        if values:
            yield f"other {what} were not taken: {', '.join(values)}"
    for value in card.refused:
        yield f"this is no address or number that can be used: {quoted(value)}"


def _called(card: str, number: int) -> str:
    """How a card that cannot be read is named: by what it says of a person, else by its place in the file."""
    called = vcard.called(card)
    return f"card {number} ({quoted(called)})" if called else f"card {number}"
