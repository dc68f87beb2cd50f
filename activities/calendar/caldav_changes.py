"""Which events of a CalDAV calendar were added or changed since a cursor: by the server's sync tokens (RFC 6578)."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from typing import Protocol, runtime_checkable

from activities.calendar.contract import EventChange, EventChanges, ReadEventChanges
from activities.calendar.ical_edit import is_own_version
from activities.calendar.ical_entry import parsed, read_entry
from activities.calendar.ical_values import Unreadable
from retinue.errors import InvalidArguments
from retinue.network.dav import Listed, Resource

_FORGOTTEN = "the calendar server no longer knows the cursor, so changes since the last look may be missing"


@runtime_checkable
class Synced(Protocol):
    """A server that can tell what has changed."""

    async def sync_token(self) -> str:
        """Return where the calendar stands now; empty if the server cannot tell changes."""

    async def changed_since(self, token: str) -> tuple[dict[str, Listed], str] | None:
        """Return entries that were added or changed since, by event ids, and the next token; None if it is not valid."""

    def contents(self, wanted: Mapping[str, Listed]) -> AsyncIterator[dict[str, Resource | None]]:
        """Return resources by event ids, a part at a time."""


async def changes(
    wish: ReadEventChanges,
    server: Synced,
    otherwise: Callable[[ReadEventChanges], Awaitable[EventChanges]],
    *,
    zone: str,
) -> EventChanges:
    """Return the changes since a cursor.

    Args:
        wish: What is asked for.
        server: The calendar.
        otherwise: Finds changes where the server cannot tell them, or where the present events are wanted.
        zone: Of events on dates and of floating times.
    """
    if wish.cursor is None:
        token = await server.sync_token()
        if wish.latest or not token:
            found = await otherwise(wish)
            return found.model_copy(update={"cursor": _cursor(token)}) if token else found
        return EventChanges(cursor=_cursor(token))
    known = _token(wish.cursor)
    if known is None:
        return await otherwise(wish)
    since = await server.changed_since(known)
    if since is None:
        return EventChanges(cursor=_cursor(await server.sync_token()), reset=_FORGOTTEN)
    listed, following = since
    wanted = dict(list(listed.items())[: wish.limit])
    read: list[EventChange] = []
    async for part in server.contents(wanted):
        read += await asyncio.to_thread(_read, part, wanted, zone)
    left_out = f"{len(listed) - len(wanted)} of {len(listed)} changes at once were left out"
    return EventChanges(changes=read, cursor=_cursor(following), reset=left_out if len(wanted) < len(listed) else "")


def _read(resources: Mapping[str, Resource | None], listed: Mapping[str, Listed], zone: str) -> list[EventChange]:
    return list(_changes(resources, listed, zone))


def _changes(
    resources: Mapping[str, Resource | None], listed: Mapping[str, Listed], zone: str
) -> Iterator[EventChange]:
    """Yield the changes that can be read."""
    for event_id, resource in resources.items():
        if resource is None:
            continue
        try:
            event = read_entry(event_id, resource.content, zone).as_event()
            own = is_own_version(parsed(resource.content))
        except Unreadable:
            continue
        version = f"{event_id}\n{listed[event_id].etag}".encode()
        yield EventChange(
            change_id=hashlib.sha256(version).hexdigest()[:32],
            event_id=event_id,
            title=event.title,
            start=event.start,
            own=own,
        )


def _cursor(token: str) -> str:
    return json.dumps({"token": token})


def _token(cursor: str) -> str | None:
    """Return the sync token in a cursor; None if it was made without one."""
    try:
        found = json.loads(cursor).get("token")
    except (ValueError, AttributeError):
        raise InvalidArguments("this cursor was not given by this calendar") from None
    return found if isinstance(found, str) else None
