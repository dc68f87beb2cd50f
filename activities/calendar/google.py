"""The calendar's tools over an account at Google."""

from __future__ import annotations

import httpx

from activities.calendar.caldav import CaldavCalendar
from activities.calendar.contract import Calendar
from activities.calendar.google_server import GoogleServer, calendar_api
from activities.calendar.google_view import GoogleView
from retinue.accounts.access import Access
from retinue.store import Store


def over(access: Access, store: Store, *, http: httpx.AsyncClient, default_zone: str) -> Calendar:
    """Return the tools over the person's first calendar at Google.

    Args:
        access: The account's connection.
        store: The capability's database, for the ledger and what events were before.
        http: See `RestApi`.
        default_zone: IANA zone of events on dates.
    """
    api = calendar_api(http, access)
    server, view = GoogleServer(api, default_zone=default_zone), GoogleView(api, default_zone=default_zone)
    return CaldavCalendar(store, server, view, default_zone=default_zone)
