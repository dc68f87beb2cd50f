"""The crash demonstration: two workers are killed during a run, which still completes, with each effect once.

The workflow worker is killed while the run waits for an approval. The mail worker is killed at the worst moment: its
mail is in the store, and not yet reported.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from cli.changes import POLL
from cli.connection import client_of, patiently
from cli.demo import REQUEST, check_mailbox, interruptible, persistently
from cli.exits import CommandError, ExitCode
from cli.private_stack import PrivateStack, private_stack
from cli.render import say, tell
from cli.watch import Lines
from retinue.client import Client, Conflict
from retinue.client.models import Approval, Assistant

FAULT = "after_effect:email"
_TIME = 600.0
"""Time limit of the run in seconds. A dead worker is detected after ten; a busy machine is slow."""
_ANSWER = 60.0
"""Seconds for one answer of the API."""
_PROCESSES = Path("/proc")
_LOG = "1"
"""File descriptor of the log: every process of the stack writes it as standard output."""


@dataclass(frozen=True)
class Report:
    """The result."""

    assistant_id: str
    status: str
    workflow_worker_killed: bool
    mail_worker_deaths: int
    attempts: int
    mails: int
    effects: int


def run(*, keep: bool, as_json: bool) -> ExitCode:
    """Run the demonstration. It succeeds only if a worker died in between and the mail is in the store once.

    Raises:
        CommandError: It failed; the message says why.
    """
    tell_step: Callable[[str], None] = tell if as_json else say
    with interruptible(), private_stack(keep=keep, prefix="retinue-crash-", RETINUE_FAULT=FAULT) as stack:
        try:
            report = _Crash(stack, tell_step).run()
        except CommandError as error:
            error.add_note(stack.end_of_logs())
            raise
        tell_step("Stopping the private stack.")
    if as_json:
        print(json.dumps(asdict(report)))
    else:
        say("Done: two workers died, and the mail was sent once.")
    return ExitCode.DONE


def check_report(report: Report) -> None:
    """Check the result.

    Raises:
        CommandError: No worker died in between, or the run did not complete.
    """
    if report.status != "completed":
        raise CommandError(f"the assistant is {report.status}, not completed")
    if report.mail_worker_deaths < 1 or report.attempts < 2:  # the attempt that died, and the one that found the effect
        raise CommandError("no worker died while it ran, so this proves nothing")


class _Crash:
    """One run with two killed workers."""

    def __init__(self, stack: PrivateStack, tell_step: Callable[[str], None]) -> None:
        self._stack = stack
        self._tell = tell_step
        self._lines = Lines(tell_step)
        self._client: Client = client_of(stack.url, api_key="", timeout=_ANSWER)

    def run(self) -> Report:
        """Start, kill, approve, let the other worker die, and count."""
        self._tell("1. Starting a private stack: Temporal, the workers, the offline model, the API.")
        self._stack.await_ready()
        self._deadline = time.monotonic() + _TIME
        self._tell(f"2. Asking: {REQUEST}")
        key = uuid.uuid4().hex
        start = self._client.assistants.start
        assistant_id = persistently(lambda: start(REQUEST, timezone="UTC", idempotency_key=key)).id
        asked = self._until(assistant_id, lambda view: bool(view.pending))
        self._tell("3. Killing the workflow worker while the assistant waits for the approval.")
        killed = self._kill("workflows")
        self._tell("4. Approving while no workflow worker runs. The mail worker will die, too: right after its mail")
        self._tell("   is in the store, before it can report that.")
        self._approve(assistant_id, asked.pending[0])
        final = self._until(assistant_id, lambda view: view.ended)
        self._tell("5. Reading the mail store.")
        mails, effects = check_mailbox(self._stack.data / "email.db", self._tell)
        attempts = max((step.attempts for step in final.steps if step.tool == "email.send"), default=0)
        deaths = self._stack.deaths("email")
        self._tell(
            f"   The step was tried {attempts} times, its worker died {deaths} times, the assistant is {final.status}."
        )
        report = Report(final.id, final.status, killed, deaths, attempts, mails, effects)
        check_report(report)
        return report

    def _until(self, assistant_id: str, holds: Callable[[Assistant], bool]) -> Assistant:
        while time.monotonic() < self._deadline:
            view = persistently(lambda: self._client.assistants.get(assistant_id))
            self._lines.update(view)
            if holds(view):
                return view
            if view.ended:
                raise CommandError(
                    f"the assistant is {view.status} too early: {view.error.message if view.error else ''}"
                )
            time.sleep(POLL)
        raise CommandError(f"the assistant did not get so far in {_TIME:.0f} s")

    def _approve(self, assistant_id: str, approval: Approval) -> None:
        """Approve, retrying until a worker answers. A repeated approval changes nothing."""
        self._tell(f"   It asks: {approval.preview.splitlines()[0]} ({approval.id}).")
        with contextlib.suppress(Conflict):
            patiently(
                lambda: self._client.approvals.decide(
                    assistant_id, approval.id, "approve", args_hash=approval.args_hash
                ),
                on_wait=lambda why: self._tell(f"   not yet: {why}"),
                seconds=_TIME,
                pause=1.0,
            )

    def _kill(self, worker: str) -> bool:
        """Kill a worker by SIGKILL; return whether it was found, which needs Linux."""
        pid = worker_pid(self._stack.data / "logs" / f"{worker}.log")
        if pid is None:
            self._tell("   Its process was not found on this system; the mail worker still dies.")
            return False
        os.kill(pid, signal.SIGKILL)
        self._tell(f"   killed process {pid}")
        return True


def worker_pid(log: Path) -> int | None:
    """Return the process that writes a log, which is one worker of one stack; None if not found."""
    for descriptor in _PROCESSES.glob(f"[0-9]*/fd/{_LOG}"):
        with contextlib.suppress(OSError):
            if descriptor.readlink() == log:
                return int(descriptor.parts[2])
    return None
