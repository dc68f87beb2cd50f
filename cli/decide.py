"""Deciding what waits: find the approval, show it, send a decision that is bound to what was shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pydantic import JsonValue

from cli import edits, grants
from cli.cards import show_card, show_preview
from cli.client import RetinueClient
from cli.exits import Refused, WrongUsage
from cli.render import say
from cli.views import PENDING, Approval, Assistant


def find(view: Assistant, approval_id: str | None) -> Approval:
    """The approval that is meant; the id may be left out when exactly one waits.

    Raises:
        WrongUsage: It was left out and none or several wait.
        Refused: There is none of that id.
    """
    waiting = ", ".join(approval.id for approval in view.pending) or "none"
    if approval_id is None:
        if len(view.pending) != 1:
            raise WrongUsage(f"say which approval is meant; waiting: {waiting}")
        return view.pending[0]
    for approval in view.approvals:
        if approval.id == approval_id:
            return approval
    raise Refused(f"there is no approval {approval_id!r} in {view.id}; waiting: {waiting}", status=404)


def decide(
    client: RetinueClient,
    run_id: str,
    approval_id: str | None,
    decision: str,
    *,
    comment: str | None = None,
    args_hash: str | None = None,
    grant: Mapping[str, JsonValue] | None = None,
) -> None:
    """Approve or reject: print what is decided, then send it with the hash of exactly that.

    Args:
        client: Where to.
        run_id: The run.
        approval_id: The approval, or None for the only one that waits.
        decision: `approve` or `reject`.
        comment: For the run's record; with a rejection the assistant gets to read it.
        args_hash: Of what the person saw earlier, where that is not what is printed now.
        grant: With `approve`: allow the like from now on, within these limits.
    """
    view = client.assistant(run_id)
    approval = find(view, approval_id)
    show_card(approval, view)
    after = client.decide(run_id, approval, decision, comment=comment, args_hash=args_hash, grant=grant)
    confirm(after, approval, "approved" if decision == "approve" else "rejected")
    if grant is not None:
        grants.show_given(client, run_id, approval.id)


def edit(
    client: RetinueClient,
    run_id: str,
    approval_id: str | None,
    *,
    args: str | None,
    settings: Sequence[str],
    comment: str | None = None,
) -> None:
    """Approve with other arguments, from JSON, from pairs, or from the person's editor.

    Raises:
        WrongUsage: The new arguments cannot be read.
    """
    view = client.assistant(run_id)
    approval = find(view, approval_id)
    if args is not None:
        changed: edits.Arguments | None = edits.from_json(args)
    elif settings:
        changed = edits.from_settings(approval, settings)
    else:
        show_card(approval, view)
        changed = edits.from_editor(approval)
    if changed is None:
        say("Nothing was changed, so nothing was sent. To approve it as it is, use `bin/retinue approve`.")
        return
    send_edit(client, run_id, approval, changed, comment=comment)


def send_edit(
    client: RetinueClient, run_id: str, approval: Approval, args: edits.Arguments, *, comment: str | None = None
) -> None:
    """Send new arguments and print the action as it stands after that."""
    after = client.decide(run_id, approval, "edit", args=args, comment=comment)
    show_preview(find(after, approval.id))
    confirm(after, approval, "approved as changed")


def confirm(after: Assistant, approval: Approval, word: str) -> None:
    """Say what is recorded: the decision. Whether the action is done is the step's matter."""
    now = find(after, approval.id)
    if now.status == PENDING and now.votes:
        say(f"{approval.id} is {word} by {len(now.votes)} of {now.approvers} people; it waits for the others.")
        return
    say(f"{approval.id} is {word}. The run is {after.status.replace('_', ' ')}; see `bin/retinue show {after.id}`.")
