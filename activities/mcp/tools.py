"""The tools of one MCP server: which there are, and calls of them.

A call that may change something goes through the ledger: it is recorded right before it is sent, and where no answer
comes nobody repeats it, since no look can tell whether it happened; a person is asked.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from pydantic import BaseModel, JsonValue

from activities.mcp.config import Server
from activities.mcp.connection import Connection, Failed, SessionLost
from activities.mcp.offers import Offer, fingerprint, manifest, offers, settle, words
from activities.mcp.results import Outcome, outcome
from activities.mcp.store import Pins, Said
from retinue.capability import Manifest
from retinue.errors import (
    InvalidArguments,
    NotAllowed,
    NotFound,
    OutcomeUnknown,
    ServiceBusy,
    ServiceRefused,
    ServiceUnavailable,
)
from retinue.ledger import Commit, Ledger, effect_key
from retinue.operator_config import Redaction
from retinue.plan import check_args

_MOST_LOST = 1000
_log = logging.getLogger("retinue.mcp")


class Call(BaseModel):
    """What the ledger knows a call by."""

    tool: str
    arguments: dict[str, JsonValue]


class McpTools:
    """The tools of one server, over one connection."""

    def __init__(
        self, name: str, server: Server, connection: Connection, pins: Pins, ledger: Ledger, redaction: Redaction
    ) -> None:
        self._name = name
        self._server = server
        self._connection = connection
        self._pins = pins
        self.ledger: Ledger = ledger
        self._redaction = redaction
        self._looking = asyncio.Lock()
        self._offers: dict[str, Offer] = {}
        self._withheld: frozenset[str] = frozenset()
        self._left_out: dict[str, str] = {}
        self._lost: dict[str, None] = {}
        """Keys of effects whose attempt ended here without an answer, oldest first."""

    async def look(self) -> Manifest | None:
        """Ask the server for its tools; what is to be announced, or None where there is no tool.

        A tool of which it says something else than before is withheld until the operator accepts it.

        Raises:
            ServiceUnavailable: The server or the own store does not answer.
        """
        async with self._looking:
            session = await self._connection.session()
            listed = [tool for tool in await session.tools() if self._server.rules(tool.name) is not None]
            pins = await self._pins.look(
                {tool.name: Said(fingerprint(tool), words(tool, self._redaction)) for tool in listed}
            )
            ours = {pins[tool.name].name: tool for tool in listed if tool.name in pins}
            withheld = frozenset(name for name, tool in ours.items() if pins[tool.name].changed)
            self._tell(withheld - self._withheld)
            accepted = {name: tool for name, tool in ours.items() if name not in withheld}
            left_out = {self._redaction.text(name): why for name, why in session.left_out.items()}
            left_out |= dict.fromkeys(
                (tool.name for tool in listed if tool.name not in pins), "more tools were seen than are remembered"
            )
            left_out |= dict.fromkeys(sorted(withheld), "it says something else than before, and waits to be accepted")
            offered = offers(self._name, self._server, accepted, self._redaction, left_out)
            found = {offer.spec.name: offer for offer in offered}
            self._offers, self._withheld = found, withheld
            self._tell_of(left_out)
            return manifest(
                self._name, self._server, session.version, [offer.spec for offer in found.values()], left_out
            )

    def _tell_of(self, left_out: dict[str, str]) -> None:
        if left_out != self._left_out:
            for name, why in left_out.items():
                _log.warning("%s is left out: %s", name, why, extra={"capability": self._name})
            self._left_out = left_out

    def _tell(self, withheld: frozenset[str]) -> None:
        for name in sorted(withheld):
            _log.warning(
                "the server says something else about %s than before; it is withheld until you accept it: "
                "python -P -m workers accept %s",
                name,
                self._name,
                extra={"capability": self._name},
            )

    async def call(self, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """Call the tool of that full name.

        Raises:
            NotFound: The server does not offer it any more.
            NotAllowed: What the server says about it changed and was not accepted.
            InvalidArguments: They do not fit.
            ServiceUnavailable: The server cannot be reached; nothing happened, or nothing that changes anything.
            ServiceBusy: It asks for a pause.
            ServiceRefused: It does not want this call, or failed.
            OutcomeUnknown: It may have happened.
        """
        offer = await self._offer(name)
        if places := sorted({problem.partition(":")[0] for problem in check_args(arguments, offer.spec.args_schema)}):
            raise InvalidArguments(f"these arguments of {name} do not fit its schema: {', '.join(places)[:300]}")
        done = await (self._ask(offer, arguments) if offer.spec.annotations.read_only else self._do(offer, arguments))
        if done.failure and done.acted and not offer.spec.annotations.read_only:
            raise OutcomeUnknown(done.failure)  # as a failure it would be planned again, and done twice
        if done.failure:
            raise ServiceRefused(done.failure)
        return done.result

    async def _offer(self, name: str) -> Offer:
        if name not in self._offers:
            await self.look()
        if name in self._withheld:
            raise NotAllowed(
                f"the MCP server {self._name} says something else about {name} than what was accepted",
                hint=f"python -P -m workers accept {self._name}",
            )
        if name not in self._offers:
            raise NotFound(f"the MCP server {self._name} does not offer {name}")
        return self._offers[name]

    async def _do(self, offer: Offer, arguments: dict[str, Any]) -> Outcome:
        key = effect_key()
        dark = OutcomeUnknown(
            f"the MCP server {self._name} gave no answer to {offer.spec.name}; nobody knows whether it was done"
        )

        async def act(commit: Commit) -> Outcome:
            await self._connection.session()  # before it counts as begun: most of what can fail is behind us then
            await commit()
            try:
                return await self._ask(offer, arguments, changes=True)
            except OutcomeUnknown:
                self._lost[key] = None
                raise

        async def verify() -> Outcome | None:
            if offer.spec.annotations.idempotent:
                return None
            raise dark

        call = Call(tool=offer.tool, arguments=arguments)
        patience = settle(self._server.timeout_seconds)
        try:
            return await self.ledger.once_outside(call, Outcome, act=act, verify=verify, settle=patience)
        except ServiceBusy:
            if key not in self._lost or offer.spec.annotations.idempotent:
                raise
            raise dark from None  # only our own attempt could still have reported, and it has ended
        finally:
            while len(self._lost) > _MOST_LOST:
                del self._lost[next(iter(self._lost))]

    async def _ask(self, offer: Offer, arguments: dict[str, Any], *, changes: bool = False) -> Outcome:
        """Call it; where the server has forgotten our session, once more in a new one."""
        for _ in range(2):
            session = await self._connection.session()
            try:
                answer = await session.call(offer.tool, arguments, changes=changes)
            except SessionLost:
                continue
            except Failed as error:
                return Outcome(failure=error.message)
            schema = offer.spec.result_schema if offer.structured else None
            return outcome(answer, tool=offer.spec.name, schema=schema, redaction=self._redaction)
        raise ServiceUnavailable(f"the MCP server {self._name} forgets our sessions")
