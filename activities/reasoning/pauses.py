"""Pauses that endpoints ask for, kept by all workers together.

Whoever is told to wait records it, and nobody asks that model again before the pause is over. Those who had to wait are
told to come back one after the other, so that the first second after a pause does not bring the next one.

All of this is a courtesy: where the database does not answer, each worker honours what it was told itself.
"""

from __future__ import annotations

import logging
import time
from datetime import UTC, datetime, timedelta

from sqlalchemy.exc import IntegrityError

from activities.reasoning.models import Pause
from activities.reasoning.store import OnDemand
from retinue.errors import LONGEST_WAIT, ServiceUnavailable

GAP = 0.25
"""Seconds between two that come back."""
SPREAD = 15.0
"""Seconds over which they come back at most; more of them come closer to each other."""
_LONGEST = timedelta(days=1)
_WITHOUT_STORE = 30.0
_log = logging.getLogger("retinue.reasoning")


class Pauses:
    """The pauses of all models. A model is named by its identity, which is the same for all workers."""

    def __init__(self, store: OnDemand | None = None) -> None:
        self._store = store
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
                return await self._place(store, model, found.until, now)
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
        until = now + min(timedelta(seconds=min(seconds, 1e6)), _LONGEST)
        self._own[model] = until
        if not (store := self._usable()):
            return seconds
        try:
            return max(seconds, await self._place(store, model, until, now))
        except ServiceUnavailable as error:
            self._without_store(error)
            return seconds

    async def _place(self, store: OnDemand, model: str, until: datetime, now: datetime) -> float:
        """Lengthen the pause if need be, and take the next place among those who come back after it."""
        try:
            async with store.write() as session:
                found = await session.get(Pause, model, with_for_update=True)
                if found is None:
                    found = Pause(model=model, until=until, waiting=0)
                if found.until <= now:
                    found.waiting = 0
                found.until = max(found.until, until)
                place, ends = found.waiting, found.until
                found.waiting += 1
                session.add(found)
        except IntegrityError:  # another worker was the first to record one
            return await self._place(store, model, until, now)
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
