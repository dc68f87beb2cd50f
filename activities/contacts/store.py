"""The address book's own store.

It knows nothing of Temporal: who calls `add` brings the session, and with it the transaction.
"""

from collections.abc import Iterable, Sequence

from sqlalchemy import case
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from activities.contacts.models import StoredContact
from activities.contacts.names import folded, one_line
from retinue.errors import InvalidArguments, NotFound
from retinue.store import Store

LONGEST_NOTE = 4000


class ContactsStore:
    """People in the capability's own database."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def find(self, name: str, *, limit: int) -> Sequence[StoredContact]:
        """People whose name holds all the words of `name`; those whose whole name it is come first, then by name.

        Raises:
            InvalidArguments: `name` holds no word.
        """
        wanted = folded_name(name)
        found = select(StoredContact).where(
            *(col(StoredContact.folded_name).contains(word, autoescape=True) for word in wanted.split())
        )
        whole_first = case((col(StoredContact.folded_name) == wanted, 0), else_=1)
        by_name = found.order_by(whole_first, col(StoredContact.folded_name), col(StoredContact.contact_id))
        async with self._store.read() as session:
            return (await session.exec(by_name.limit(limit))).all()

    async def list(self, *, limit: int) -> Sequence[StoredContact]:
        """Return the first `limit` people by name."""
        by_name = select(StoredContact).order_by(col(StoredContact.folded_name), col(StoredContact.contact_id))
        async with self._store.read() as session:
            return (await session.exec(by_name.limit(limit))).all()

    async def add(self, session: AsyncSession, person: StoredContact) -> StoredContact:
        """Enter a person, unless name and address are there already; returns them as the address book has them.

        It is `person` itself that comes back when nobody like that was known.

        A known person gains an address or a telephone number that was missing, and a note; nothing that is there is overwritten.

        Raises:
            InvalidArguments: Their note would become too long.
        """
        called = select(StoredContact).where(col(StoredContact.folded_name) == person.folded_name)
        known = _known(person, (await session.exec(called)).all())
        if known is None:
            session.add(person)
            return person
        if person.email and not known.email:
            known.email, known.known_by = person.email, person.known_by
        known.phone = known.phone or person.phone
        known.note = with_note(known.note, person.note)
        session.add(known)
        return known

    async def get(self, contact_id: str) -> StoredContact:
        """Return one person.

        Raises:
            NotFound: There is nobody of that id.
        """
        async with self._store.read() as session:
            return await _person(session, contact_id)

    async def remove(self, session: AsyncSession, contact_id: str) -> StoredContact:
        """Remove one person; returns them as they were.

        Raises:
            NotFound: There is nobody of that id.
        """
        person = await _person(session, contact_id)
        await session.delete(person)
        return person

    async def import_contacts(self, people: Iterable[StoredContact]) -> int:
        """Enter those people who are not there yet, in one transaction.

        Returns:
            How many were entered.
        """
        added = 0
        async with self._store.write() as session:
            known = set(await session.exec(select(StoredContact.folded_name, StoredContact.known_by)))
            for person in people:
                if (key := (person.folded_name, person.known_by)) not in known:
                    known.add(key)
                    session.add(person)
                    added += 1
        return added


async def _person(session: AsyncSession, contact_id: str) -> StoredContact:
    person = await session.get(StoredContact, contact_id)
    if person is None:
        raise NotFound("there is no such contact in the address book", hint="contacts.find gives the ids")
    return person


def _known(person: StoredContact, called: Sequence[StoredContact]) -> StoredContact | None:
    """Return which of the people of that name it is, or None.

    Where one of both has no address, the only one of the name is meant, unless the numbers differ.
    """
    for known in called:
        if known.known_by == person.known_by:
            return known
    alone = called[0] if len(called) == 1 else None
    if alone and not (alone.email and person.email) and is_compatible(alone.phone, person.phone):
        return alone
    return None


def is_compatible(known: str | None, wanted: str | None) -> bool:
    """Whether a person with the number `known` may be the one with the number `wanted`."""
    return not known or not wanted or digits(known) == digits(wanted)


def digits(phone: str) -> str:
    """Return a telephone number without what only groups its digits."""
    return "".join(char for char in phone if char.isdigit() or char == "+")


def with_note(known: str | None, more: str | None) -> str | None:
    """Return a note with one more line, unless it says so already.

    Raises:
        InvalidArguments: It would become too long.
    """
    more = more and more.strip()
    if not known or not more or more in known:
        return known or more
    if len(known) + len(more) >= LONGEST_NOTE:
        raise InvalidArguments(f"a note of more than {LONGEST_NOTE} characters does not fit")
    return f"{known}\n{more}"


def person_called(name: str, *, email: str | None, phone: str | None, note: str | None = None) -> StoredContact:
    """Return a person for the address book, with what they are recognised by.

    Raises:
        InvalidArguments: The name holds no word.
    """
    return StoredContact(
        name=one_line(name),
        email=email,
        phone=phone,
        note=with_note(None, note),
        folded_name=folded_name(name),
        known_by=(email or phone or "").casefold(),
    )


def folded_name(name: str) -> str:
    """What a name is found by.

    Raises:
        InvalidArguments: It holds no word.
    """
    if not (wanted := folded(name)):
        raise InvalidArguments("the name is empty", hint="write at least one word of it")
    return wanted
