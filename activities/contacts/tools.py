"""The address book's tools on its own store."""

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

from sqlmodel.ext.asyncio.session import AsyncSession

from activities.contacts.contract import (
    AddContact,
    AddedContact,
    Contact,
    ContactRef,
    Contacts,
    FindContacts,
    FindContactsResult,
    ListContactsResult,
    RemoveContact,
    RemovedContact,
)
from activities.contacts.names import folded
from activities.contacts.store import ContactsStore, person_called
from retinue.ledger import Ledger
from retinue.store import Store

Person = TypeVar("Person")
MOST_FOUND = 100
MOST_LISTED = 500
LISTED_BYTES = 200 * 1024
"""A list stays below what the edge lets into a run; a person too many is cut, not the whole answer refused."""


class ContactsTools(Contacts):
    """The contract, kept by `ContactsStore`; every change goes through the ledger."""

    def __init__(self, store: Store) -> None:
        self.ledger: Ledger = Ledger(store)
        self._contacts = ContactsStore(store)

    async def find(self, wish: FindContacts) -> FindContactsResult:
        """Find people; a whole name beats names that only contain it."""
        found = await self._contacts.find(wish.name, limit=MOST_FOUND)
        match = only(found) or only([person for person in found if person.folded_name == folded(wish.name)])
        return FindContactsResult(
            contacts=list(fitting(person.as_contact() for person in found)),
            match=match.as_contact() if match is not None else None,
        )

    async def add(self, person: AddContact) -> AddedContact:
        """Enter the person once."""

        async def effect(session: AsyncSession) -> AddedContact:
            wanted = person_called(person.name, email=person.email, phone=person.phone, note=person.note)
            kept = await self._contacts.add(session, wanted)
            return AddedContact(**kept.as_contact().model_dump(), created=kept is wanted)

        return await self.ledger.once(person, AddedContact, effect)

    async def remove(self, person: RemoveContact) -> RemovedContact:
        """Remove the person once. Undoing an addition keeps a person who was there before."""

        async def effect(session: AsyncSession) -> RemovedContact:
            if not person.created:
                return RemovedContact(contact_id=person.contact_id, removed=False)
            gone = await self._contacts.remove(session, person.contact_id)
            return RemovedContact(contact_id=gone.contact_id, name=gone.name, removed=True)

        return await self.ledger.once(person, RemovedContact, effect)

    async def look_up(self, person: ContactRef) -> Contact:
        """Return the person."""
        return (await self._contacts.get(person.contact_id)).as_contact()

    async def list(self) -> ListContactsResult:
        """List the address book as far as it fits."""
        found = await self._contacts.list(limit=MOST_LISTED + 1)
        listed = [*fitting(person.as_contact() for person in found[:MOST_LISTED])]
        return ListContactsResult(contacts=listed, truncated=len(listed) < len(found))


def only(people: Sequence[Person]) -> Person | None:
    """Return the only match, or None."""
    return people[0] if len(people) == 1 else None


def fitting(people: Iterable[Contact]) -> Iterator[Contact]:
    """As many people as fit into one answer."""
    size = 0
    for contact in people:
        size += len(json.dumps(contact.model_dump(mode="json")))
        if size > LISTED_BYTES:
            return
        yield contact
