"""The address books of people's accounts elsewhere, by provider."""

from __future__ import annotations

from activities.contacts.carddav import CONTENT_TYPE, CarddavContacts
from activities.contacts.contract import Contacts
from activities.contacts.google import over as over_google
from activities.contacts.graph import over as over_microsoft
from activities.contacts.settings import ContactsSettings
from retinue.accounts.access import Access
from retinue.accounts.connection import NamedAccounts, Provider
from retinue.accounts.hosts import guard
from retinue.accounts.routing import Implementation, Routing, address_of, rest_client, sign_in
from retinue.ledger import Ledger
from retinue.network import dav
from retinue.network.egress import Resolver, look_up
from retinue.network.service_client import ExternalService
from retinue.store import Store


def routing(
    settings: ContactsSettings, store: Store, accounts: NamedAccounts, *, resolve: Resolver = look_up
) -> Routing[Contacts]:
    """Return the address books of accounts. Their ledger is in the organisation's database."""

    def carddav(access: Access) -> Implementation[Contacts]:
        url = address_of(access.connection, "carddav")
        egress = guard(access.connection, url, resolve)
        client = dav.client(url, timeout=settings.timeout, egress=egress, **sign_in(access.connection))
        outside = ExternalService(client, name="the address book's server", deadline=settings.timeout)
        collection = dav.Collection(outside, url, content_type=CONTENT_TYPE)
        return Implementation(CarddavContacts(store, collection), client.aclose)

    def google(access: Access) -> Implementation[Contacts]:
        client = rest_client(settings.timeout)
        return Implementation(over_google(access, store, http=client), client.aclose)

    def microsoft(access: Access) -> Implementation[Contacts]:
        client = rest_client(settings.timeout)
        return Implementation(over_microsoft(access, store, http=client, timeout=settings.timeout), client.aclose)

    builders = {Provider.CARDDAV: carddav, Provider.GOOGLE: google, Provider.MICROSOFT: microsoft}
    return Routing(Contacts.name, accounts, builders, ledger=Ledger(store))
