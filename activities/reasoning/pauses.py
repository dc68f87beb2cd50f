"""Pauses that endpoints ask for, shared by all workers, up to a configured maximum.

A worker that must wait records the pause, and no worker asks that model before its end. Waiting callers get staggered times,
so that they do not cause the next pause together. If the database does not answer, each worker honours its own pauses.
"""

from __future__ import annotations

import logging
import time
from datetime import UTC, datetime, timedelta

from sqlalchemy.exc import IntegrityError
from sqlmodel import col, delete, select

from activities.reasoning.contract import ModelPause
from activities.reasoning.models import Pause
from activities.reasoning.store import OnDemand
from retinue.errors import LONGEST_WAIT, ServiceUnavailable
from retinue.settings import RetinueSettings

GAP = 0.25
"""Seconds between two that come back."""
SPREAD = 15.0
"""Seconds over which they come back at most; more of them come closer to each other."""
_WITHOUT_STORE = 30.0
_log = logging.getLogger("retinue.reasoning")


class Pauses:
    """The pauses of all models. A model is named by its identity, which is the same for all workers."""

    def __init__(self, store: OnDemand | None = None, *, longest: float | None = None) -> None:
        """Keep the store.

        Args:
            store: Shared by all workers; without one each process keeps its own.
            longest: Seconds for which a model is left alone at most, whatever its endpoint asks for; by default as
                `RETINUE_LONGEST_PAUSE` says.
        """
        self._store = store
        self._longest = timedelta(seconds=longest or RetinueSettings().longest_pause)
        self._own: dict[str, datetime] = {}
        self._store_away_until = 0.0

    async def rest(self, model: str) -> float:
        """Seconds after which the caller may ask the model; 0 if it may do so now."""
        now = datetime.now(UTC)
        if store := self._usable():
            try:
                async with store.read() as session:
                    found = await session.get(Pause, model)
                if found is None or found.until <= now:
                    return 0.0
                return await self._place(store, model, found.until, now, asked=None)
            except ServiceUnavailable as error:
                self._without_store(error)
        return max(0.0, (self._own.get(model, now) - now).total_seconds())

    async def begin(self, model: str, seconds: float) -> float:
        """Record that a model asked for a pause.

        Returns:
            Seconds after which the caller, who was told so, may ask again: after the pause, and after those who were
            told before.
        """
        now = datetime.now(UTC)
        kept = min(seconds, self._longest.total_seconds())
        until = now + timedelta(seconds=kept)
        self._own[model] = until
        if not (store := self._usable()):
            return kept
        try:
            return max(kept, await self._place(store, model, until, now, asked=seconds))
        except ServiceUnavailable as error:
            self._without_store(error)
            return kept

    async def known(self) -> list[ModelPause]:
        """List the models that are left alone now.

        Raises:
            ServiceUnavailable: The database does not answer.
        """
        now = datetime.now(UTC)
        if self._store is None:
            return [ModelPause(model=model, until=until) for model, until in self._own.items() if until > now]
        async with self._store.read() as session:
            found = (await session.exec(select(Pause).where(col(Pause.until) > now).order_by(Pause.model))).all()
        return [
            ModelPause(
                model=one.model,
                until=min(one.until, now + self._longest),
                since=one.since,
                asked_seconds=one.asked_seconds,
            )
            for one in found
        ]

    async def end(self) -> None:
        """End all pauses: every model may be asked at once.

        Raises:
            ServiceUnavailable: The database does not answer.
        """
        self._own.clear()
        if self._store is not None:
            async with self._store.write() as session:
                await session.exec(delete(Pause))

    async def _place(
        self, store: OnDemand, model: str, until: datetime, now: datetime, *, asked: float | None
    ) -> float:
        """Lengthen the pause if need be, and take the next place among those who come back after it.

        One that is longer than is agreed to now is shortened: the setting, or the clock, was another one.
        """
        try:
            async with store.write() as session:
                found = await session.get(Pause, model, with_for_update=True)
                if found is None:
                    found = Pause(model=model, until=until, waiting=0, since=None, asked_seconds=None)
                if found.until <= now:
                    found.waiting = 0
                found.until = min(max(found.until, until), now + self._longest)
                if asked is not None:
                    found.since, found.asked_seconds = now, asked
                place, ends = found.waiting, found.until
                found.waiting += 1
                session.add(found)
        except IntegrityError:  # another worker was the first to record one
            return await self._place(store, model, until, now, asked=asked)
        return _back_after((ends - now).total_seconds(), place)

    def _usable(self) -> OnDemand | None:
        return self._store if time.monotonic() >= self._store_away_until else None

    def _without_store(self, error: ServiceUnavailable) -> None:
        self._store_away_until = time.monotonic() + _WITHOUT_STORE
        _log.warning("pauses are not shared for now: %s", error.message)


def _back_after(rest: float, place: int) -> float:
    """Pauses that are waited for at all stay so: a place far behind does not turn a wait into a failure."""
    after = rest + place * GAP % SPREAD
    return min(after, LONGEST_WAIT) if rest <= LONGEST_WAIT else after
