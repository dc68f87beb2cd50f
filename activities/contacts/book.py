"""A CardDAV address book as people: read once, and then only what changed."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import unquote
from xml.sax.saxutils import escape

from activities.contacts import vcard
from activities.contacts.contract import AddContact, Contact
from activities.contacts.names import folded
from retinue.errors import ServiceRefused
from retinue.network.dav import Collection, Listed, Resource
from retinue.text import one_line

MOST_PEOPLE = 10_000
LARGEST_CARD = 1024 * 1024
"""Bytes. Larger ones, which are photographs, are skipped and counted."""
_BATCH_BYTES = 2 * 1024 * 1024
_BATCH = 100
_ASSUMED_BYTES = 64 * 1024
_DATA = "{urn:ietf:params:xml:ns:carddav}address-data"
_LONGEST_SKIPPED = 200
_log = logging.getLogger("retinue.contacts")


@dataclass(frozen=True)
class Person:
    """One card of the book and what it is found by."""

    contact_id: str
    href: str
    etag: str
    card: vcard.Card
    folded_name: str
    folded_text: str

    def as_contact(self) -> Contact:
        """Return the person as the contract shows them."""
        first, *others = self.card.emails or (None,)
        return Contact(
            contact_id=self.contact_id,
            name=self.card.name,
            email=first,
            phone=self.card.phone,
            other_emails=[address for address in others if address],
            nickname=next(iter(self.card.nicknames), None),
            organization=self.card.organization,
            note=self.card.note,
        )

    def is_called(self, wanted: str) -> bool:
        """Whether that folded text is the whole name or a whole nickname."""
        return wanted == self.folded_name or wanted in map(folded, self.card.nicknames)


@dataclass(frozen=True)
class Skipped:
    """One card that cannot be read: what it is called, as far as it says so, and why."""

    called: str
    why: str

    def __str__(self) -> str:
        return one_line(f"{self.called}: {self.why}", _LONGEST_SKIPPED)


class Book:
    """The people of one collection, kept in memory; each card by its ETag, all of it by the collection's tag.

    A look-up costs one small question while nothing changes, and only the changed cards when something does.
    """

    enters_once = True

    def __init__(self, collection: Collection) -> None:
        self._collection = collection
        self._tag = ""
        self._cards: dict[str, tuple[str, Person | Skipped]] = {}
        self._refreshing = asyncio.Lock()

    async def people(self) -> list[Person]:
        """Everybody in the book by name, as it is now.

        Raises:
            ServiceRefused: It is larger than anything that fits here; half of it would make names look unambiguous.
            ServiceError: See `Collection`.
        """
        async with self._refreshing:
            await self._refresh()
        found = [
            person for _, person in self._cards.values() if isinstance(person, Person) and not person.card.is_group
        ]
        return sorted(found, key=lambda person: (person.folded_name, person.contact_id))

    def skipped(self) -> list[Skipped]:
        """Return the cards of the last reading that could not be read."""
        return [card for _, card in self._cards.values() if isinstance(card, Skipped)]

    async def enter(self, uid: str, person: AddContact) -> str:
        """See `AddressBook.enter`."""
        href = self._collection.href(f"{uid}.vcf")
        card = vcard.write(person.name, email=person.email, phone=person.phone, note=person.note, uid=uid)
        await self._collection.create(href, card)
        return contact_id(href)

    async def entered(self, uid: str) -> Person | None:
        """Return the card that a step's own attempts have put there."""
        mine = contact_id(self._collection.href(f"{uid}.vcf"))
        return next((person for person in await self.people() if person.contact_id == mine), None)

    async def complete(self, known: Person, *, email: str | None, phone: str | None, note: str | None) -> None:
        """See `AddressBook.complete`."""
        current = await self._collection.get(known.href)
        card = vcard.completed(current.content, email=email, phone=phone, note=note)
        await self._collection.replace(known.href, card, etag=current.etag or known.etag)

    async def remove(self, person: Person) -> None:
        """See `AddressBook.remove`."""
        await self._collection.delete(person.href, etag=person.etag)

    async def _refresh(self) -> None:
        tag = await self._collection.tag()
        if tag and tag == self._tag:
            return
        listed = await self._collection.listed()
        if len(listed) > MOST_PEOPLE:
            raise ServiceRefused(f"the address book has more than {MOST_PEOPLE} cards", hint="name a smaller one")
        known = {entry.href: self._known(entry) for entry in listed}
        self._cards = {href: card for href, card in known.items() if card is not None}
        for batch in _batches([entry for entry in listed if known[entry.href] is None]):
            await self._read(batch)
        unanswered = [entry.href for entry in listed if entry.href not in self._cards]
        self._cards |= {
            href: ("", Skipped(_name(href), "the server did not send it")) for href in unanswered
        }  # named, since a half makes names look unambiguous
        # Only now: what was broken off or not answered is gone on with at the next look-up.
        self._tag = "" if unanswered else tag

    def _known(self, entry: Listed) -> tuple[str, Person | Skipped] | None:
        known = self._cards.get(entry.href)
        if known is not None and entry.etag and known[0] == entry.etag:
            return known
        too_large = (entry.size or 0) > LARGEST_CARD
        return (entry.etag, Skipped(_name(entry.href), "it is larger than 1 MiB")) if too_large else None

    async def _read(self, batch: Sequence[Listed]) -> None:
        found = await self._collection.report(_multiget(batch), data=_DATA)
        asked = {unquote(entry.href): entry for entry in batch}  # servers write the same path in several ways
        wanted = [resource for resource in found if unquote(resource.href) in asked]
        people = await asyncio.to_thread(lambda: [_person(resource) for resource in wanted])
        for resource, person in zip(wanted, people, strict=True):
            entry = asked[unquote(resource.href)]
            self._cards[entry.href] = (resource.etag or entry.etag, person)
        if broken := sum(isinstance(person, Skipped) for person in people):
            _log.warning("cards of the address book cannot be read", extra={"skipped": broken})


def contact_id(href: str) -> str:
    """Return the id of a card, made of its resource's name, which is not a usable path."""
    return hashlib.sha256(_name(href).encode()).hexdigest()[:32]


def _name(href: str) -> str:
    return unquote(href.rstrip("/").rpartition("/")[2])


def _batches(entries: Sequence[Listed]) -> Iterator[list[Listed]]:
    """Parts that fit into one answer, by the sizes that the server tells."""
    batch: list[Listed] = []
    size = 0
    for entry in entries:
        bytes_ = entry.size or _ASSUMED_BYTES
        if batch and (size + bytes_ > _BATCH_BYTES or len(batch) == _BATCH):
            yield batch
            batch, size = [], 0
        batch.append(entry)
        size += bytes_
    if batch:
        yield batch


def _multiget(batch: Sequence[Listed]) -> str:
    hrefs = "".join(f"<d:href>{escape(entry.href)}</d:href>" for entry in batch)
    return (
        '<?xml version="1.0"?><c:addressbook-multiget xmlns:d="DAV:" xmlns:c="urn:ietf:params:xml:ns:carddav">'
        f"<d:prop><d:getetag/><c:address-data/></d:prop>{hrefs}</c:addressbook-multiget>"
    )


def _person(resource: Resource) -> Person | Skipped:
    called = vcard.called(resource.content) or _name(resource.href)
    try:
        card = vcard.read(resource.content)
    except vcard.Unreadable as reason:
        return Skipped(called, str(reason))
    return searchable(card, href=resource.href, etag=resource.etag) or Skipped(called, "it has no name")


def searchable(card: vcard.Card, *, href: str, etag: str) -> Person | None:
    """Return a person with the texts by which they are found; None if they have no name."""
    if not (name := folded(card.name)):
        return None
    text = " ".join([name, *map(folded, card.nicknames), folded(card.organization or "")])
    return Person(contact_id(href), href, etag, card, name, text)
