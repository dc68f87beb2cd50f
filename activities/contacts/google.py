"""The address book's tools over an account at Google, by the People API.

Google gives entries their ids, and may show a new one only after a while: after a lost reply a new entry is looked for by a
mark that it carries for this app alone (`clientData`), and a person is asked if it does not appear.
"""

from __future__ import annotations

import re

import httpx

from activities.contacts import vcard
from activities.contacts.book import MOST_PEOPLE, Person, Skipped, contact_id, searchable
from activities.contacts.contract import AddContact, Contacts
from activities.contacts.names import one_line
from activities.contacts.served import ServedContacts
from activities.contacts.store import with_note
from retinue.accounts.access import Access
from retinue.accounts.google_api import GoogleApi
from retinue.accounts.rest_api import Json, objects, text_of
from retinue.errors import NotFound, ServiceRefused
from retinue.ledger import SETTLE
from retinue.network.service_client import MAX_BYTES
from retinue.store import Store

_PAGE = 500
_EMAILS, _PHONES, _NOTES = "emailAddresses", "phoneNumbers", "biographies"
_FIELDS = f"names,nicknames,organizations,{_EMAILS},{_PHONES},{_NOTES},clientData"
_MARK = "retinue-effect"
_RESOURCE = re.compile(r"people/[A-Za-z0-9_-]{1,200}")


def over(access: Access, store: Store, *, http: httpx.AsyncClient, settle: float = SETTLE) -> Contacts:
    """Return the tools over the contacts of an account at Google.

    Args:
        access: The account's connection.
        store: The capability's database, for the ledger.
        http: See `RestApi`.
        settle: Seconds after which an addition that never reported counts as lost.
    """
    api = GoogleApi(
        http, access, host="people.googleapis.com", path="/v1", name="Google Contacts", most_bytes=2 * MAX_BYTES
    )
    return ServedContacts(store, GoogleBook(api), settle=settle)


class GoogleBook:
    """The people of one account: an `AddressBook`, whose errors are those of `GoogleApi`."""

    enters_once = False

    def __init__(self, api: GoogleApi) -> None:
        self._api = api
        self._skipped: list[Skipped] = []

    async def people(self) -> list[Person]:
        """Return everybody by name.

        Raises:
            ServiceRefused: There are more than fit here; half of them would make names look unambiguous.
        """
        found: list[Json] = []
        token = ""
        while True:
            following = [("pageToken", token)] if token else []
            page = await self._api.get(
                "people/me/connections", [("personFields", _FIELDS), ("pageSize", _PAGE), *following]
            )
            found += objects(page, "connections")
            if len(found) > MOST_PEOPLE:
                raise ServiceRefused(f"the address book has more than {MOST_PEOPLE} people")
            if not (token := text_of(page, "nextPageToken")):
                break
        read = [_person(each) for each in found]
        self._skipped = [each for each in read if isinstance(each, Skipped)]
        people = [each for each in read if isinstance(each, Person)]
        return sorted(people, key=lambda person: (person.folded_name, person.contact_id))

    def skipped(self) -> list[Skipped]:
        """Return the people of the last reading who could not be read."""
        return self._skipped

    async def enter(self, uid: str, person: AddContact) -> str:
        """See `AddressBook.enter`."""
        body: Json = {
            "names": [{"unstructuredName": one_line(person.name)}],
            "clientData": [{"key": _MARK, "value": uid}],
            **_added({}, email=person.email, phone=person.phone, note=person.note),
        }
        made = await self._api.change("POST", "./people:createContact", body, params=[("personFields", "names")])
        return contact_id(text_of(made, "resourceName"))

    async def entered(self, uid: str) -> Person | None:
        """Return the person whom a step's own attempts have entered."""
        return next((person for person in await self.people() if person.card.uid == uid), None)

    async def complete(self, known: Person, *, email: str | None, phone: str | None, note: str | None) -> None:
        """See `AddressBook.complete`."""
        current = await self._api.get(_path(known), [("personFields", ",".join((_EMAILS, _PHONES, _NOTES)))])
        added = _added(current, email=email, phone=phone, note=note)
        body = {"resourceName": known.href, "etag": text_of(current, "etag"), **added}
        params = [("updatePersonFields", ",".join(added))]
        await self._api.change("PATCH", f"{_path(known)}:updateContact", body, params=params)

    async def remove(self, person: Person) -> None:
        """See `AddressBook.remove`."""
        await self._api.change("DELETE", f"{_path(person)}:deleteContact")


def _added(current: Json, *, email: str | None, phone: str | None, note: str | None) -> Json:
    """Return the fields of a person with what is added to them."""
    notes = objects(current, _NOTES)
    text = with_note(text_of(notes[0], "value") if notes else None, note) if note else None
    return {
        **({_EMAILS: [*objects(current, _EMAILS), {"value": email}]} if email else {}),
        **({_PHONES: [*objects(current, _PHONES), {"value": phone}]} if phone else {}),
        **({_NOTES: [{"value": text, "contentType": "TEXT_PLAIN"}]} if text else {}),
    }


def _path(person: Person) -> str:
    if not _RESOURCE.fullmatch(person.href):
        raise NotFound("there is no such contact in the address book", hint="contacts.find gives the ids")
    return person.href


def _person(found: Json) -> Person | Skipped:
    names, employers = _primary_first(found, "names"), _primary_first(found, "organizations")
    organization = one_line(text_of(employers[0], "name")) if employers else ""
    name = next((one_line(text) for each in names if (text := text_of(each, "displayName"))), organization)
    notes = [text_of(each, "value") for each in _primary_first(found, _NOTES)]
    values = {field: [text_of(each, "value") for each in _primary_first(found, field)] for field in (_EMAILS, _PHONES)}
    emails = {value: vcard.usable_address(value) for value in values[_EMAILS]}
    phones = {value: vcard.usable_phone(value) for value in values[_PHONES]}
    nicknames = [one_line(text_of(each, "value"))[: vcard.LONGEST_NAME] for each in objects(found, "nicknames")]
    marks = [text_of(each, "value") for each in objects(found, "clientData") if text_of(each, "key") == _MARK]
    card = vcard.Card(
        name=name[: vcard.LONGEST_NAME],
        emails=tuple(dict.fromkeys(filter(None, emails.values())))[: vcard.MOST_ADDRESSES],
        phones=tuple(dict.fromkeys(filter(None, phones.values())))[: vcard.MOST_ADDRESSES],
        refused=tuple(value for value, usable in [*emails.items(), *phones.items()] if value and usable is None),
        nicknames=tuple(filter(None, nicknames)),
        organization=organization[: vcard.LONGEST_NAME] or None,
        note=vcard.printable_lines("\n".join(filter(None, notes)))[: vcard.LONGEST_NOTE] or None,
        uid=next(iter(marks), ""),
    )
    resource = text_of(found, "resourceName")
    return searchable(card, href=resource, etag=text_of(found, "etag")) or Skipped(resource, "it has no name")


def _primary_first(found: Json, field: str) -> list[Json]:
    """Return the values of a field, the one that Google shows first before the others."""

    def is_primary(value: Json) -> bool:
        metadata = value.get("metadata")
        return isinstance(metadata, dict) and metadata.get("primary") is True

    return sorted(objects(found, field), key=is_primary, reverse=True)
