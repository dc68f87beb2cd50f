"""The caller's grants and daily usage."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import TypeVar

from temporalio.client import Client, RPCTimeoutOrCancelledError, WorkflowQueryFailedError
from temporalio.service import RPCError, RPCStatusCode

from retinue.errors import ServiceUnavailable
from retinue.temporal import person
from workflows.rules.grants import DayUsage, Grant, NewGrant, Revoke, is_live

Answer = TypeVar("Answer")


class Grants:
    """The grants of one caller; another person's grants are in another workflow."""

    def __init__(self, client: Client, owner: str) -> None:
        self._client = client
        self._owner = owner

    async def all(self) -> list[Grant]:
        """Return every stored grant, oldest first, ended ones included.

        Raises:
            ServiceUnavailable: No workflow worker answered in time.
        """
        return await self._queried(person.GRANTS, list[Grant]) or []

    async def add(self, new: NewGrant) -> Grant:
        """Add a grant; idempotent by id.

        Raises:
            InvalidArguments: It expires in the past or too far ahead.
            Conflict: There are too many grants.
            ServiceUnavailable: No workflow worker answered in time.
        """
        return await person.ask(self._client, self._owner, person.ADD_GRANT, new, answer=Grant)

    async def revoke(self, grant_id: str) -> Grant:
        """Revoke a grant at once; idempotent.

        Raises:
            NotFound: There is no such grant.
            ServiceUnavailable: No workflow worker answered in time.
        """
        return await person.ask(self._client, self._owner, person.REVOKE, Revoke(grant_id=grant_id), answer=Grant)

    async def revoke_given_through(self, key_id: str) -> None:
        """Revoke the live grants that an API key created. Errors as for `all`."""
        now = datetime.now(UTC)
        for grant in await self.all():
            if grant.through is not None and grant.through.id == key_id and is_live(grant, now):
                await self.revoke(grant.grant_id)

    async def day(self, day: date) -> DayUsage:
        """Return the usage of a day. Raise ServiceUnavailable if no workflow worker answers in time."""
        return await self._queried(person.DAY, DayUsage, day) or DayUsage(day=day)

    async def _queried(self, query: str, answer: type[Answer], *arguments: object) -> Answer | None:
        """Return the answer, or None for a person without grants or usage."""
        try:
            return await person.query(self._client, self._owner, query, *arguments, answer=answer)
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                return None
            raise
        except (RPCTimeoutOrCancelledError, WorkflowQueryFailedError):
            raise ServiceUnavailable("no workflow worker answered in time", hint="try again in a few seconds") from None
