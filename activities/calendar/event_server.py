"""What a calendar elsewhere must be able to do so that `CaldavCalendar` can keep events there, whatever its protocol.

An event, or a series with its changed dates, is one resource: iCalendar text with a version (ETag).
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from activities.calendar.caldav_view import Look
    from retinue.network.dav import Resource


class EventServer(Protocol):
    """One calendar."""

    def id_for(self, uid: str) -> str:
        """Return the event id of a new resource, which follows from the UID (a UUID)."""

    async def get(self, event_id: str) -> Resource:
        """Return one resource, the last part of whose `href` is the event id.

        Raises:
            NotFound: There is none of that id.
            ServiceError: See `ExternalService.request`.
        """

    async def create(self, event_id: str, content: str) -> str:
        """Create a resource, and return the event id that the server gave it.

        Raises:
            Conflict: There is one of that id.
            OutcomeUnknown: No reply came.
            ServiceError: See `ExternalService.request`.
        """

    async def replace(self, event_id: str, content: str, *, etag: str) -> None:
        """Write a new version of the resource whose version is `etag`.

        Raises:
            Conflict: It was changed or removed meanwhile.
            OutcomeUnknown: No reply came.
            ServiceError: See `ExternalService.request`.
        """

    async def delete(self, event_id: str, *, etag: str) -> None:
        """Remove the resource whose version is `etag`.

        Raises:
            NotFound: It is not there.
            Conflict: It was changed meanwhile.
            OutcomeUnknown: No reply came.
            ServiceError: See `ExternalService.request`.
        """

    async def with_uid(self, uid: str) -> Sequence[str]:
        """Return the event ids of resources that may have this UID.

        Raises:
            ServiceError: See `ExternalService.request`.
        """

    async def schedules(self) -> bool:
        """Whether the server itself tells the people who take part when an event changes."""


class View(Protocol):
    """Looks into a calendar."""

    async def look(self, start: datetime, end: datetime) -> Look:
        """Return everything that takes place in the window.

        Raises:
            InvalidArguments: The window holds too much.
            ServiceError: See `ExternalService.request`.
        """
