"""The address book's tools on a server, which the person's other devices share.

The server is asked and not copied: the capability's own database holds the ledger alone. An entry is recognised by a UID
that the step's key gives, so a lost reply is looked up instead of repeated.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from typing import Any, Protocol

from activities.contacts.book import Person, Skipped
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
from activities.contacts.names import folded, one_line
from activities.contacts.store import digits, folded_name, is_compatible, with_note
from activities.contacts.tools import MOST_FOUND, MOST_LISTED, fitting, only
from retinue.errors import Conflict, NotFound, OutcomeUnknown
from retinue.ledger import SETTLE, Commit, Ledger, lasting_key
from retinue.store import Store

MOST_SKIPPED_NAMED = 10


class AddressBook(Protocol):
    """The people of one address book on a server."""

    enters_once: bool
    """Whether entering again under the same UID is refused by the server."""

    async def people(self) -> Sequence[Person]:
        """Return everybody in the book by name, as it is now.

        Raises:
            ServiceError: See `ExternalService.request`.
        """

    def skipped(self) -> Sequence[Skipped]:
        """Return the entries of the last reading that could not be read."""

    async def enter(self, uid: str, person: AddContact) -> str:
        """Enter a person, and return the id.

        Raises:
            Conflict: There is an entry of this UID.
            OutcomeUnknown: No reply came.
            ServiceError: See `ExternalService.request`.
        """

    async def entered(self, uid: str) -> Person | None:
        """Return the entry of this UID."""

    async def complete(self, known: Person, *, email: str | None, phone: str | None, note: str | None) -> None:
        """Add what is missing to the entry of a person.

        Raises:
            Conflict: It was changed meanwhile.
            NotFound: It is gone.
            OutcomeUnknown: No reply came.
            ServiceError: See `ExternalService.request`.
        """

    async def remove(self, person: Person) -> None:
        """Remove an entry. Errors as in `complete`."""


class ServedContacts(Contacts):
    """The contract, kept by a server; every change goes through the ledger."""

    def __init__(self, store: Store, book: AddressBook, *, settle: float = SETTLE) -> None:
        """Use an address book.

        Args:
            store: The capability's database, for the ledger.
            book: On the server.
            settle: Seconds after which an addition that never reported counts as lost.
        """
        self.ledger: Ledger = Ledger(store)
        self._settle = settle
        self._book = book
        self._adding = asyncio.Lock()

    async def find(self, wish: FindContacts) -> FindContactsResult:
        """Find people by name, nickname or organization; a whole name beats texts that only contain it."""
        wanted = folded_name(wish.name)
        words = wanted.split()
        people = [person for person in await self._book.people() if all(word in person.folded_text for word in words)]
        whole = [person for person in people if person.is_called(wanted)]
        match = only(people) or only(whole)
        found = [*whole, *(person for person in people if person not in whole)][:MOST_FOUND]
        return FindContactsResult(
            contacts=list(fitting(person.as_contact() for person in found)),
            match=match.as_contact() if match is not None else None,
            **self._skipped(),
        )

    async def list(self) -> ListContactsResult:
        """List the address book as far as it fits."""
        people = await self._book.people()
        listed = [*fitting(person.as_contact() for person in people[:MOST_LISTED])]
        return ListContactsResult(contacts=listed, truncated=len(listed) < len(people), **self._skipped())

    def _skipped(self) -> dict[str, Any]:
        skipped = self._book.skipped()
        return {"skipped": len(skipped), "skipped_cards": [str(card) for card in skipped[:MOST_SKIPPED_NAMED]]}

    async def add(self, person: AddContact) -> AddedContact:
        """Enter the person once. One who is there already gains a missing telephone number and nothing else."""
        folded_name(person.name)  # refuses a name without a word before anything is written down
        uid = hashlib.sha256(lasting_key().encode()).hexdigest()[:32]

        async def act(commit: Commit) -> AddedContact:
            # One at a time, so that two steps of this worker do not enter one person twice.
            async with self._adding:
                known = await self._known(person)
                if known is None:
                    return await self._enter(person, uid, commit)
                return _added(await self._completed(known, person, commit), created=known.card.uid == uid)

        async def verify() -> AddedContact | None:
            entered = await self._book.entered(uid)
            if entered is None and not self._book.enters_once and await self._known(person) is None:
                raise OutcomeUnknown(
                    "whether the person was added was never said, and the address book does not show them"
                )
            return None if entered is None else _added(entered, created=True)

        return await self.ledger.once_outside(person, AddedContact, act=act, verify=verify, settle=self._settle)

    async def _known(self, wanted: AddContact) -> Person | None:
        name = folded(wanted.name)
        called = [person for person in await self._book.people() if person.folded_name == name]
        alone = only(called)
        if alone and not (alone.card.emails and wanted.email) and is_compatible(alone.card.phone, wanted.phone):
            return alone
        if wanted.email is None:
            return only(_numbered(called, wanted))
        address = wanted.email.casefold()
        return next((person for person in called if address in map(str.casefold, person.card.emails)), None)

    async def _enter(self, person: AddContact, uid: str, commit: Commit) -> AddedContact:
        await commit()
        try:
            entered = await self._book.enter(uid, person)
        except Conflict:
            # Only an earlier attempt of this step can have used this name.
            if (known := await self._book.entered(uid)) is not None:
                return _added(known, created=True)
            raise
        return AddedContact(
            contact_id=entered,
            name=one_line(person.name),
            email=person.email,
            phone=person.phone,
            note=with_note(None, person.note),
            created=True,
        )

    async def _completed(self, known: Person, wanted: AddContact, commit: Commit) -> Person:
        email = None if known.card.emails else wanted.email
        phone = None if known.card.phone else wanted.phone
        note = None if with_note(known.card.note, wanted.note) == known.card.note else wanted.note
        if not (email or phone or note):
            return known
        await commit()
        await self._book.complete(known, email=email, phone=phone, note=note)
        return await self._person(known.contact_id) or known

    async def remove(self, person: RemoveContact) -> RemovedContact:
        """Remove the person once. Undoing an addition keeps a person who was there before."""
        name = ""

        async def act(commit: Commit) -> RemovedContact:
            nonlocal name
            if not person.created:
                return RemovedContact(contact_id=person.contact_id, removed=False)
            found = await self._person(person.contact_id)
            if found is None:
                raise NotFound("there is no such contact in the address book", hint="contacts.find gives the ids")
            name = found.card.name
            await commit()
            await self._book.remove(found)
            return RemovedContact(contact_id=person.contact_id, name=name, removed=True)

        async def verify() -> RemovedContact | None:
            if await self._person(person.contact_id) is not None:
                return None
            return RemovedContact(contact_id=person.contact_id, name=name, removed=True)

        return await self.ledger.once_outside(person, RemovedContact, act=act, verify=verify)

    async def look_up(self, person: ContactRef) -> Contact:
        """Read the person from the cards that the server has now."""
        found = await self._person(person.contact_id)
        if found is None:
            raise NotFound("there is no such contact in the address book", hint="contacts.find gives the ids")
        return found.as_contact()

    async def _person(self, wanted: str) -> Person | None:
        return next((person for person in await self._book.people() if person.contact_id == wanted), None)


def _numbered(people: Sequence[Person], wanted: AddContact) -> list[Person]:
    """Return those people who have the wanted telephone number."""
    return [person for person in people if wanted.phone and digits(wanted.phone) in map(digits, person.card.phones)]


def _added(person: Person, *, created: bool) -> AddedContact:
    return AddedContact(**person.as_contact().model_dump(), created=created)
