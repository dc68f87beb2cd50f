"""The demonstration: one request end to end over HTTP on a private stack, checked in the store at the end."""

from __future__ import annotations

import contextlib
import signal
import sqlite3
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from types import FrameType
from typing import TypeVar

from cli.cards import show_card
from cli.changes import POLL
from cli.connection import client_of, patiently
from cli.exits import CommandError, ExitCode
from cli.private_stack import PrivateStack, private_stack
from cli.render import say
from cli.watch import Lines
from retinue.client import Client, Conflict
from retinue.client.models import Approval, Assistant
from retinue.settings import ROOT

Result = TypeVar("Result")
RECIPIENT = "team@example.com"
REQUEST = f"What's the weather in Lisbon tomorrow, what's on my calendar tomorrow, and email both to {RECIPIENT}"
_TIME = 600.0
"""Time limit of the run in seconds; a few are enough unless the machine is busy."""
_ANSWER = 60.0
"""Seconds for one answer of the API."""


def run(*, keep: bool) -> ExitCode:
    """Run the demonstration. It succeeds only if the mail is in the store once.

    Raises:
        CommandError: It failed; the message says why.
    """
    with interruptible(), private_stack(keep=keep) as stack:
        try:
            _show(stack)
        except CommandError as error:
            error.add_note(stack.end_of_logs())
            raise
        say("Stopping the private stack.")
    say(f"Done. The data is kept in {stack.data}." if keep else "Done: the mail was sent once, after your approval.")
    return ExitCode.DONE


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Handle SIGTERM like Ctrl-C, so that the stack is stopped and its folder removed."""
    before = signal.signal(signal.SIGTERM, _interrupted)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _interrupted(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _show(stack: PrivateStack) -> None:
    say("Starting a private stack: Temporal, the workers, the offline model, the API.")
    stack.await_ready()
    stack.import_files("email", sorted((ROOT / "activities/email/demo").glob("*.eml")))
    client = client_of(stack.url, api_key="", timeout=_ANSWER)
    say(f"Ready at {stack.url}. Asking:")
    say(f"  {REQUEST}", "bold")
    key = uuid.uuid4().hex
    started = persistently(lambda: client.assistants.start(REQUEST, timezone="UTC", idempotency_key=key))
    say(f"Temporal shows every step: {started.links.temporal_ui}")
    final = _carried_out(client, started.id, time.monotonic() + _TIME)
    say("")
    say(final.reply or "")
    say("")
    check_mailbox(stack.data / "email.db")


def _carried_out(client: Client, assistant_id: str, deadline: float) -> Assistant:
    """Print the run's progress, approve its actions, and return the final view."""
    lines = Lines(say)
    while time.monotonic() < deadline:
        view = persistently(lambda: client.assistants.get(assistant_id))
        lines.update(view)
        if view.ended or view.status == "awaiting_input":
            return _as_hoped(view)
        for approval in view.pending:
            say("It needs your approval:")
            show_card(approval)
            _approve(client, assistant_id, approval)
            say(f"Approved {approval.id}.")
        time.sleep(POLL)
    raise CommandError(f"the assistant did not end in {_TIME:.0f} s")


def _approve(client: Client, assistant_id: str, approval: Approval) -> None:
    with contextlib.suppress(Conflict):  # an earlier attempt without an answer has approved it
        persistently(
            lambda: client.approvals.decide(assistant_id, approval.id, "approve", args_hash=approval.args_hash),
        )


def persistently(call: Callable[[], Result]) -> Result:
    """Call until Retinue answers: on a busy machine that may take a while. Errors as for `patiently`."""
    return patiently(call, on_wait=lambda _: None, seconds=_TIME)


def _as_hoped(view: Assistant) -> Assistant:
    if view.status == "completed":
        return view
    reason = view.error.message if view.error else view.question or "no reason given"
    raise CommandError(f"the assistant is {view.status.replace('_', ' ')}: {reason}")


def check_mailbox(database: Path, write: Callable[[str], None] = say) -> tuple[int, int]:
    """Check the capability's store: one mail to the team, one row in the ledger. Return both numbers.

    Raises:
        CommandError: A number is not one.
    """
    try:
        sent, effects = _counted(database)
    except sqlite3.Error as error:
        raise CommandError(f"{database.name} cannot be read: {error}") from None
    write(f"In the store: mails to {RECIPIENT}: {sent}; ledger rows of email.send: {effects}.")
    if (sent, effects) != (1, 1):
        raise CommandError("there should be exactly one of each")
    return sent, effects


def _counted(database: Path) -> tuple[int, int]:
    """Count the mails to the team in the sent folder and the sending effects in the ledger."""
    with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as connection:
        [sent] = connection.execute(
            "SELECT count(*) FROM messages, json_each(messages.recipients) AS recipient"
            " WHERE lower(folder) = 'sent' AND recipient.value = ?",
            (RECIPIENT,),
        ).fetchone()
        [effects] = connection.execute("SELECT count(*) FROM ledger WHERE tool = 'email.send'").fetchone()
    return sent, effects
