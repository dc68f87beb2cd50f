"""What the attempts of one activity use, so that nothing is lost when one fails, and nothing is counted twice.

An attempt counts each request when it is sent, and again exactly when the answer is there. What was used so far travels in the
heartbeats, where the next attempt finds it, and in the failure, where the workflow finds it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from pydantic import ValidationError
from temporalio import activity

from activities.reasoning.contract import UsedSoFar
from retinue.activity_adapter import tell_progress
from retinue.conversation import ModelUse, Phase, Usage
from retinue.errors import RetinueError


class Meter:
    """What is used by one attempt, and by those before it.

    Args:
        before: By the attempts before it.
        phase: For what the models are asked.
    """

    def __init__(self, before: Usage | None = None, phase: Phase | None = None) -> None:
        self.before = before or Usage()
        self.phase = phase
        self._uses: dict[str, ModelUse] = {}
        self._sent: dict[str, ModelUse] = {}
        if before:
            self._carry(at_once=False)  # a heartbeat without details would wipe it

    def sends(self, label: str, use: ModelUse) -> None:
        """Count a request that is sent with what it uses at least; the next heartbeat carries it."""
        self._sent = {label: use}
        self._carry(at_once=False)

    def add(self, label: str, use: ModelUse) -> None:
        """Count what the request used that was sent last."""
        self._sent = {}
        self._uses[label] = self._uses.get(label, ModelUse()) + use

    def total(self) -> Usage:
        """Return what all attempts used so far."""
        return self.before + Usage.of(self._uses, phase=self.phase) + Usage.of(self._sent, phase=self.phase)

    def fails(self) -> None:
        """Send a heartbeat with the total: another attempt may follow."""
        self._carry(at_once=True)

    def _carry(self, *, at_once: bool) -> None:
        if activity.in_activity():
            tell_progress(UsedSoFar(used_so_far=self.total()), at_once=at_once)


_METER: ContextVar[Meter | None] = ContextVar("meter", default=None)


@contextmanager
def metered(phase: Phase | None = None) -> Iterator[Meter]:
    """Count what is used inside for a phase; an error carries it in its details."""
    meter = Meter(_used_before(), phase)
    token = _METER.set(meter)
    try:
        yield meter
    except RetinueError as error:
        error.details = (UsedSoFar(used_so_far=meter.total()),)
        meter.fails()
        raise
    except asyncio.CancelledError:
        meter.fails()
        raise
    finally:
        _METER.reset(token)


def current_meter() -> Meter:
    """Return the meter of the running attempt; an unused one outside of `metered`."""
    return _METER.get() or Meter()


def _used_before() -> Usage | None:
    if not activity.in_activity():
        return None
    for detail in activity.info().heartbeat_details:
        try:
            return UsedSoFar.model_validate(detail).used_so_far
        except ValidationError:  # another kind of progress
            continue
    return None
