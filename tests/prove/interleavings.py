"""All interleavings of a few actors over real code: an explicit-state checker without states.

Actors are coroutines that stop at gates. One runs at a time, until its next gate or its end; then the next one is chosen. A
scenario is run again for every sequence of choices, first those that differ late. What a killed actor would not do any
more, one that is never chosen again does not do either; so killed and frozen processes are covered.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any


class Violation(AssertionError):
    """An invariant that does not hold, with the sequence of choices that shows it."""


@dataclass
class _Actor:
    name: str
    goes_on: asyncio.Event = field(default_factory=asyncio.Event)
    gate: str = ""


_running: ContextVar[tuple[Schedule, _Actor] | None] = ContextVar("_running", default=None)


async def gate(name: str) -> None:
    """Wait at this point until it is the running actor's turn. Outside an exploration it does nothing."""
    if (running := _running.get()) is not None:
        schedule, actor = running
        await schedule._stop_at(actor, name)


class Schedule:
    """One run of a scenario: which actor comes next each time, first as given, then always the first one."""

    def __init__(self, choices: list[int]) -> None:
        self._given = choices
        self.choices: list[int] = []
        self.options: list[int] = []
        self.trace: list[str] = []
        self._waiting: list[_Actor] = []
        self._quiet = asyncio.Event()

    async def run(self, actors: dict[str, Callable[[], Coroutine[Any, Any, Any]]]) -> dict[str, Any]:
        """Run the actors to their ends. Returns each one's result, or the exception that ended it."""
        tasks = {}
        for name, body in actors.items():  # what comes before the first gate concerns nobody else
            self._quiet.clear()
            tasks[name] = asyncio.create_task(self._live(_Actor(name), body))
            await self._quiet.wait()
        while self._waiting:
            self._waiting.sort(key=lambda actor: actor.name)
            chosen = self._waiting.pop(self._choose(len(self._waiting)))
            self.trace.append(f"{chosen.name}: {chosen.gate}")
            self._quiet.clear()
            chosen.goes_on.set()
            await self._quiet.wait()
        results = await asyncio.gather(*tasks.values(), return_exceptions=True)
        return dict(zip(tasks, results, strict=True))

    def _choose(self, count: int) -> int:
        depth = len(self.choices)
        choice = self._given[depth] if depth < len(self._given) else 0
        self.choices.append(choice)
        self.options.append(count)
        return choice

    async def _live(self, actor: _Actor, body: Callable[[], Awaitable[Any]]) -> Any:
        _running.set((self, actor))
        try:
            return await body()
        finally:
            self._quiet.set()

    async def _stop_at(self, actor: _Actor, name: str) -> None:
        actor.gate = name
        actor.goes_on.clear()
        self._waiting.append(actor)
        self._quiet.set()
        await actor.goes_on.wait()


async def explore(scenario: Callable[[Schedule], Awaitable[None]], *, most: int = 1_000_000) -> int:
    """Run a scenario under every sequence of choices. Returns how many there were.

    Args:
        scenario: Runs actors by the schedule that it is given, and asserts what must hold.
        most: More sequences than that are an error, so that nobody believes that all were tried.

    Raises:
        Violation: An assertion of the scenario failed.
    """
    choices: list[int] = []
    for number in range(1, most + 1):
        schedule = Schedule(choices)
        try:
            await scenario(schedule)
        except AssertionError as error:
            steps = "\n  ".join(schedule.trace)
            raise Violation(f"{error}\nafter, in this order (choices {schedule.choices}):\n  {steps}") from error
        following = _next(schedule)
        if following is None:
            return number
        choices = following
    raise ValueError(f"there are more than {most} sequences")


def _next(schedule: Schedule) -> list[int] | None:
    """Return the next sequence of choices; None after the last one."""
    choices, options = list(schedule.choices), schedule.options
    while choices and choices[-1] + 1 >= options[len(choices) - 1]:
        choices.pop()
    if not choices:
        return None
    choices[-1] += 1
    return choices
