"""The address book's tools on a CardDAV server."""

from __future__ import annotations

from activities.contacts.book import Book
from activities.contacts.served import ServedContacts
from retinue.network.dav import Collection
from retinue.store import Store

CONTENT_TYPE = "text/vcard; charset=utf-8"


class CarddavContacts(ServedContacts):
    """The contract, kept by a CardDAV server; every change goes through the ledger."""

    def __init__(self, store: Store, collection: Collection) -> None:
        super().__init__(store, Book(collection))
