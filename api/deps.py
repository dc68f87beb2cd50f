"""What endpoints ask for, by name."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Header, Request
from temporalio.client import Client

from api.keys import IdempotencyKeys
from api.models import Links
from api.runs import Runs
from api.settings import ApiSettings
from retinue.errors import CallerError, NotAllowed, ServiceUnavailable
from retinue.registry import Directory
from workflows.policy import Policy

_CONNECT = 5.0
_RESERVED = frozenset({"signal", "policy"})
"""Names by which the workflows say that nobody is known, or that nobody decided."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,99}")
LOCAL_OWNER = "local"
"""The one person of a single-user installation on loopback."""


@dataclass
class House:
    """What lives as long as the process."""

    client: Client
    keys: IdempotencyKeys
    directory: Directory
    settings: ApiSettings
    policies: Mapping[str, Policy]
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


def caller(request: Request, kept: Annotated[House, Depends(house_at_rest)]) -> str:
    """Who calls: whom the authenticating proxy names, or the one person of a single-user installation."""
    header = kept.settings.retinue_user_header
    if header is None:
        return LOCAL_OWNER
    name = request.headers.get(header, "")
    if not _NAME.fullmatch(name) or name in _RESERVED:
        raise NotAllowed(f"the header {header} names nobody", hint="an authenticating proxy must set it")
    return name


def my_runs(kept: Annotated[House, Depends(house)], name: Annotated[str, Depends(caller)]) -> Runs:
    """The caller's runs."""
    return Runs(kept.client, owner=name, policies=kept.policies, keys=kept.keys, turns_per_run=_turns(kept))


def _turns(kept: House) -> int:
    return kept.settings.retinue_chat_turns


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
Caller = Annotated[str, Depends(caller)]
MyRuns = Annotated[Runs, Depends(my_runs)]
Key = Annotated[str | None, Depends(idempotency_key)]
