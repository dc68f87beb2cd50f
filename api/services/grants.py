"""The caller's standing things behind the API: grants, and what a day has used."""

from __future__ import annotations

from datetime import date
from typing import TypeVar

from temporalio.client import Client, RPCTimeoutOrCancelledError, WorkflowQueryFailedError
from temporalio.service import RPCError, RPCStatusCode

from retinue.errors import ServiceUnavailable
from retinue.temporal import person
from workflows.rules.grants import DayUsage, Grant, NewGrant, Revoke

Answer = TypeVar("Answer")


class Grants:
    """All grants of one caller. Somebody else's do not exist here: they are in another workflow."""

    def __init__(self, client: Client, owner: str) -> None:
        self._client = client
        self._owner = owner

    async def all(self) -> list[Grant]:
        """Every grant that is still remembered, oldest first, ended ones included.

        Raises:
            ServiceUnavailable: No workflow worker answered in time.
        """
        return await self._queried(person.GRANTS, list[Grant]) or []

    async def add(self, new: NewGrant) -> Grant:
        """Add a grant. The same id again is the same grant.

        Raises:
            InvalidArguments: Its end lies behind, or too far ahead.
            Conflict: There are too many.
            ServiceUnavailable: No workflow worker answered in time.
        """
        return await person.ask(self._client, self._owner, person.ADD_GRANT, new, answer=Grant)

    async def revoke(self, grant_id: str) -> Grant:
        """End a grant at once; again changes nothing.

        Raises:
            NotFound: There is no such grant.
            ServiceUnavailable: No workflow worker answered in time.
        """
        return await person.ask(self._client, self._owner, person.REVOKE, Revoke(grant_id=grant_id), answer=Grant)

    async def day(self, day: date) -> DayUsage:
        """What was used in a day. Errors as for `all`."""
        return await self._queried(person.DAY, DayUsage, day) or DayUsage(day=day)

    async def _queried(self, query: str, answer: type[Answer], *arguments: object) -> Answer | None:
        """The answer, or None for a person who has nothing standing yet."""
        try:
            return await person.query(self._client, self._owner, query, *arguments, answer=answer)
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                return None
            raise
        except (RPCTimeoutOrCancelledError, WorkflowQueryFailedError):
            raise ServiceUnavailable("no workflow worker answered in time", hint="try again in a few seconds") from None
