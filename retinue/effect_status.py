"""The status of an effect whose step was stopped: the query that a workflow sends to a capability's ledger.

It is a separate, light module, since workflow workers load no database.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Protocol

from pydantic import BaseModel, JsonValue

CLOSE_EFFECT = "ledger.close"
"""The activity that every capability with a ledger serves on its own queue, beside its tools."""


_REPEAT = re.compile(r"~\d+\Z")


def repeat_key(step_id: str, number: int) -> str:
    """Return the key of an approved repeat of a step, since the ledger refuses the first key."""
    return f"{step_id}~{number}"


def first_key(key: str) -> str:
    """Return the key of the effect that `key` repeats, or `key` itself."""
    return _REPEAT.sub("", key)


class Outcome(StrEnum):
    """The outcome of an effect."""

    NOTHING = "nothing"
    DONE = "done"
    OPEN = "open"


class EffectId(BaseModel):
    """An effect of the calling workflow, by the id of its activity."""

    activity_id: str


class EffectStatus(BaseModel):
    """An effect's status: nothing happened and nothing will; done, with this result; or an attempt never reported."""

    outcome: Outcome
    result: JsonValue = None


class EffectLedger(Protocol):
    """The ledger of one capability."""

    async def close(self, activity_id: str) -> EffectStatus:
        """Return the status of an effect of the calling workflow, and prevent one that has not begun."""
        ...
