"""Watch a run: show its progress, and let the person decide and answer in the terminal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from rich.live import Live

from cli import edits, grants
from cli.ask import Reconnecting, send_once
from cli.cards import show_card, show_ways_to_decide
from cli.changes import Changes
from cli.connection import patiently
from cli.decide import confirm, find, send_edit
from cli.exits import CommandError, ExitCode, words_of
from cli.prompts import choice, is_interactive, typed
from cli.render import OUT, indented_id, progress, remarks, run_status, say, tell, undo_lines, waits_for
from retinue.client import Client, ClientError
from retinue.client.calls import Decision
from retinue.client.models import PENDING, Approval, Assistant
from retinue.step_order import in_order


class Display(Protocol):
    """Shows a run's progress."""

    def update(self, view: Assistant, note: str = "") -> None:
        """Show the newest view, with a note."""

    def pause(self) -> None:
        """Release the terminal until the next update."""


class LiveTable:
    """Shows the plan as a table that is redrawn in place."""

    def __init__(self) -> None:
        self._live: Live | None = None

    def update(self, view: Assistant, note: str = "") -> None:
        """Redraw."""
        if self._live is None:
            self._live = Live(console=OUT, auto_refresh=False)
            self._live.start()
        self._live.update(progress(view, note=note), refresh=True)

    def pause(self) -> None:
        """Stop redrawing the table."""
        if self._live is not None:
            self._live.stop()
        self._live = None


class Lines:
    """Prints one line per change, for pipes and logs, to standard error: standard output is for the answer."""

    def __init__(self, write: Callable[[str], None] = tell) -> None:
        self._write = write
        self._shown: dict[str, str] = {}

    def update(self, view: Assistant, note: str = "") -> None:
        """Print what is new."""
        self._line("", f"{view.id}: {run_status(view)}")
        done = {step.id for step in view.steps if step.status == "completed"}
        for step in in_order(view.steps):
            reason = waits_for(step, done)
            tries = f", attempt {step.attempts}" if step.attempts > 1 else ""
            word = f"{step.status.replace('_', ' ')}{tries}{f' ({reason})' if reason else ''}"
            after = f"after {', '.join(step.depends_on)}" if step.depends_on else ""
            self._line(step.id, f"  {indented_id(step):<4} {step.tool:<22} {after:<13} {word}")
        for text in [*remarks(view), *([note] if note else [])]:
            self._line(text, f"  {text}")

    def _line(self, key: str, text: str) -> None:
        if self._shown.get(key) != text:
            self._shown[key] = text
            self._write(text)

    def pause(self) -> None:
        """Do nothing."""


class Watch:
    """Follows one run until it ends or needs a person.

    Args:
        client: The client.
        assistant_id: The run.
        interactive: Whether a person can be prompted at the terminal.
        talks: Whether to prompt for the next message of a chat.
    """

    def __init__(self, client: Client, assistant_id: str, *, interactive: bool, talks: bool = True) -> None:
        self._client = client
        self._run_id = assistant_id
        self._interactive = interactive
        self._talks = talks and interactive
        self._display: Display = LiveTable() if interactive else Lines()
        self._later: set[str] = set()
        self._latest: Assistant | None = None
        self._reconnecting = Reconnecting()
        self._changes = Changes(client, assistant_id)

    def follow(self) -> Assistant:
        """Watch, prompting at a terminal. Returns the last view.

        Raises:
            Unreachable: Retinue did not answer for a minute. The run continues.
        """
        try:
            while True:
                view = self._latest = patiently(self._read, on_wait=self._lost)
                self._display.update(view)
                if view.ended:
                    return view
                if self._interactive and self._prompted(view):
                    continue
                if self._only_a_person_can_go_on(view):
                    return view
                self._changes.wait()
        finally:
            self._changes.close()
            self._display.pause()

    def _read(self) -> Assistant:
        return self._client.assistants.get(self._run_id)

    def _lost(self, why: str) -> None:
        if self._latest is None:
            self._reconnecting(why)
        else:
            self._display.update(self._latest, f"reconnecting: {why}")

    def _only_a_person_can_go_on(self, view: Assistant) -> bool:
        if view.status == "awaiting_input":
            return True
        busy = any(step.status == "running" or step.is_held for step in view.steps)
        return view.status == "awaiting_approval" and not busy

    def _prompted(self, view: Assistant) -> bool:
        """Prompt for everything pending that was not postponed; return whether there was a prompt."""
        if view.turn_is_over:
            return self._talks and self._talked(view)
        asked = [approval for approval in view.pending if _as_shown(approval) not in self._later]
        if not asked and (view.status != "awaiting_input" or _question_id(view) in self._later):
            return False
        self._display.pause()
        for approval in asked:
            self._try(lambda approval=approval: self._decide(approval, view))  # type: ignore[misc]  # bound at once
        if not asked:
            self._try(lambda: self._answer(view))
        return True

    def _talked(self, view: Assistant) -> bool:
        """Show a chat's answer and prompt for the next message; return False if the person leaves."""
        self._display.pause()
        _show_answer(view)
        if text := typed("You (empty to leave): "):
            self._try(lambda: self._say(text))
        return bool(text)

    def _say(self, text: str) -> None:
        send_once(lambda key: self._client.assistants.send_message(self._run_id, text, idempotency_key=key))

    def _try(self, action: Callable[[], None]) -> None:
        """Run an action and print its error; a pending approval is prompted again."""
        try:
            action()
        except (ClientError, CommandError) as error:
            say(words_of(error), "red")

    def _decide(self, approval: Approval, view: Assistant) -> None:
        show_card(approval, view)
        match choice(offered=approval.offer is not None):
            case "approve":
                self._wait_for_others(self._send(approval, "approve"), approval)
            case "grant":
                after = self._send(approval, "approve", grant={})
                self._wait_for_others(after, approval)
                if not after.waits_for_worker(approval.id):
                    grants.show_given(self._client, self._run_id, approval.id)
            case "reject":
                comment = typed("Comment for the assistant (empty for none): ")
                self._wait_for_others(self._send(approval, "reject", comment=comment or None), approval)
            case "edit":
                if changed := edits.from_editor(approval):
                    send_edit(self._client, self._run_id, approval, changed)
            case _:
                self._later.add(_as_shown(approval))

    def _send(self, approval: Approval, decision: Decision, **more: Any) -> Assistant:
        """Send a decision bound to what was shown."""
        return self._client.approvals.decide(self._run_id, approval.id, decision, args_hash=approval.args_hash, **more)

    def _wait_for_others(self, after: Assistant, approval: Approval) -> None:
        """Do not prompt again for an approval that needs more people or waits for a worker."""
        if after.waits_for_worker(approval.id):
            confirm(after, approval, "decided")
            self._later.add(_as_shown(approval))
            return
        now = find(after, approval.id)
        if now.status == PENDING and now.votes:
            say(f"{len(now.votes)} of {now.approvers} people have approved {now.id}; the others are pending.")
            self._later.add(_as_shown(now))

    def _answer(self, view: Assistant) -> None:
        say("The assistant asks:", "bold yellow")
        say(view.question or "")
        for number, option in enumerate(view.options, start=1):
            if not option.label:  # those with one are numbered in the question
                say(f"  {number}. {option.text}")
        if answer := _chosen(view, typed("Your answer (empty for later): ")):
            send_once(
                lambda key: self._client.assistants.send_message(
                    self._run_id, answer, question_id=view.question_id, idempotency_key=key
                )
            )
        else:
            self._later.add(_question_id(view))


def _chosen(view: Assistant, answer: str) -> str:
    """Return an answer; for the number of an offered one, its text."""
    number = int(answer) if answer.isdecimal() and len(answer) < 3 else 0
    return view.options[number - 1].text if 0 < number <= len(view.options) else answer


def _question_id(view: Assistant) -> str:
    return f"question: {view.question_id} {view.question}"


def _as_shown(approval: Approval) -> str:
    """Return an approval's identity: an edited one counts as new."""
    return f"{approval.id} {approval.args_hash}"


def watch(client: Client, assistant_id: str, *, as_json: bool, talks: bool = True) -> ExitCode:
    """Follow a run and print its outcome. At a terminal a chat continues message by message, if it `talks`."""
    interactive = is_interactive() and not as_json
    watching = Watch(client, assistant_id, interactive=interactive, talks=talks)
    try:
        view = watching.follow()
    except KeyboardInterrupt:
        tell(
            f"The assistant continues. Watch it: `bin/retinue show {assistant_id} --follow`; cancel it: `bin/retinue cancel {assistant_id}`."
        )
        return ExitCode.INTERRUPTED
    except (CommandError, ClientError) as error:
        error.add_note(f"Watch it again: `bin/retinue show {assistant_id} --follow`.")
        raise
    if as_json:
        print(view.json_text())
    else:
        _outcome(view, answered=interactive and talks and view.turn_is_over)
    return _exit_code(view)


def _outcome(view: Assistant, *, answered: bool = False) -> None:
    if not view.ended:
        show_what_waits(view, answered=answered)
        return
    _show_answer(view)
    for line in undo_lines(view.undo):
        say(line)
    if not (view.error or view.reply):
        say(f"The assistant has ended: {run_status(view)}.")


def _show_answer(view: Assistant) -> None:
    if view.error:
        say(f"{view.error.type}: {view.error.message}", "red")
    if view.reply:
        say(view.reply)
    elif view.turn_is_over and not view.error:
        say("(No answer.)", "dim")


def show_what_waits(view: Assistant, *, answered: bool = False) -> None:
    """Print everything pending and how to continue; `answered` is true if a chat's answer was already printed."""
    if view.turn_is_over:
        if not answered:
            _show_answer(view)
        tell(f'Reply: bin/retinue say {view.id} "..."; keep chatting: bin/retinue show {view.id} --follow')
        tell(f"The chat stays open; cancel it: bin/retinue cancel {view.id}")
        return
    for approval in view.pending:
        show_card(approval, view)
        show_ways_to_decide(view.id, approval)
    if view.status == "awaiting_input":
        say("The assistant asks:")
        say(view.question or "")
        say(f'  bin/retinue answer {view.id} "your answer"')
    say(f"Then watch it again: `bin/retinue show {view.id} --follow`.")


def _exit_code(view: Assistant) -> ExitCode:
    if view.turn_is_over:
        return ExitCode.FAILED if view.error else ExitCode.DONE
    if not view.ended:
        return ExitCode.WAITS_FOR_PERSON
    return ExitCode.DONE if view.status == "completed" else ExitCode.FAILED
