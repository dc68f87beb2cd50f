"""What was accepted of a server's tools, so that none changes its words, or its name, behind the operator's back."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from activities.mcp.models import PinnedTool
from activities.mcp.naming import name_all
from retinue.store import Store

_MOST = 1000
"""Tools that are remembered of one server. One that invents new ones all the time does not fill the disk."""
_log = logging.getLogger("retinue.mcp")


@dataclass(frozen=True)
class Said:
    """What a server says of one tool now: the hash of all of it, and the words that people read."""

    fingerprint: str
    words: str


class Pins:
    """The memory of one server's tools in the capability's own database."""

    def __init__(self, store: Store, server: str, *, prefix: str = "") -> None:
        self._store = store
        self._server = server
        self._prefix = prefix

    async def look(self, said: Mapping[str, Said]) -> dict[str, PinnedTool]:
        """Compare what the server says with what was accepted. A tool that is seen for the first time is accepted.

        Args:
            said: By the server's own names of its tools.

        Returns:
            The tools that are remembered, by the server's own names; those that are not listed any more among them.
        """
        async with self._store.read() as session:
            known = await self._all(session)
        if all(tool in known and known[tool].seen == now.fingerprint for tool, now in said.items()):
            return known
        async with self._store.write() as session:
            known = await self._all(session)
            for pin in self._changes(known, said):
                session.add(pin)
                known[pin.tool] = pin
        return known

    def _changes(self, known: Mapping[str, PinnedTool], said: Mapping[str, Said]) -> list[PinnedTool]:
        new = [tool for tool in said if tool not in known]
        if len(known) + len(new) > _MOST:
            _log.warning(
                "more than %d tools were seen; new ones are left out", _MOST, extra={"capability": self._server}
            )
            new = new[: max(0, _MOST - len(known))]
        named = name_all(self._server, new, {tool: pin.name for tool, pin in known.items()}, prefix=self._prefix)
        added = [self._pin(tool, named[tool], said[tool]) for tool in new]
        changed = [pin for tool, pin in known.items() if tool in said and pin.seen != said[tool].fingerprint]
        for pin in changed:
            pin.seen, pin.seen_words = said[pin.tool].fingerprint, said[pin.tool].words
        return added + changed

    def _pin(self, tool: str, name: str, said: Said) -> PinnedTool:
        return PinnedTool(
            server=self._server,
            tool=tool,
            name=name,
            accepted=said.fingerprint,
            accepted_words=said.words,
            seen=said.fingerprint,
            seen_words=said.words,
            since=datetime.now(UTC),
        )

    async def changed(self) -> list[PinnedTool]:
        """Return the tools of which the server says something else than what was accepted."""
        async with self._store.read() as session:
            return [pin for pin in (await self._all(session)).values() if pin.changed]

    async def accept(self, tools: Collection[str]) -> Sequence[PinnedTool]:
        """Accept what the server says of these tools by now, named as it or as we name them; the ones accepted."""
        async with self._store.write() as session:
            pins = [
                pin
                for pin in (await self._all(session)).values()
                if pin.changed and (pin.tool in tools or pin.name in tools)
            ]
            for pin in pins:
                pin.accepted, pin.accepted_words = pin.seen, pin.seen_words
                session.add(pin)
        return pins

    async def _all(self, session: AsyncSession) -> dict[str, PinnedTool]:
        ours = select(PinnedTool).where(col(PinnedTool.server) == self._server)
        return {pin.tool: pin for pin in await session.exec(ours)}
