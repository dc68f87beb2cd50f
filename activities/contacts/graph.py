"""The address book's tools over an account at Microsoft, by Graph.

Graph gives entries their ids, and enters the same person again when it is asked again: after a lost reply a new entry is
looked for by a mark that it carries in an extended property, and a person is asked if it does not appear.
"""

from __future__ import annotations

from typing import Final

import httpx

from activities.contacts import vcard
from activities.contacts.book import MOST_PEOPLE, Person, Skipped, contact_id, searchable
from activities.contacts.contract import AddContact, Contacts
from activities.contacts.names import one_line
from activities.contacts.served import ServedContacts
from activities.contacts.store import with_note
from retinue.accounts.access import Access
from retinue.accounts.graph_api import IMMUTABLE, GraphApi, Params, Properties, etag_of
from retinue.accounts.rest_api import Json, objects, part, text_of
from retinue.errors import InvalidArguments, ServiceRefused
from retinue.store import Store

_PEOPLE = "me/contacts"
_OURS = Properties("3f0a6c54-6f0e-4c58-9f0b-2f4d4f5f7c21", ("RetinueEntry",))
_FIELDS: Final = (
    "id,displayName,givenName,surname,nickName,companyName,emailAddresses,mobilePhone,businessPhones,homePhones,"
    "personalNotes"
)
_READ: Final[Params] = {"$select": _FIELDS, "$expand": _OURS.expand()}
_PAGE = 500


def over(access: Access, store: Store, *, http: httpx.AsyncClient, timeout: float = 25) -> Contacts:
    """Return the tools over the person's own contacts at Microsoft; building them opens nothing.

    Args:
        access: The account's connection.
        store: The capability's database, for the ledger.
        http: See `RestApi`.
        timeout: Seconds that one request may take.
    """
    return ServedContacts(store, GraphBook(GraphApi(http, access, name="the contacts at Microsoft", deadline=timeout)))


class GraphBook:
    """The people of one account's first folder: an `AddressBook`, whose errors are those of `GraphApi`."""

    enters_once = False

    def __init__(self, api: GraphApi) -> None:
        self._api = api
        self._skipped: list[Skipped] = []

    async def people(self) -> list[Person]:
        """Return everybody by name.

        Raises:
            ServiceRefused: There are more than fit here; half of them would make names look unambiguous.
        """
        try:
            found = [each async for each in self._api.listed(_PEOPLE, {**_READ, "$top": _PAGE}, prefer=IMMUTABLE)]
        except InvalidArguments:
            raise ServiceRefused(f"the address book has more than {MOST_PEOPLE} people") from None
        read = [_person(each) for each in found]
        self._skipped = [each for each in read if isinstance(each, Skipped)]
        people = [each for each in read if isinstance(each, Person)]
        return sorted(people, key=lambda person: (person.folded_name, person.contact_id))

    def skipped(self) -> list[Skipped]:
        """Return the people of the last reading who could not be read."""
        return self._skipped

    async def enter(self, uid: str, person: AddContact) -> str:
        """See `AddressBook.enter`."""
        name = one_line(person.name)
        body: Json = {
            "displayName": name,
            "givenName": name,
            "singleValueExtendedProperties": _OURS.written({"RetinueEntry": uid}),
            **_added({}, email=person.email, phone=person.phone, note=person.note),
        }
        made = await self._api.change("POST", _PEOPLE, body)
        return contact_id(text_of(made, "id"))

    async def entered(self, uid: str) -> Person | None:
        """Return the person whom a step's own attempts have entered."""
        params = {**_READ, "$filter": _OURS.filter("RetinueEntry", uid)}
        found = [_person(each) async for each in self._api.listed(_PEOPLE, params, prefer=IMMUTABLE)]
        return next((each for each in found if isinstance(each, Person)), None)

    async def complete(self, known: Person, *, email: str | None, phone: str | None, note: str | None) -> None:
        """See `AddressBook.complete`."""
        current = await self._api.get(_path(known), {"$select": _FIELDS}, prefer=IMMUTABLE)
        added = _added(current, email=email, phone=phone, note=note)
        await self._api.change("PATCH", _path(known), added, etag=etag_of(current))

    async def remove(self, person: Person) -> None:
        """See `AddressBook.remove`."""
        await self._api.change("DELETE", _path(person), etag=person.etag)


def _path(person: Person) -> str:
    return f"{_PEOPLE}/{part(person.href)}"


def _added(current: Json, *, email: str | None, phone: str | None, note: str | None) -> Json:
    """Return the fields of a person with what is added to them."""
    mobile = text_of(current, "mobilePhone")
    return {
        **({"emailAddresses": [*objects(current, "emailAddresses"), {"address": email}]} if email else {}),
        **({"mobilePhone": phone} if phone and not mobile else {}),
        **({"homePhones": [*_texts(current, "homePhones"), phone]} if phone and mobile else {}),
        **({"personalNotes": with_note(text_of(current, "personalNotes") or None, note)} if note else {}),
    }


def _person(found: Json) -> Person | Skipped:
    company = one_line(text_of(found, "companyName"))
    parts = one_line(f"{text_of(found, 'givenName')} {text_of(found, 'surname')}")
    name = one_line(text_of(found, "displayName")) or parts or company
    phones = [text_of(found, "mobilePhone"), *_texts(found, "businessPhones"), *_texts(found, "homePhones")]
    usable = {value: vcard.usable_phone(value) for value in phones if value}
    addresses = [text_of(each, "address") for each in objects(found, "emailAddresses")]
    emails = {value: vcard.usable_address(value) for value in addresses if value}
    nickname = one_line(text_of(found, "nickName"))[: vcard.LONGEST_NAME]
    card = vcard.Card(
        name=name[: vcard.LONGEST_NAME],
        emails=tuple(dict.fromkeys(filter(None, emails.values())))[: vcard.MOST_ADDRESSES],
        phones=tuple(dict.fromkeys(filter(None, usable.values())))[: vcard.MOST_ADDRESSES],
        refused=tuple(value for value, fine in [*emails.items(), *usable.items()] if fine is None),
        nicknames=(nickname,) if nickname else (),
        organization=company[: vcard.LONGEST_NAME] or None,
        note=vcard.printable_lines(text_of(found, "personalNotes"))[: vcard.LONGEST_NOTE] or None,
        uid=_OURS.read(found).get("RetinueEntry", ""),
    )
    id_ = text_of(found, "id")
    return searchable(card, href=id_, etag=etag_of(found)) or Skipped(id_, "it has no name")


def _texts(found: Json, name: str) -> list[str]:
    value = found.get(name)
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []
