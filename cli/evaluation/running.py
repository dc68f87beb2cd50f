"""Runs cases on a private stack: one stack for all, one organisation for each attempt."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

from cli.connection import client_of
from cli.evaluation import world
from cli.evaluation.cases import Case
from cli.evaluation.dates import Clock
from cli.evaluation.judge import Outcome, judge
from cli.evaluation.outside import PERSON, Outside, serving
from cli.evaluation.person import Person, Seen
from cli.evaluation.report import Attempt, CaseResult, FindingKept
from cli.evaluation.stores import effects, look
from cli.private_stack import PrivateStack, private_stack
from retinue.client import Client, ClientError
from retinue.settings import ROOT

_ANSWER = 60.0
_LONGEST_REPLY = 400
_LONGEST_FINDING = 600
Told = Callable[[Case, int, Attempt], None]


@dataclass(frozen=True)
class Wish:
    """What is to be run.

    Attributes:
        cases: In order.
        now: The moment from which days count; the stack's clock begins there.
        repeat: Attempts at each case.
        jobs: How many at the same time.
        limit: Seconds for one attempt.
        variables: Of the stack: the model.
        keep: Keep the data folder.
    """

    cases: Sequence[Case]
    now: datetime
    repeat: int
    jobs: int
    limit: float
    variables: Mapping[str, str]
    keep: bool = False


def run(wish: Wish, told: Told) -> list[CaseResult]:
    """Run all attempts; `told` hears of each when it is over.

    Raises:
        CommandError: The stack did not start.
    """
    outside = Outside(wish.cases, Clock(wish.now, "UTC"))
    with serving(outside), _stack(wish, outside) as stack:
        stack.await_ready()
        with _seeder(stack) as seeder, ThreadPoolExecutor(wish.jobs) as pool:
            bench = _Bench(stack, outside, seeder, wish)
            attempts = [
                pool.submit(bench.attempt, case, number, told)
                for number in range(1, wish.repeat + 1)
                for case in wish.cases
            ]
            try:
                done = [attempt.result() for attempt in attempts]
            except BaseException:
                bench.stopping.set()
                pool.shutdown(cancel_futures=True)
                raise
    count = len(wish.cases)
    return [
        CaseResult(
            id=case.id,
            area=case.area,
            messages=[case.request, *case.then],
            hostile=case.hostile,
            attempts=done[position::count],
        )
        for position, case in enumerate(wish.cases)
    ]


def _stack(wish: Wish, outside: Outside) -> AbstractContextManager[PrivateStack]:
    offset = (wish.now - datetime.now(UTC)).total_seconds()
    variables = {**outside.variables(), **wish.variables, "RETINUE_CLOCK_OFFSET": f"{offset:.0f}"}
    return private_stack(keep=wish.keep, prefix="retinue-eval-", **variables)


class _NoWorld(Exception):
    """A world could not be made."""


class _Seeder:
    """The process that makes worlds; one at a time."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._turn = threading.Lock()

    def make(self, organisation: str, calls: Sequence[world.Call], mails: Sequence[bytes]) -> None:
        """Make a world.

        Raises:
            _NoWorld: A tool refused or does not exist, or the process ended.
        """
        if not calls and not mails:
            return
        wish = {
            "organisation": organisation,
            "person": PERSON,
            "calls": [(call.tool, call.args) for call in calls],
            "mails": [base64.b64encode(mail).decode() for mail in mails],
        }
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with self._turn:
            with contextlib.suppress(BrokenPipeError):
                print(json.dumps(wish), file=self._process.stdin, flush=True)
            answer = self._process.stdout.readline()
        problem = json.loads(answer).get("error") if answer.strip() else "the process that makes worlds has ended"
        if problem:
            raise _NoWorld(f"its world could not be made: {problem}")


@contextmanager
def _seeder(stack: PrivateStack) -> Iterator[_Seeder]:
    address = f"127.0.0.1:{stack.environment['RETINUE_TEMPORAL_PORT']}"
    log = stack.data / "logs" / "evaluation.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "cli.evaluation.seeding"],
            cwd=ROOT,
            env={**stack.environment, "TEMPORAL_ADDRESS": address},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=output,
            text=True,
        )
        try:
            yield _Seeder(process)
        finally:
            process.kill()
            process.communicate()


@dataclass(frozen=True)
class _Bench:
    stack: PrivateStack
    outside: Outside
    seeder: _Seeder
    wish: Wish
    stopping: threading.Event = field(default_factory=threading.Event)

    def attempt(self, case: Case, number: int, told: Told) -> Attempt:
        """Make the case's world, let its person ask, and judge what came of it."""
        clock = Clock(self.wish.now, case.timezone)
        try:
            seen = self._seen(case, f"{case.id}-{number}", clock)
        except _NoWorld as error:
            seen = Seen(Outcome(error=str(error)))
        kept = _kept(case, clock, seen)
        told(case, number, kept)
        return kept

    def _seen(self, case: Case, organisation: str, clock: Clock) -> Seen:
        web = self.outside.web(organisation)
        self.seeder.make(organisation, world.calls(case, clock, web), world.mails(case, clock, web))
        with client_of(self.stack.url, api_key=self.outside.token(organisation), timeout=_ANSWER) as client:
            _remember(client, case)
            before = look(self.stack.data, organisation)
            seen = Person(client, case, clock, web, limit=self.wish.limit, stopping=self.stopping).carry_out()
        seen.outcome.effects = effects(before, look(self.stack.data, organisation))
        seen.outcome.fetched = self.outside.fetched(organisation)
        return seen


def _remember(client: Client, case: Case) -> None:
    """Enter what the memory holds, as a person does.

    Raises:
        _NoWorld: It was refused.
    """
    try:
        for fact in case.world.facts:
            client.memory.remember(fact.text, kind=fact.kind)
    except ClientError as error:
        raise _NoWorld(f"its world could not be made: {error}") from None


def _kept(case: Case, clock: Clock, seen: Seen) -> Attempt:
    outcome: Outcome = seen.outcome
    return Attempt(
        findings=[
            FindingKept(flaw=finding.flaw, says=finding.says[:_LONGEST_FINDING])
            for finding in judge(case, clock, outcome)
        ],
        status=outcome.status,
        reply=outcome.reply[:_LONGEST_REPLY],
        tools=seen.tools,
        approvals=len(outcome.asked),
        questions=len(outcome.questions),
        requests=seen.usage.requests,
        tokens=seen.usage.input_tokens + seen.usage.output_tokens,
        phases={name: use.input_tokens + use.output_tokens for name, use in seen.usage.phases.items()},
        cost=round(seen.usage.cost, 6),
        seconds=round(seen.seconds, 2),
    )


def model_variables(model: str | None, base_url: str | None) -> dict[str, str]:
    """Return the variables of the chosen model; without one the stack starts the offline model.

    Key, prices and the other `REASONING_*` and `RETINUE_MODEL*` variables come from this environment.
    """
    if model is None and base_url is None:
        return {}
    names = ("OPENAI_", "REASONING_", "RETINUE_MODEL")
    kept = {name: value for name, value in os.environ.items() if name.startswith(names) and value}
    kept.pop("REASONING_DATABASE_URL", None)
    chosen = {"RETINUE_MODEL": model, "OPENAI_BASE_URL": base_url}
    return {"OPENAI_API_KEY": "none", **kept, **{name: value for name, value in chosen.items() if value}}
