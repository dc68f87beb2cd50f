"""Steering a run: say more, stop it, take back what it did, go on from a step of it, decide about missing workers."""

from __future__ import annotations

import time
from collections.abc import Callable
from enum import StrEnum
from typing import Any
from urllib.parse import quote

from cli.ask import Reconnecting, send_once
from cli.client import RetinueClient, patiently, run_path
from cli.edits import Arguments
from cli.exits import ExitCode
from cli.render import say, undo_lines
from cli.views import PENDING, Assistant

_WAIT = 15
"""Seconds for which the API is asked to wait; the client itself gives up after 20."""
_PATIENCE = 60.0
_POLL = 0.5


class Choice(StrEnum):
    """What to do about a step that no worker takes."""

    WAIT = "wait"
    SKIP = "skip"
    FAIL = "fail"


def say_more(client: RetinueClient, run_id: str, text: str) -> str:
    """Send the next message of a chat, or an answer, once; returns the API's text."""
    return send_once(lambda key: client.say_text(run_id, text, key=key))


def cancel(client: RetinueClient, run_id: str, *, undo: bool, as_json: bool) -> ExitCode:
    """Stop a run; with `undo` wait until what it did is taken back, as far as it can be."""
    text = client.cancel_text(run_id, undo=undo)
    if undo:
        text = _settled(client, run_id, text, lambda view: view.ended)
    view = client.parsed(Assistant, text)
    if as_json:
        print(text)
    else:
        say(f"{view.id} {'is cancelled' if view.status == 'cancelled' else 'was asked to stop'}.")
        _tell_undone(view)
    return _undo_code(view) if undo else ExitCode.DONE


def take_back(client: RetinueClient, run_id: str, *, as_json: bool) -> ExitCode:
    """Take back what an ended run did. Exit code 1 where something stays done."""
    text = client.text("POST", f"{run_path(run_id)}/undo", json={"wait_seconds": _WAIT})
    text = _settled(client, run_id, text, lambda view: not _unfinished(view))
    view = client.parsed(Assistant, text)
    if as_json:
        print(text)
    else:
        _tell_undone(view)
    return _undo_code(view)


def fork(
    client: RetinueClient, run_id: str, step_id: str, *, message: str | None, args: Arguments | None, preview: bool
) -> str:
    """Start a new run from a step of an old one, once; returns the API's text."""
    body: dict[str, Any] = {"from_step": step_id, "message": message, "args": args, "preview": preview or None}
    return send_once(lambda key: client.create_text(f"{run_path(run_id)}/fork", body, key=key))


def choose(client: RetinueClient, run_id: str, step_id: str, choice: Choice) -> str:
    """Decide about a step that no worker takes; returns the API's text."""
    path = f"{run_path(run_id)}/steps/{quote(step_id, safe='')}"
    return client.text("POST", path, json={"choice": str(choice)})


def receipt(client: RetinueClient, run_id: str, *, as_json: bool) -> str:
    """What a run did, with whose consent: for reading, or as JSON."""
    accept = "application/json" if as_json else "text/plain"
    return client.text("GET", f"{run_path(run_id)}/receipt", headers={"Accept": accept})


def _settled(client: RetinueClient, run_id: str, text: str, done: Callable[[Assistant], bool]) -> str:
    """Read the run until `done` or for a minute; taking back may have to wait for a worker."""
    deadline, telling = time.monotonic() + _PATIENCE, Reconnecting()
    while not done(client.parsed(Assistant, text)) and time.monotonic() < deadline:
        time.sleep(_POLL)
        text = patiently(lambda: client.text("GET", run_path(run_id)), on_wait=telling)
    return text


def _tell_undone(view: Assistant) -> None:
    for line in undo_lines(view.undo):
        say(line)
    if _unfinished(view):
        say(f"It goes on; see `bin/retinue show {view.id}`.")


def _unfinished(view: Assistant) -> bool:
    return any(step.status == PENDING for step in view.undo)


def _undo_code(view: Assistant) -> ExitCode:
    all_undone = view.ended and all(step.status == "undone" for step in view.undo)
    return ExitCode.DONE if all_undone else ExitCode.FAILED
