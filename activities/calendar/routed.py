"""The calendars of people's accounts elsewhere, by provider. What only one of them needs is loaded at its first use."""

from __future__ import annotations

from activities.calendar.contract import Calendar
from activities.calendar.settings import CalendarSettings
from retinue.accounts.access import Access
from retinue.accounts.connection import NamedAccounts, Provider
from retinue.accounts.hosts import guard
from retinue.accounts.routing import Implementation, Routing, address_of, rest_client, sign_in
from retinue.ledger import Ledger
from retinue.network.egress import Resolver, look_up
from retinue.store import Store


def routing(
    settings: CalendarSettings, store: Store, accounts: NamedAccounts, *, resolve: Resolver = look_up
) -> Routing[Calendar]:
    """Return the calendars of accounts. Their ledger, and what they keep for an undo, is in the organisation's database."""

    def caldav(access: Access) -> Implementation[Calendar]:
        from activities.calendar.caldav import CaldavCalendar
        from activities.calendar.caldav_server import CaldavServer
        from activities.calendar.caldav_view import CalendarView
        from retinue.network import dav

        url = address_of(access.connection, "caldav")
        egress = guard(access.connection, url, resolve)
        client = dav.client(url, timeout=settings.timeout, egress=egress, **sign_in(access.connection))
        server = CaldavServer(client, url, timeout=settings.timeout)
        zone = settings.timezone
        view = CalendarView(server, default_zone=zone)
        return Implementation(CaldavCalendar(store, server, view, default_zone=zone), client.aclose)

    def google(access: Access) -> Implementation[Calendar]:
        from activities.calendar.google import over

        client = rest_client(settings.timeout)
        return Implementation(over(access, store, http=client, default_zone=settings.timezone), client.aclose)

    def microsoft(access: Access) -> Implementation[Calendar]:
        from activities.calendar.graph import over

        client = rest_client(settings.timeout)
        return Implementation(over(access, store, http=client, default_zone=settings.timezone), client.aclose)

    builders = {Provider.CALDAV: caldav, Provider.GOOGLE: google, Provider.MICROSOFT: microsoft}
    return Routing(Calendar.name, accounts, builders, ledger=Ledger(store))
