"""What endpoints ask for, by name."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Header, Request
from temporalio.client import Client

from api.keys import IdempotencyKeys
from api.models import Links
from api.runs import Runs
from api.settings import ApiSettings
from retinue.errors import CallerError, ServiceUnavailable
from retinue.registry import Directory

_CONNECT = 5.0
LOCAL_OWNER = "local"
"""The one person of a single-user installation on loopback."""


@dataclass
class House:
    """What lives as long as the process."""

    client: Client
    keys: IdempotencyKeys
    directory: Directory
    settings: ApiSettings
    ready: bool = False
    connected: bool = False

    async def connect(self) -> None:
        """Make sure that the lazy client has connected once; later outages show as `RPCError` in each call.

        Raises:
            ServiceUnavailable: Temporal cannot be reached yet.
        """
        if self.connected:
            return
        try:
            async with asyncio.timeout(_CONNECT):
                await self.client.service_client.check_health()
        except (RuntimeError, TimeoutError):  # RuntimeError is the SDK's word for a first connection that failed
            raise ServiceUnavailable(
                "Temporal cannot be reached; nothing was changed", hint="try again in a few seconds"
            ) from None
        self.connected = True

    def links(self, run_id: str) -> Links:
        """Where a run is found."""
        ui = f"{self.settings.temporal_ui()}/namespaces/{self.client.namespace}/workflows/{run_id}"
        return Links(self=f"/v1/assistants/{run_id}", temporal_ui=ui)


def house_at_rest(request: Request) -> House:
    """The process's own things, whether Temporal is there or not."""
    kept: House = request.app.state.house
    return kept


async def house(kept: Annotated[House, Depends(house_at_rest)]) -> House:
    """The process's own things, connected to Temporal."""
    await kept.connect()
    return kept


def my_runs(kept: Annotated[House, Depends(house)]) -> Runs:
    """The caller's runs."""
    return Runs(kept.client, owner=LOCAL_OWNER)


def idempotency_key(
    value: Annotated[
        str | None,
        Header(alias="Idempotency-Key", description="any text of 1 to 200 visible ASCII characters, new per request"),
    ] = None,
) -> str | None:
    """The caller's key, checked."""
    if value is not None and not (0 < len(value) <= 200 and all(33 <= ord(char) <= 126 for char in value)):
        raise CallerError("Idempotency-Key must be 1 to 200 visible ASCII characters", hint="a UUID is a good key")
    return value


HouseAtRest = Annotated[House, Depends(house_at_rest)]
TheHouse = Annotated[House, Depends(house)]
MyRuns = Annotated[Runs, Depends(my_runs)]
Key = Annotated[str | None, Depends(idempotency_key)]
