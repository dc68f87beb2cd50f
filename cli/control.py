"""Control a run: send a message, cancel, undo, fork, decide about missing workers."""

from __future__ import annotations

import time
from collections.abc import Callable
from enum import StrEnum

from cli.ask import Reconnecting, send_once
from cli.connection import patiently
from cli.edits import Arguments
from cli.exits import ExitCode
from cli.render import say, undo_lines
from retinue.client import Client
from retinue.client.models import PENDING, Assistant

_WAIT = 15
"""Wait time of an API request in seconds."""
_PATIENCE = 60.0
_POLL = 0.5


class Choice(StrEnum):
    """The choice for a step without a worker."""

    WAIT = "wait"
    SKIP = "skip"
    FAIL = "fail"


def say_more(client: Client, assistant_id: str, text: str) -> Assistant:
    """Send a message or an answer, once."""
    return send_once(lambda key: client.assistants.send_message(assistant_id, text, idempotency_key=key))


def cancel(client: Client, assistant_id: str, *, undo: bool, as_json: bool) -> ExitCode:
    """Cancel a run; with `undo` wait until its effects are undone, as far as possible."""
    view = client.assistants.cancel(assistant_id, undo=undo or None)
    if undo:
        view = _settled(client, assistant_id, view, lambda view: view.ended)
    if as_json:
        print(view.json_text())
    else:
        say(f"{view.id} {'is cancelled' if view.status == 'cancelled' else 'is being cancelled'}.")
        _tell_undone(view)
    return _undo_code(view) if undo else ExitCode.DONE


def undo(client: Client, assistant_id: str, *, as_json: bool) -> ExitCode:
    """Undo an ended run. Exit code 1 if an effect could not be undone."""
    view = client.assistants.undo(assistant_id, wait_seconds=_WAIT)
    view = _settled(client, assistant_id, view, lambda view: not _unfinished(view))
    if as_json:
        print(view.json_text())
    else:
        _tell_undone(view)
    return _undo_code(view)


def fork(
    client: Client, assistant_id: str, step_id: str, *, message: str | None, args: Arguments | None, preview: bool
) -> Assistant:
    """Start a new run from a step of an earlier one, once."""
    return send_once(
        lambda key: client.assistants.fork(
            assistant_id, step_id, message=message, args=args, preview=preview or None, idempotency_key=key
        )
    )


def receipt(client: Client, assistant_id: str, *, as_json: bool) -> str:
    """Return a run's receipt as text or JSON."""
    if as_json:
        return client.assistants.receipt(assistant_id).json_text()
    return client.assistants.receipt_text(assistant_id).rstrip()


def _settled(client: Client, assistant_id: str, view: Assistant, done: Callable[[Assistant], bool]) -> Assistant:
    """Read the run until `done`, for a minute at most; an undo may wait for a worker."""
    deadline, telling = time.monotonic() + _PATIENCE, Reconnecting()
    while not done(view) and time.monotonic() < deadline:
        time.sleep(_POLL)
        view = patiently(lambda: client.assistants.get(assistant_id), on_wait=telling)
    return view


def _tell_undone(view: Assistant) -> None:
    for line in undo_lines(view.undo):
        say(line)
    if _unfinished(view):
        say(f"Undo is still in progress; see `bin/retinue show {view.id}`.")


def _unfinished(view: Assistant) -> bool:
    return any(step.status == PENDING for step in view.undo)


def _undo_code(view: Assistant) -> ExitCode:
    all_undone = view.ended and all(step.status == "undone" for step in view.undo)
    return ExitCode.DONE if all_undone else ExitCode.FAILED
