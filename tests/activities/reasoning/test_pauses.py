"""Pauses that an endpoint asks for are kept by all workers, and nobody comes back in a crowd."""

from __future__ import annotations

import asyncio
import itertools
import os
import sqlite3
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from activities.reasoning.model import LanguageModel
from activities.reasoning.models import ReasoningBase
from activities.reasoning.pauses import GAP, SPREAD, Pauses
from activities.reasoning.settings import ReasoningSettings
from activities.reasoning.store import OnDemand
from retinue.errors import LONGEST_WAIT, ServiceBusy
from retinue.settings import ROOT
from retinue.store import Store
from retinue.testing import Answer
from tests.activities.reasoning.endpoints import Endpoints, many_models

TEXT = [{"role": "user", "content": "hello"}]


def on_demand(file: Path) -> OnDemand:
    return OnDemand(Store(f"sqlite+aiosqlite:///{file}", ReasoningBase.metadata, owner="reasoning", with_ledger=False))


@pytest.fixture
async def endpoints() -> AsyncIterator[Endpoints]:
    async with many_models() as running:
        running.says("m", Answer("from m"))
        running.says("other", Answer("from other"))
        yield running


Worker = Callable[..., LanguageModel]


@pytest.fixture
async def worker(endpoints: Endpoints, tmp_path: Path) -> AsyncIterator[Worker]:
    """Makes workers: each has a connection of its own to one database."""
    made: list[tuple[LanguageModel, OnDemand]] = []

    def one(listed: str = "m", file: Path = tmp_path / "reasoning.db") -> LanguageModel:
        store = on_demand(file)
        settings = ReasoningSettings(api_key="k", base_url=endpoints.url, model=listed, timeout=5)
        made.append((LanguageModel(settings, Pauses(store)), store))
        return made[-1][0]

    yield one
    for model, store in made:
        await model.close()
        await store.close()


async def refused(model: LanguageModel) -> float:
    """Asks and is told to wait; for how long."""
    with pytest.raises(ServiceBusy) as caught:
        await model.complete(TEXT)
    return caught.value.retry_after


async def test_no_worker_asks_during_a_pause(endpoints: Endpoints, worker: Worker) -> None:
    first, second = worker(), worker()
    endpoints.says("m", Answer(status=429, headers={"Retry-After": "2"}), Answer("back"))
    assert await refused(first) == 2
    told = time.monotonic()
    waits = [await refused(model) for model in (second, first) * 5]
    assert len(endpoints.requests) == 1
    assert 0 < min(waits) <= max(waits) < 2 + 11 * GAP
    await asyncio.sleep(2.1 - (time.monotonic() - told))
    assert [(await model.complete(TEXT))[0] for model in (second, first)] == ["back", "back"]
    assert len(endpoints.requests) == 3


async def test_another_process_keeps_the_pause_too(endpoints: Endpoints, worker: Worker, tmp_path: Path) -> None:
    """Two processes ask as often as they can for the length of the pause: nothing reaches the endpoint."""
    endpoints.says("m", Answer(status=429, headers={"Retry-After": "30"}))
    assert await refused(worker()) == 30
    asker = Path(__file__).with_name("asker.py")
    command = [sys.executable, "-P", "-m", f"tests.activities.reasoning.{asker.stem}"]
    command += [endpoints.url, str(tmp_path / "reasoning.db")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    children = [
        await asyncio.create_subprocess_exec(*command, cwd=ROOT, env=environment, stdout=asyncio.subprocess.PIPE)
        for _ in range(2)
    ]
    outputs = [(await child.communicate())[0].decode().split() for child in children]
    assert [output[0] for output in outputs] == ["ServiceBusy", "ServiceBusy"]
    assert min(int(output[1]) for output in outputs) >= 10
    assert len(endpoints.requests) == 1


async def test_those_who_waited_come_back_one_after_the_other(endpoints: Endpoints, worker: Worker) -> None:
    endpoints.says("m", Answer(status=429, headers={"Retry-After": "20"}))
    first, second = worker(), worker()
    now = time.monotonic()
    back = [await refused(model) + time.monotonic() - now for model in (first, second) * 10]
    gaps = [later - earlier for earlier, later in itertools.pairwise(back)]
    assert min(gaps) > GAP / 5, gaps
    assert sum(gaps) < 60 * GAP


async def test_twenty_that_were_refused_at_once_do_not_come_back_at_once(endpoints: Endpoints, worker: Worker) -> None:
    """All of them had asked before any of them was told."""
    endpoints.says("m", Answer(status=429, headers={"Retry-After": "20"}))
    endpoints.crowd = asyncio.Barrier(20)
    first, second = worker(), worker()
    back = sorted(await asyncio.gather(*[refused(model) for model in (first, second) * 10]))
    assert len(endpoints.requests) == 20
    assert 15 < back[0] <= 20
    assert back[-1] - back[0] > 15 * GAP


async def test_a_place_far_behind_does_not_turn_waiting_into_a_failure(tmp_path: Path) -> None:
    store = on_demand(tmp_path / "reasoning.db")
    pauses = Pauses(store)
    waits = [await pauses.begin("m", 119)] + [await pauses.rest("m") for _ in range(100)]
    assert max(waits) <= LONGEST_WAIT
    assert max(waits) > 119
    assert ServiceBusy("x", retry_after=max(waits)).retryable
    await store.close()


async def test_the_spread_is_bounded(tmp_path: Path) -> None:
    store = on_demand(tmp_path / "reasoning.db")
    pauses = Pauses(store)
    waits = [await pauses.begin("m", 10)] + [await pauses.rest("m") for _ in range(100)]
    assert max(waits) <= 10 + SPREAD
    await store.close()


async def test_a_longer_pause_stands_against_a_shorter_one(tmp_path: Path) -> None:
    store = on_demand(tmp_path / "reasoning.db")
    pauses = Pauses(store)
    await pauses.begin("m", 60)
    assert await pauses.begin("m", 1) > 55
    assert await pauses.rest("m") > 55
    assert await pauses.rest("another") == 0
    await store.close()


async def test_a_pause_of_one_model_is_none_of_another(endpoints: Endpoints, worker: Worker) -> None:
    endpoints.says("m", Answer(status=429, headers={"Retry-After": "60"}))
    await refused(worker())
    assert (await worker("other").complete(TEXT))[0] == "from other"


async def test_during_a_long_pause_another_model_answers_without_a_request_to_the_first(
    endpoints: Endpoints, worker: Worker
) -> None:
    endpoints.says("m", Answer(status=429, headers={"Retry-After": "60"}))
    await refused(worker())
    text, usage = await worker("m, other").complete(TEXT)
    assert (text, endpoints.order(), usage.requests) == ("from other", ["m", "other"], 1)
    assert usage.instead == ["other answered instead of m: it is busy and asked for a pause"]


async def test_what_is_kept_holds_no_key(endpoints: Endpoints, worker: Worker, tmp_path: Path) -> None:
    endpoints.says("m", Answer(status=429, headers={"Retry-After": "60"}))
    await refused(worker())
    with closing(sqlite3.connect(tmp_path / "reasoning.db")) as database:
        rows = database.execute("SELECT model, waiting FROM pauses").fetchall()
    assert rows == [(f"m@{endpoints.url.removeprefix('http://')}", 1)]


async def test_without_a_database_each_worker_keeps_what_it_was_told(endpoints: Endpoints, worker: Worker) -> None:
    """A database that does not work holds up no answer."""
    model = worker(file=Path("/dev/null/reasoning.db"))
    assert (await model.complete(TEXT))[0] == "from m"
    endpoints.says("m", Answer(status=429, headers={"Retry-After": "60"}))
    await refused(model)
    assert 50 < await refused(model) <= 60
    assert len(endpoints.requests) == 2


def kept_until(file: Path) -> datetime:
    """When the pause in the database ends, read from outside."""
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as database:
        [(until,)] = database.execute("SELECT until FROM pauses").fetchall()
    return datetime.fromisoformat(until).replace(tzinfo=UTC)


@pytest.mark.parametrize("header", ["315360000", "1e30", "Fri, 31 Dec 9999 23:59:59 GMT"])
async def test_a_pause_of_years_is_kept_for_as_long_as_people_agreed_to(
    endpoints: Endpoints, worker: Worker, tmp_path: Path, header: str
) -> None:
    endpoints.says("m", Answer(status=429, headers={"Retry-After": header}))
    with pytest.raises(ServiceBusy) as caught:
        await worker().complete(TEXT)
    assert caught.value.retry_after == pytest.approx(900)
    assert "until" in caught.value.message
    assert "--clear-pauses" in str(caught.value.hint)
    assert await refused(worker()) == pytest.approx(900, abs=30)  # another worker, as after a restart
    assert kept_until(tmp_path / "reasoning.db") < datetime.now(UTC) + timedelta(seconds=930)
    [pause] = await worker().pauses(end=False)
    assert pause.model == f"m@{endpoints.url.removeprefix('http://')}"
    assert (pause.asked_seconds or 0) > 3e8


async def test_a_longer_pause_of_earlier_is_shortened_and_does_not_slide(
    endpoints: Endpoints, worker: Worker, tmp_path: Path
) -> None:
    """As an older version kept it, or a clock that was wrong."""
    endpoints.says("m", Answer(status=429, headers={"Retry-After": "60"}))
    await refused(worker())
    with closing(sqlite3.connect(tmp_path / "reasoning.db")) as database:
        database.execute("UPDATE pauses SET until = ?", (str(datetime.now(UTC) + timedelta(days=90))[:26],))
        database.commit()
    assert await refused(worker()) <= 930
    first = kept_until(tmp_path / "reasoning.db")
    await asyncio.sleep(0.05)
    await refused(worker())
    assert kept_until(tmp_path / "reasoning.db") == first


async def test_a_pause_can_be_ended(endpoints: Endpoints, worker: Worker) -> None:
    endpoints.says("m", Answer(status=429, headers={"Retry-After": "600"}), Answer("back"))
    first, second = worker(), worker()
    await refused(first)
    assert await second.pauses(end=True) == []
    assert [(await model.complete(TEXT))[0] for model in (first, second)] == ["back", "back"]


async def test_without_a_database_a_pause_is_bounded_too(endpoints: Endpoints, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RETINUE_LONGEST_PAUSE", "200")
    endpoints.says("m", Answer(status=429, headers={"Retry-After": "315360000"}))
    model = LanguageModel(ReasoningSettings(api_key="k", base_url=endpoints.url, model="m"))
    assert await refused(model) == 200
    assert 190 < await refused(model) <= 200
    assert [pause.model for pause in await model.pauses(end=True)] == []
    await model.close()
