"""Supervised processes: one that is frozen is replaced, one that is slow is not."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from retinue.settings import RetinueSettings
from workers import children
from workers.children import Child, Silence
from workers.companions import companion
from workers.supervisor import Supervisor
from workers.temporal_server import free_port


@pytest.fixture
def child(tmp_path: Path) -> Iterator[Child]:
    """A process that touches its file."""
    silence = Silence(tmp_path / "alive" / "sleeper", patience=8)
    child = Child("sleeper", "tests.workers.sleeper", [], {}, tmp_path / "log", silence)
    child.start()
    yield child
    assert child.process is not None
    child.process.kill()
    child.process.join(10)


def test_a_frozen_process_is_replaced(child: Child, capfd: pytest.CaptureFixture[str]) -> None:
    assert child.silence is not None
    while not child.silence.file.exists():
        time.sleep(0.05)
    assert child.process is not None
    frozen = child.process.pid
    assert frozen is not None
    os.kill(frozen, signal.SIGSTOP)
    while child.process is None or child.process.pid == frozen:
        child.keep_alive()
        time.sleep(0.2)
    assert "sleeper is frozen: no sign of life for 8 s; ending it" in capfd.readouterr().out
    assert child.silence.patience == 16


def offline(data: Path) -> Child:
    """The offline model as the supervisor starts it."""
    supervisor = Supervisor(RetinueSettings(data_dir=data))
    [child] = [child for child in supervisor._plan_children({}) if child.name == "offline"]
    return child


def radicale(data: Path) -> Child:
    child = companion(
        "radicale", host="127.0.0.1", data=data, settings=RetinueSettings(radicale_port=free_port())
    ).child(data)
    assert child is not None
    return child


@pytest.mark.timeout(120)
@pytest.mark.parametrize("server", [offline, radicale])
def test_a_server_that_does_not_answer_is_replaced_and_answers_again(
    server: Callable[[Path], Child], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    monkeypatch.setattr(children, "_ASK_EACH", 0.5)
    (tmp_path / "logs").mkdir()
    children.prepare()  # a process with threads, as of what asks the servers, must not fork itself
    child = server(tmp_path)
    assert child.silence is not None
    child.silence.patience = 8
    child.start()
    try:
        until_touched(child)
        assert child.process is not None
        frozen = child.process.pid
        assert frozen is not None
        os.kill(frozen, signal.SIGSTOP)
        while child.process is None or child.process.pid == frozen:
            child.keep_alive()
            time.sleep(0.2)
        until_touched(child)
    finally:
        child.ask_to_stop()
        child.wait(time.monotonic())
    assert f"{child.name} is frozen: no sign of life for 8 s; ending it" in capfd.readouterr().out


def until_touched(child: Child) -> None:
    assert child.silence is not None
    while not child.silence.file.exists():
        time.sleep(0.05)


@pytest.fixture
def silence(tmp_path: Path) -> Silence:
    silence = Silence(tmp_path / "alive", patience=60)
    silence.begin(0)
    return silence


def touch(silence: Silence, moment: int) -> None:
    silence.file.touch()
    os.utime(silence.file, (moment, moment))


def frozen(silence: Silence, *, begin: int, seconds: int) -> bool:
    """Whether it counts as frozen after so many seconds of looks."""
    return [silence.is_too_long(begin + second) for second in range(1, seconds + 1)][-1]


def test_silence_counts_from_the_last_touch(silence: Silence) -> None:
    touch(silence, 1)
    assert not frozen(silence, begin=0, seconds=60)
    touch(silence, 2)
    assert not frozen(silence, begin=60, seconds=61)
    assert frozen(silence, begin=121, seconds=1)


def test_a_process_may_take_long_to_start(silence: Silence) -> None:
    assert not frozen(silence, begin=0, seconds=300)
    assert frozen(silence, begin=300, seconds=1)


def test_who_did_not_look_cannot_tell_that_another_was_silent(silence: Silence) -> None:
    """A supervisor that was itself kept from running for an hour."""
    touch(silence, 1)
    silence.is_too_long(1)
    assert not silence.is_too_long(3600)


def test_patience_doubles_and_is_bounded(silence: Silence) -> None:
    seen = []
    for _ in range(6):
        silence.be_more_patient()
        seen.append(silence.patience)
    assert seen == [120, 240, 480, 960, 960, 960]
