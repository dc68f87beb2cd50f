"""What became of an effect whose step was stopped: the one question to a ledger that a workflow asks.

A light module of its own, since workflow workers load no database.
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
    """Return the key under which a step is done again, after a person said so: the ledger would refuse the first key."""
    return f"{step_id}~{number}"


def first_key(key: str) -> str:
    """Return the key of the effect that `key` repeats; `key` itself where it repeats none."""
    return _REPEAT.sub("", key)


class Outcome(StrEnum):
    """What a ledger can say."""

    NOTHING = "nothing"
    DONE = "done"
    OPEN = "open"


class EffectId(BaseModel):
    """Names an effect of the asking workflow by the id of the activity that was to make it."""

    activity_id: str


class EffectStatus(BaseModel):
    """The answer: nothing happened and nothing will; it was done, with this result; or an attempt has never reported."""

    outcome: Outcome
    result: JsonValue = None


class EffectLedger(Protocol):
    """What answers: the ledger of one capability."""

    async def close(self, activity_id: str) -> EffectStatus:
        """Say what became of an effect of the asking workflow; what has not begun can never begin from now on."""
        ...
