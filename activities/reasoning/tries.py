"""How much one attempt of an activity may ask of models: requests and time.

A step makes at most `MAX_REQUESTS` requests, over all of Temporal's attempts. No attempt knows what the ones before it
really sent, since they may have run elsewhere; so each counts with the most that they may have sent:

    models in the list   first attempt   each later one   last attempt
    1                    1               1                4th
    2                    2               1                3rd
    3                    3               1                2nd
    4                    4               -                1st

An attempt that needs more than its share (JSON asked for in another form, calls that could not be read) may take it from
those after it, but then there are none.
"""

from __future__ import annotations

import time

from temporalio import activity

MAX_REQUESTS = 4
_SECONDS = 70.0
"""Of an attempt that is ended after 75."""
_KEPT_FOR_EACH_LATER = 12.0
_TOO_LITTLE = 2.0


class Tries:
    """What is left for one attempt.

    Args:
        models: How many models stand in the list.
        attempt: Temporal's count, from 1; by default that of the running activity.
    """

    def __init__(self, models: int, attempt: int | None = None) -> None:
        number = attempt or (activity.info().attempt if activity.in_activity() else 1)
        self._before = 0 if number == 1 else models + number - 2
        self._share = models if number == 1 else 1
        self._used = 0
        self._until = time.monotonic() + _SECONDS

    def count(self) -> None:
        """One request is made."""
        self._used += 1

    def may_ask_the_next(self) -> bool:
        """Whether another model of the list may be asked."""
        return self._used < self._share and self._until - time.monotonic() > _TOO_LITTLE

    def may_ask_again(self) -> bool:
        """Whether one more request may be made beside the share."""
        return self._before + self._used < MAX_REQUESTS

    def is_last(self) -> bool:
        """Whether no attempt may follow, so that what failed is final."""
        return self._used > self._share or (self._used > 0 and self._before + self._used >= MAX_REQUESTS)

    def seconds(self, *, later: int) -> float:
        """For one request, when so many models may still have to be asked after it."""
        return max(_TOO_LITTLE, self._until - time.monotonic() - later * _KEPT_FOR_EACH_LATER)
