"""Chaos: requests through the front door while processes, the server and connections fail, and what stands afterwards.

A stack as `make up` starts it runs behind a proxy on a Temporal server of its own. People ask for tasks and mails and
decide what they are asked, and try again like clients do. Meanwhile a seeded sequence of faults goes on. Then all is left
alone, every acknowledged run must end, and what the stores hold is compared with what was acknowledged and decided.
Logs are never read.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import signal
import sqlite3
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import httpx
import psutil

from tests.faults.conftest import Server
from tests.local_stack import LocalStack, environment
from tests.prove.proxy import Fault, Proxy

Kind = Literal["task", "mail", "refused mail"]
ENDED = frozenset({"completed", "failed", "cancelled"})
_AT_ONCE = 24
_PAUSE = 0.5
_TRY_AGAIN = (409, 429, 503)
"""409 says that the first request with this idempotency key is still in progress."""
_TRIES_FOR = 600.0
"""Seconds for which a person tries again."""
_DRAIN = 300.0
"""Seconds within which all runs end once the faults have stopped."""
_LOOK = 0.25
_READY_WITHIN = 300.0
_EARLIER = timedelta(seconds=2)
"""By how much a mail's date may precede the decision: it has full seconds."""
_KINDS: tuple[tuple[Kind, int], ...] = (("task", 5), ("mail", 4), ("refused mail", 1))


@dataclass
class Wish:
    """What one person asks for, and how it went."""

    number: int
    kind: Kind
    acknowledged: str | None = None
    """The id of the run."""
    decided_at: datetime | None = None
    asked_again: int = 0
    """How often a further decision was asked for, as after doubt whether an effect happened."""
    status: str = "never acknowledged"
    error: str = ""

    @property
    def mark(self) -> str:
        """What the effect of this wish, and no other, is called."""
        return f"mark {self.number:06d}"

    @property
    def message(self) -> str:
        """The request."""
        if self.kind == "task":
            return f"Add a task: {self.mark}"
        return f'Send a mail to p{self.number}@example.com with the subject "{self.mark}" saying hello'


@dataclass
class FaultDone:
    """One fault, when, and after how many seconds `/readyz` said that the stack was ready again."""

    at: float
    what: str
    recovered: float | None = None


@dataclass
class Result:
    """What was counted. `lost`, `doubled` and `unasked` hold the requests concerned, in words."""

    seed: int
    requested: int = 0
    seconds: float = 0.0
    acknowledged: int = 0
    outcomes: dict[str, int] = field(default_factory=dict)
    asked_again: int = 0
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    unasked: list[str] = field(default_factory=list)
    bad_answers: list[str] = field(default_factory=list)
    """Of the API: neither success nor "try again"."""
    faults: dict[str, int] = field(default_factory=dict)
    recovery: dict[str, float] = field(default_factory=dict)
    timeline: list[FaultDone] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        """Whether nothing was lost, doubled or done unasked, and each answer was an honest one."""
        return not (self.lost or self.doubled or self.unasked or self.bad_answers)


class Chaos:
    """One run of it.

    Args:
        folder: For the stack's data.
        seed: Of kinds and faults.
        runs: How many requests.
        fault_each: Mean seconds between two faults; 0 for none.
        longest: Seconds after which no more requests are made.
    """

    def __init__(self, folder: Path, *, seed: int, runs: int, fault_each: float, longest: float) -> None:
        self._folder = folder
        self._random = random.Random(seed)  # a repeatable sequence, no secret
        self._seed, self._runs, self._fault_each, self._longest = seed, runs, fault_each, longest
        names, weights = zip(*_KINDS, strict=True)
        self._wishes = [Wish(number, *self._random.choices(names, weights)) for number in range(runs)]
        self._asked: list[Wish] = []
        self._faults: list[FaultDone] = []
        self._server = Server(folder)
        self._server_lock = asyncio.Lock()
        self._stopped: set[int] = set()
        self._bad_answers: list[str] = []

    async def run(self) -> Result:
        """Do it all and return what was counted."""
        await asyncio.to_thread(self._server.start)
        try:
            async with Proxy(self._server.port) as self._proxy:
                return await self._with_stack()
        finally:
            self._server.kill()

    async def _with_stack(self) -> Result:
        variables = environment(self._folder, TEMPORAL_ADDRESS=f"127.0.0.1:{self._proxy.port}")
        self._stack = LocalStack(self._folder, variables)
        await asyncio.to_thread(self._stack.start)
        base = f"http://127.0.0.1:{variables['RETINUE_PORT']}"
        try:
            async with httpx.AsyncClient(base_url=base, timeout=40) as self._http:
                self._began = time.monotonic()
                watching, failing = asyncio.create_task(self._watch()), asyncio.create_task(self._fail())
                try:
                    going = await self._ask_for_everything()
                    await _ended(failing)
                    await self._end(going)
                finally:
                    await _ended(failing)
                    await _ended(watching)
                return self._count(time.monotonic() - self._began)
        finally:
            for pid in self._stopped:
                _signal(pid, signal.SIGCONT)
            await asyncio.to_thread(self._stack.stop)

    async def _ask_for_everything(self) -> set[asyncio.Task[None]]:
        """Ask, a few at a time, and return those that go on."""
        until = time.monotonic() + self._longest
        going: set[asyncio.Task[None]] = set()
        for wish in self._wishes:
            if time.monotonic() > until:
                break
            self._asked.append(wish)
            going.add(asyncio.create_task(self._live(wish)))
            if len(going) >= _AT_ONCE:
                done, going = await asyncio.wait(going, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
        return going

    async def _end(self, going: set[asyncio.Task[None]]) -> None:
        if going:
            done, late = await asyncio.wait(going, timeout=_DRAIN)
            for task in late:
                task.cancel()
            for task in done:
                task.result()

    async def _live(self, wish: Wish) -> None:
        """Ask for one thing, decide what is asked, and look until it has ended."""
        body = {"message": wish.message, "timezone": "Europe/Lisbon", "wait_seconds": 20}
        headers = {"Idempotency-Key": f"prove-{self._seed}-{wish.number}"}
        view = await self._persist(lambda: self._http.post("/v1/assistants", json=body, headers=headers))
        wish.acknowledged = view["id"]
        while view["status"] not in ENDED:
            for approval in view["approvals"]:
                if approval["status"] == "pending":
                    await self._decide(wish, approval)
            await asyncio.sleep(_PAUSE)
            view = await self._persist(lambda: self._http.get(f"/v1/assistants/{wish.acknowledged}"))
        wish.status, wish.error = view["status"], json.dumps(view["error"])
        wish.asked_again = max(0, len(view["approvals"]) - 1)

    async def _decide(self, wish: Wish, approval: dict[str, Any]) -> None:
        wish.decided_at = wish.decided_at or datetime.now(UTC)
        path = f"/v1/assistants/{wish.acknowledged}/approvals/{approval['id']}"
        decision = "reject" if wish.kind == "refused mail" else "approve"
        body = {"decision": decision, "args_hash": approval["args_hash"]}
        await self._persist(lambda: self._http.post(path, json=body), settled=(409, 410))

    async def _persist(
        self, request: Callable[[], Coroutine[Any, Any, httpx.Response]], settled: tuple[int, ...] = ()
    ) -> dict[str, Any]:
        """Send a request until it has an answer, as a client with the same idempotency key may."""
        until = time.monotonic() + _TRIES_FOR
        while True:
            with contextlib.suppress(httpx.HTTPError):
                response = await request()
                if response.is_success or response.status_code in settled:
                    answer: dict[str, Any] = response.json()
                    return answer
                if response.status_code not in _TRY_AGAIN:
                    self._bad_answers.append(f"{response.status_code}: {response.text[:300]}")
            assert time.monotonic() < until, "no answer for ten minutes"
            await asyncio.sleep(_PAUSE)

    async def _watch(self) -> None:
        """Note when the stack was ready again after each fault."""
        while True:
            await asyncio.sleep(_LOOK)
            asked_at = time.monotonic()
            try:
                ready = (await self._http.get("/readyz", timeout=5)).status_code == httpx.codes.OK
            except httpx.HTTPError:
                ready = False
            for fault in self._faults:
                if ready and fault.recovered is None and fault.at < asked_at:
                    fault.recovered = time.monotonic() - fault.at

    async def _fail(self) -> None:
        if not self._fault_each:
            return
        try:
            while True:
                await asyncio.sleep(self._random.uniform(0.5, 1.5) * self._fault_each)
                await self._random.choices(
                    (self._kill, self._freeze, self._kill_server, self._freeze_server, self._partition),
                    (10, 5, 1, 1, 3),
                )[0]()
        finally:
            self._proxy.heal()
            for pid in self._stopped:
                _signal(pid, signal.SIGCONT)
            async with self._server_lock:
                if self._server.process.poll() is not None:
                    await asyncio.to_thread(self._server.start)

    async def _kill(self) -> None:
        if (victim := self._victim()) is not None:
            name, pid = victim
            _signal(pid, signal.SIGKILL)
            self._note(f"kill -9 {name}")

    async def _freeze(self) -> None:
        if (victim := self._victim()) is not None:
            name, pid = victim
            await self._frozen(pid, f"freeze {name}", self._random.uniform(1, 25))

    async def _freeze_server(self) -> None:
        await self._frozen(self._server.process.pid, "freeze Temporal", self._random.uniform(1, 15))

    async def _frozen(self, pid: int, what: str, seconds: float) -> None:
        _signal(pid, signal.SIGSTOP)
        self._stopped.add(pid)
        self._note(what)
        await asyncio.sleep(seconds)
        _signal(pid, signal.SIGCONT)
        self._stopped.discard(pid)

    async def _kill_server(self) -> None:
        async with self._server_lock:
            await asyncio.to_thread(self._server.kill)
            self._note("kill -9 Temporal")
            await asyncio.sleep(self._random.uniform(0, 8))
            await asyncio.to_thread(self._server.start)

    async def _partition(self) -> None:
        faults: tuple[Fault, ...] = ("refuse", "silence", "reset")
        fault = self._random.choice(faults)
        self._proxy.fail(fault)
        self._note(f"connections to Temporal: {fault}")
        await asyncio.sleep(self._random.uniform(1, 15))
        self._proxy.heal()

    def _note(self, what: str) -> None:
        self._faults.append(FaultDone(time.monotonic(), what))

    def _victim(self) -> tuple[str, int] | None:
        """Choose a process of the stack by the log that it writes to."""
        found = sorted(self._named_processes())
        return self._random.choice(found) if found else None

    def _named_processes(self) -> list[tuple[str, int]]:
        found = []
        for process in self._stack.processes():
            with contextlib.suppress(OSError, psutil.Error):
                log = Path(f"/proc/{process.pid}/fd/1").readlink()
                if log.parent.name == "logs":
                    found.append((log.stem, process.pid))
        return found

    def _count(self, seconds: float) -> Result:
        effects = Counter(_column(self._folder / "tasks.db", "SELECT title FROM task"))
        mails = _rows(self._folder / "email.db", "SELECT subject, date FROM messages WHERE folder = 'sent'")
        effects.update(subject for subject, _ in mails)
        sent_at = {subject: datetime.fromisoformat(date).replace(tzinfo=UTC) for subject, date in mails}
        result = Result(self._seed, requested=len(self._asked), seconds=seconds, bad_answers=self._bad_answers)
        result.acknowledged = sum(wish.acknowledged is not None for wish in self._asked)
        result.outcomes = dict(Counter(f"{wish.kind}: {wish.status}" for wish in self._asked))
        result.asked_again = sum(wish.asked_again for wish in self._asked)
        result.faults = dict(Counter(fault.what for fault in self._faults))
        result.timeline = [replace(fault, at=fault.at - self._began) for fault in self._faults]
        result.recovery = _percentiles([fault.recovered for fault in self._faults if fault.recovered is not None])
        for wish in self._asked:
            count = effects.pop(wish.mark, 0)
            words = f"{wish.kind} {wish.number} ({wish.acknowledged}): {wish.status} {wish.error}, {count} effects"
            if _is_lost(wish, count):
                result.lost.append(words)
            if count > 1:
                result.doubled.append(words)
            if count and not _is_asked_for(wish, sent_at.get(wish.mark)):
                result.unasked.append(words)
        result.unasked += [f"an effect of nobody's wish: {mark}" for mark in effects]
        return result


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


def _is_lost(wish: Wish, count: int) -> bool:
    """Whether an acknowledged run has not ended, or says that it did what does not stand in the store."""
    if wish.acknowledged is None:
        return False
    return wish.status not in ENDED or (wish.status == "completed" and wish.kind != "refused mail" and not count)


def _is_asked_for(wish: Wish, sent_at: datetime | None) -> bool:
    if wish.kind == "task":
        return True
    if wish.kind == "refused mail" or wish.decided_at is None or sent_at is None:
        return False
    return sent_at >= wish.decided_at - _EARLIER


def _percentiles(seconds: list[float]) -> dict[str, float]:
    if not seconds:
        return {}
    ordered = sorted(seconds)
    return {
        "p50": statistics.median(ordered),
        "p99": ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))],
        "max": ordered[-1],
    }


def _rows(database: Path, query: str) -> list[tuple[Any, ...]]:
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as connection:
        return connection.execute(query).fetchall()


def _column(database: Path, query: str) -> list[Any]:
    return [value for (value,) in _rows(database, query)]


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        psutil.Process(pid).send_signal(number)


def run(*, seed: int, runs: int, fault_each: float, longest: float) -> Result:
    """Run it in a temporary folder."""
    with tempfile.TemporaryDirectory(prefix="retinue-prove-") as folder:
        chaos = Chaos(Path(folder), seed=seed, runs=runs, fault_each=fault_each, longest=longest)
        return asyncio.run(chaos.run())
