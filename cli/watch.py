"""Watching a run: show it as it advances, and let the person decide and answer in the terminal."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from rich.live import Live

from cli import edits
from cli.ask import Reconnecting
from cli.client import RetinueClient, patiently, run_path
from cli.decide import send_edit
from cli.exits import CommandError, ExitCode, Refused, Unreachable, WrongUsage
from cli.prompts import choice, is_interactive, typed
from cli.render import OUT, progress, say, show_card, show_ways_to_decide, tell, waits_for
from cli.views import Approval, Assistant

POLL = 0.3


class Display(Protocol):
    """Shows a run while it advances."""

    def update(self, view: Assistant, note: str = "") -> None:
        """Show the newest view, or that there is none because of `note`."""

    def pause(self) -> None:
        """Leave the terminal to somebody else until the next update."""


class LiveTable:
    """The plan as a table that is redrawn in place."""

    def __init__(self) -> None:
        self._live: Live | None = None

    def update(self, view: Assistant, note: str = "") -> None:
        """Redraw."""
        if self._live is None:
            self._live = Live(console=OUT, auto_refresh=False)
            self._live.start()
        self._live.update(progress(view, note=note), refresh=True)

    def pause(self) -> None:
        """Leave the table as it stands."""
        if self._live is not None:
            self._live.stop()
        self._live = None


class Lines:
    """One line per change, for pipes and logs. It writes to standard error: standard output is for the answer."""

    def __init__(self, write: Callable[[str], None] = tell) -> None:
        self._write = write
        self._shown: dict[str, str] = {}

    def update(self, view: Assistant, note: str = "") -> None:
        """Write what is new."""
        self._line("", f"{view.id}: {view.status.replace('_', ' ')}")
        done = {step.id for step in view.steps if step.status == "completed"}
        for step in view.steps:
            reason = waits_for(step, done)
            tries = f", attempt {step.attempts}" if step.attempts > 1 else ""
            word = f"{step.status.replace('_', ' ')}{tries}{f' ({reason})' if reason else ''}"
            after = f"after {', '.join(step.depends_on)}" if step.depends_on else ""
            self._line(step.id, f"  {step.id:<4} {step.tool:<22} {after:<13} {word}")
        for text in [*view.notices, *([note] if note else [])]:
            self._line(text, f"  {text}")

    def _line(self, key: str, text: str) -> None:
        if self._shown.get(key) != text:
            self._shown[key] = text
            self._write(text)

    def pause(self) -> None:
        """Nothing has to be done."""


class Watch:
    """Follows one run to its end or to the point where only a person can go on."""

    def __init__(self, client: RetinueClient, run_id: str, *, interactive: bool) -> None:
        self._client = client
        self._run_id = run_id
        self._interactive = interactive
        self._display: Display = LiveTable() if interactive else Lines()
        self._later: set[str] = set()
        self._latest: Assistant | None = None
        self._reconnecting = Reconnecting()

    def follow(self) -> tuple[Assistant, str]:
        """Watch, prompting at a terminal. Returns the last view and the API's text of it.

        Raises:
            Unreachable: Retinue did not answer for a minute. The run goes on all the same.
        """
        try:
            while True:
                text = patiently(self._read, on_wait=self._lost)
                view = self._latest = self._client.parsed(Assistant, text)
                self._display.update(view)
                if view.ended:
                    return view, text
                if self._interactive and self._prompted(view):
                    continue
                if self._only_a_person_can_go_on(view):
                    return view, text
                time.sleep(POLL)
        finally:
            self._display.pause()

    def _read(self) -> str:
        return self._client.text("GET", run_path(self._run_id))

    def _lost(self, why: str) -> None:
        if self._latest is None:
            self._reconnecting(why)
        else:
            self._display.update(self._latest, f"reconnecting: {why}")

    def _only_a_person_can_go_on(self, view: Assistant) -> bool:
        if view.status == "awaiting_input":
            return True
        return view.status == "awaiting_approval" and not any(step.status == "running" for step in view.steps)

    def _prompted(self, view: Assistant) -> bool:
        """Ask the person for all that waits and was not put off; whether anything was asked."""
        asked = [approval for approval in view.pending if approval.id not in self._later]
        if not asked and (view.status != "awaiting_input" or _question_id(view) in self._later):
            return False
        self._display.pause()
        for approval in asked:
            self._try(lambda approval=approval: self._decide(approval))  # type: ignore[misc]  # bound at once
        if not asked:
            self._try(lambda: self._answer(view))
        return True

    def _try(self, action: Callable[[], None]) -> None:
        """A refused decision is told and asked again as long as it waits; a lost connection is waited for."""
        try:
            action()
        except (Refused, WrongUsage, Unreachable) as error:
            say(str(error), "red")

    def _decide(self, approval: Approval) -> None:
        show_card(approval)
        match choice():
            case "approve":
                self._client.decide(self._run_id, approval, "approve")
            case "reject":
                comment = typed("Why not? The assistant gets to read it; empty for no comment: ")
                self._client.decide(self._run_id, approval, "reject", comment=comment or None)
            case "edit":
                if changed := edits.from_editor(approval):
                    send_edit(self._client, self._run_id, approval, changed)
            case _:
                self._later.add(approval.id)

    def _answer(self, view: Assistant) -> None:
        say("The assistant asks:", "bold yellow")
        say(view.question or "")
        if answer := typed("Your answer (empty for later): "):
            self._client.answer(self._run_id, answer)
        else:
            self._later.add(_question_id(view))


def _question_id(view: Assistant) -> str:
    return f"question: {view.question}"


def watch(client: RetinueClient, run_id: str, *, as_json: bool) -> ExitCode:
    """Follow a run and print how it came out."""
    watching = Watch(client, run_id, interactive=is_interactive() and not as_json)
    try:
        view, text = watching.follow()
    except KeyboardInterrupt:
        tell(
            f"The run goes on. Come back with `bin/retinue show {run_id} --follow`; stop it by `bin/retinue cancel {run_id}`."
        )
        return ExitCode.INTERRUPTED
    except CommandError as error:
        error.add_note(f"Come back with `bin/retinue show {run_id} --follow`.")
        raise
    if as_json:
        print(text)
    else:
        _outcome(view)
    return _exit_code(view)


def _outcome(view: Assistant) -> None:
    if not view.ended:
        show_what_waits(view)
        return
    if view.error:
        say(f"{view.error.type}: {view.error.message}", "red")
    if view.reply:
        say(view.reply)
    if not (view.error or view.reply):
        say(f"The run is {view.status}.")


def show_what_waits(view: Assistant) -> None:
    """Print all that waits for a person and how to go on."""
    for approval in view.pending:
        show_card(approval)
        show_ways_to_decide(view.id, approval)
    if view.status == "awaiting_input":
        say("The assistant asks:")
        say(view.question or "")
        say(f'  bin/retinue answer {view.id} "your answer"')
    say(f"Then come back with `bin/retinue show {view.id} --follow`.")


def _exit_code(view: Assistant) -> ExitCode:
    if not view.ended:
        return ExitCode.WAITS_FOR_PERSON
    return ExitCode.DONE if view.status == "completed" else ExitCode.FAILED


def follow_by_lines(
    client: RetinueClient, run_id: str, until: Callable[[Assistant], bool], deadline: float
) -> Assistant:
    """Print the run line by line until a condition holds; `deadline` is a time of `time.monotonic`.

    Raises:
        CommandError: The condition did not hold in time.
    """
    lines = Lines(say)
    while True:
        view = client.assistant(run_id)
        lines.update(view)
        if until(view):
            return view
        if view.ended or time.monotonic() > deadline:
            raise CommandError(f"the run did not come to the expected point; it is {view.status}")
        time.sleep(POLL)
