"""Decide approvals: find one, show it, send a decision bound to what was shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pydantic import JsonValue

from cli import edits, grants
from cli.cards import show_card, show_preview
from cli.exits import CommandError, WrongUsage
from cli.render import say, tell
from retinue.client import Client
from retinue.client.calls import Decision
from retinue.client.models import PENDING, Approval, Assistant

WAITS = "Your decision about {} is recorded and takes effect when one does. You are notified if it no longer applies."


def find(view: Assistant, approval_id: str | None) -> Approval:
    """Return the approval; without an id the only pending one.

    Raises:
        WrongUsage: The id is missing and none or several are pending.
        CommandError: There is no such approval.
    """
    waiting = ", ".join(approval.id for approval in view.pending) or "none"
    if approval_id is None:
        if len(view.pending) != 1:
            raise WrongUsage(f"name the approval; pending: {waiting}")
        return view.pending[0]
    for approval in view.approvals:
        if approval.id == approval_id:
            return approval
    raise CommandError(f"there is no approval {approval_id!r} in {view.id}; pending: {waiting}")


def decide(
    client: Client,
    assistant_id: str,
    approval_id: str | None,
    decision: Decision,
    *,
    comment: str | None = None,
    args_hash: str | None = None,
    grant: Mapping[str, JsonValue] | None = None,
    as_json: bool = False,
) -> None:
    """Approve or reject: print the action, then send the decision with its hash.

    Args:
        client: The client.
        assistant_id: The run.
        approval_id: The approval, or None for the only pending one.
        decision: `approve` or `reject`.
        comment: Recorded; the assistant reads it with a rejection.
        args_hash: The hash that the person saw earlier, if not the one printed now.
        grant: With `approve`: also create a grant with these limits.
        as_json: Print only the resulting run.
    """
    view = client.assistants.get(assistant_id)
    if approval_id and args_hash and not view.approvals:
        _decide_unseen(client, assistant_id, approval_id, decision, comment=comment, args_hash=args_hash, grant=grant)
        return
    approval = find(view, approval_id)
    shown = args_hash or approval.args_hash
    if not as_json:
        show_card(approval, view)
    after = client.approvals.decide(assistant_id, approval.id, decision, args_hash=shown, comment=comment, grant=grant)
    if as_json:
        print(after.json_text())
        return
    confirm(after, approval, "approved" if decision == "approve" else "rejected")
    if grant is not None:
        grants.show_given(client, assistant_id, approval.id)


def _decide_unseen(
    client: Client,
    assistant_id: str,
    approval_id: str,
    decision: Decision,
    *,
    comment: str | None,
    args_hash: str,
    grant: Mapping[str, JsonValue] | None,
) -> None:
    """Decide an approval that was shown before: no workflow worker answers, so it cannot be shown now."""
    after = client.approvals.decide(
        assistant_id, approval_id, decision, args_hash=args_hash, comment=comment, grant=grant
    )
    for notice in after.notices:
        say(notice)


def edit(
    client: Client,
    assistant_id: str,
    approval_id: str | None,
    *,
    args: str | None,
    settings: Sequence[str],
    comment: str | None = None,
    as_json: bool = False,
) -> None:
    """Approve with changed arguments, from JSON, from pairs, or from the person's editor.

    Raises:
        WrongUsage: The arguments are invalid.
    """
    view = client.assistants.get(assistant_id)
    approval = find(view, approval_id)
    if args is not None:
        changed: edits.Arguments | None = edits.from_json(args)
    elif settings:
        changed = edits.from_settings(approval, settings)
    else:
        show_card(approval, view)
        changed = edits.from_editor(approval)
    if changed is None:
        tell("Nothing was changed, so nothing was sent. To approve it as it is, use `bin/retinue approve`.")
        return
    send_edit(client, assistant_id, approval, changed, comment=comment, as_json=as_json)


def send_edit(
    client: Client,
    assistant_id: str,
    approval: Approval,
    args: edits.Arguments,
    *,
    comment: str | None = None,
    as_json: bool = False,
) -> None:
    """Send changed arguments and print the resulting action, or the run as JSON."""
    after = client.approvals.decide(
        assistant_id, approval.id, "edit", args_hash=approval.args_hash, args=args, comment=comment
    )
    if as_json:
        print(after.json_text())
        return
    if not after.waits_for_worker(approval.id):
        show_preview(find(after, approval.id))
    confirm(after, approval, "approved as changed")


def confirm(after: Assistant, approval: Approval, word: str) -> None:
    """Print the recorded decision. The step's status says whether the action is done."""
    if after.waits_for_worker(approval.id):
        say(f"No workflow worker answers at the moment. {WAITS.format(approval.id)}", "yellow")
        return
    now = find(after, approval.id)
    if now.status == PENDING and now.votes:
        say(f"{approval.id} is {word} by {len(now.votes)} of {now.approvers} people; the others are pending.")
        return
    say(
        f"{approval.id} is {word}. The assistant is {after.status.replace('_', ' ')}; see `bin/retinue show {after.id}`."
    )
