"""A plugin of pytest: no test may hold up the whole run, and no process of a test outlives it.

pytest-timeout speaks once per test. When the test then hangs in its teardown, or in code that takes no signals, xdist
waits for that process for ever. Here the process ends, some time after the test's own timeout: xdist reports that test as
crashed, and another process does the rest. What a run cut short had not finished is written down for `tests/again.py`.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from xdist.scheduler import LoadGroupScheduling  # type: ignore[import-untyped]

from retinue.settings import ROOT
from tests.leftovers import MARK

NEVER_FINISHED = "retinue/never_finished"
_SHOWN = 20


def pytest_addoption(parser: pytest.Parser) -> None:
    """How long a test may go on after its timeout; tests of this module have less patience."""
    parser.addini("timeout_margin", "seconds after a test's timeout after which its process ends", default="90")


def pytest_configure(config: pytest.Config) -> None:
    """Begin to guard this process; children carry a mark, by which they are found when it has gone."""
    mark = uuid.uuid4().hex
    config.stash[_WATCHER] = subprocess.Popen(
        [sys.executable, "-P", "-m", "tests.leftovers", mark],
        env={"PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    os.environ[MARK] = mark
    distributes = config.getoption("dist", "no") != "no"
    if not distributes:
        config.pluginmanager.register(_Guard(float(config.getini("timeout_margin"))), "guard")
    if "PYTEST_XDIST_WORKER" not in os.environ:
        config.pluginmanager.register(_Unfinished(), "unfinished")
    if distributes:
        signal.signal(signal.SIGTERM, _stop_with_a_report)


_WATCHER = pytest.StashKey[subprocess.Popen[bytes]]()
"""Its input ends when this process does, however that happens."""


def _stop_with_a_report(number: int, frame: object) -> None:
    signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


class _Guard:
    """Ends this process when a test, or the session's end, takes much longer than it may."""

    def __init__(self, margin: float) -> None:
        self._margin = margin
        self._output = os.dup(2)  # before tests' output is captured
        self._limit: float | None = None

    def _end_after(self, seconds: float) -> None:
        faulthandler.dump_traceback_later(seconds, exit=True, file=self._output)

    @pytest.hookimpl(tryfirst=True)
    def pytest_timeout_set_timer(self, settings: Any) -> None:
        """Begin with the timer of pytest-timeout; without one, there is no end either."""
        self._limit = settings.timeout + self._margin
        self._end_after(self._limit)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_teardown(self) -> None:
        """Begin again: pytest gives up both timers once a test has failed, for those who look into it by pdb."""
        if self._limit is not None:
            self._end_after(self._limit)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self) -> Iterator[Any]:
        """Stop after the last teardown of this test; that of the last test is the session's."""
        try:
            return (yield)
        finally:
            faulthandler.cancel_dump_traceback_later()
            self._limit = None

    def pytest_enter_pdb(self) -> None:
        """Somebody looks into it, and needs time."""
        faulthandler.cancel_dump_traceback_later()
        self._limit = None

    def pytest_sessionfinish(self) -> None:
        """What is left to do takes no time."""
        self._end_after(self._margin)


class _Unfinished:
    """Writes down what never finished, when the run was cut short; runs where the results come together."""

    def __init__(self) -> None:
        self._waiting: dict[str, None] = {}
        self._running: dict[str, None] = {}

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """All tests of a run in one process."""
        self._waiting |= dict.fromkeys(item.nodeid for item in session.items)

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: Sequence[str]) -> None:
        """All tests of a run in several; each of them says so, and a late one says it of what is done."""
        if not self._waiting:
            self._waiting |= dict.fromkeys(ids)

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """A test begins."""
        self._running[nodeid] = None

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """A test passed, failed, or took its process with it."""
        if report.when not in {"setup", "call"}:
            self._waiting.pop(report.nodeid, None)
            self._running.pop(report.nodeid, None)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Keep it for `make test-again`."""
        cache = getattr(session.config, "cache", None)  # there is none under `-p no:cacheprovider`
        if cache and not session.config.option.collectonly:
            cache.set(NEVER_FINISHED, list(self._waiting))

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter, exitstatus: int) -> None:
        """Name what was running then."""
        if exitstatus == pytest.ExitCode.INTERRUPTED and self._waiting:
            terminalreporter.write_sep("=", f"cut short: {len(self._waiting)} tests never finished; these were running")
            for test in list(self._running)[:_SHOWN]:
                terminalreporter.write_line(test)


@pytest.hookimpl(optionalhook=True, tryfirst=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadGroupScheduling | None:
    """Go on after a crash."""
    return CarryingOn(config, log) if config.getvalue("dist") == "loadgroup" else None


class CarryingOn(LoadGroupScheduling):  # type: ignore[misc]  # xdist has no types
    """Groups as xdist does; that of xdist 3.8 runs the test again that crashed, and may then wait for ever."""

    def remove_node(self, node: Any) -> str | None:
        """Give the rest of a process's tests to others, first of all; return the test at which it crashed, if any."""
        units = {name: unit for name, unit in self.assigned_work.pop(node).items() if not all(unit.values())}
        if not units:
            return None
        first = next(iter(units.values()))
        crashed: str = next(test for test, done in first.items() if not done)
        first[crashed] = True
        for name, unit in reversed(units.items()):
            if not all(unit.values()):
                self.workqueue[name] = unit
                self.workqueue.move_to_end(name, last=False)
        for other in self.assigned_work:
            self._reschedule(other)
        return crashed

    def mark_test_complete(self, node: Any, item_index: int, duration: float = 0) -> None:
        """As before, and forget groups that are done: xdist counts them after each test."""
        super().mark_test_complete(node, item_index, duration)
        group = self._split_scope(self.registered_collections[node][item_index])
        if all(self.assigned_work[node][group].values()):
            del self.assigned_work[node][group]

    def schedule(self) -> None:
        """Give each process two groups: it begins with the last test it knows of only when it is told to end."""
        super().schedule()
        for node in self.nodes:
            self._reschedule(node)
