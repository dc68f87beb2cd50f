"""A client of Temporal that puts what it likes where the proof stands."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from temporalio import client
from temporalio.api.common.v1 import Payload
from temporalio.client import Client

from retinue.temporal.keyring import parse_keys
from retinue.temporal.proofs import HEADER, Message, proved

GARBAGE = Payload(metadata={"encoding": b"json/plain"}, data=b'{"key": "a", "expires": 1e99, "mac": null, "x": []}')


class Forger(client.Interceptor, client.OutboundInterceptor):
    """Sends one header with everything."""

    def __init__(self, header: Payload) -> None:
        self._header = header

    def intercept_client(self, next: client.OutboundInterceptor) -> client.OutboundInterceptor:
        client.OutboundInterceptor.__init__(self, next)
        return self

    async def start_workflow_update(self, input: Any) -> Any:
        input.headers = {HEADER: self._header}
        return await super().start_workflow_update(input)

    async def start_workflow(self, input: Any) -> Any:
        input.headers = {HEADER: self._header}
        return await super().start_workflow(input)


def forging(stranger: Client, header: Payload) -> Client:
    """The stranger's client, with this header."""
    return Client(**stranger.config() | {"interceptors": [Forger(header)]})


def proof(
    key: str,
    *args: Any,
    run: str,
    name: str = "decide",
    update_id: str = "",
    namespace: str = "default",
    minutes: float | None = 1,
) -> Payload:
    """A proof as the front door would make it with this key."""
    expires = None if minutes is None else datetime.now(UTC) + timedelta(minutes=minutes)
    return proved(Message(namespace, run, name, update_id, args), parse_keys(key, kind="decision"), expires=expires)
