"""What is remembered of one agent: the card that was accepted, and the tasks that it began for each run."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from activities.a2a.models import KnownTask, PinnedCard
from retinue.errors import NotFound
from retinue.store import Store


@dataclass(frozen=True)
class Said:
    """What a card says now: the hash of all of it, and the words that people read."""

    fingerprint: str
    words: str


class Pins:
    """The memory of one agent's card, so that it does not change its words behind the operator's back."""

    def __init__(self, store: Store, agent: str) -> None:
        self._store = store
        self._agent = agent

    async def look(self, said: Said) -> PinnedCard:
        """Compare what the card says with what was accepted. A card that is seen for the first time is accepted."""
        async with self._store.write() as session:
            pin = await session.get(PinnedCard, self._agent)
            if pin is None:
                pin = PinnedCard(
                    agent=self._agent,
                    accepted=said.fingerprint,
                    accepted_words=said.words,
                    seen=said.fingerprint,
                    seen_words=said.words,
                    since=datetime.now(UTC),
                )
            pin.seen, pin.seen_words = said.fingerprint, said.words
            session.add(pin)
        return pin

    async def pinned(self) -> PinnedCard | None:
        """What was accepted, if the agent was ever seen."""
        async with self._store.read() as session:
            return await session.get(PinnedCard, self._agent)

    async def accept(self) -> bool:
        """Accept what the card says by now; whether that was anything new."""
        async with self._store.write() as session:
            pin = await session.get(PinnedCard, self._agent)
            if pin is None or not pin.changed:
                return False
            pin.accepted, pin.accepted_words = pin.seen, pin.seen_words
            session.add(pin)
        return True


class Tasks:
    """Which tasks the agent began for which run.

    A task is only ever named to the agent by the run for which it began: nobody reads another's by guessing its id, and
    no id that a model or a stranger made up carries anything out of the house.
    """

    def __init__(self, store: Store, agent: str) -> None:
        self._store = store
        self._agent = agent

    async def remember(self, workflow_id: str, task_id: str, context_id: str, *, over: bool) -> None:
        """Record a task and its state."""
        async with self._store.write() as session:
            known = await session.get(KnownTask, (self._agent, task_id, workflow_id))
            if known is None:
                known = KnownTask(
                    agent=self._agent,
                    task_id=task_id,
                    workflow_id=workflow_id,
                    context_id=context_id,
                    over=over,
                    since=datetime.now(UTC),
                )
            known.over = over
            session.add(known)

    async def known(self, workflow_id: str, task_id: str) -> KnownTask:
        """Return a task of that run.

        Raises:
            NotFound: It has none of that id.
        """
        async with self._store.read() as session:
            found = await session.get(KnownTask, (self._agent, task_id, workflow_id))
        if found is None:
            raise NotFound(f"{self._agent} has no such task in this conversation")
        return found
