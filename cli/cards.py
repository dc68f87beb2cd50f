"""Cards: everything a person must see before deciding, from the API's data and never a model's description."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from rich.panel import Panel

from cli.render import OUT, ahead, plain, say, used_words, when
from retinue.client.models import Approval, Assistant, Offer
from retinue.provenance.wording import undo_words

ANYBODY = "*"
_AT_EXPIRY = {
    "deny": "then it is denied",
    "allow": "then it is allowed",
    "wait": "then it is overdue and stays pending",
}


def show_preview(approval: Approval) -> None:
    """Print the API's preview of the action: its real arguments, never a model's description."""
    if OUT.is_terminal:
        OUT.print(Panel(plain(approval.preview), title=plain(f"{approval.id}  {approval.tool}"), expand=False))
    else:
        say(f"approval {approval.id} ({approval.tool})")
        say(approval.preview)


def show_card(approval: Approval, view: Assistant | None = None) -> None:
    """Print an approval: the action, the reasons, the origins of its values, who decides.

    Args:
        approval: The approval.
        view: Its run, if available, for more details.
    """
    show_preview(approval)
    for line in _why(approval, view):
        say(line)
    for origin in approval.card.origins if approval.card else ():
        value = f" {origin.value}" if origin.value else ""
        say(f"  {origin.label}{value}: {origin.words}", "" if origin.trusted else "yellow")
    for line in (*_undo(approval), *_people(approval), *_times(approval)):
        say(line)
    if approval.offer:
        say(offer_words(approval.tool, approval.offer), "bold")


def _why(approval: Approval, view: Assistant | None) -> Iterator[str]:
    if approval.reasons:
        intro = "Used up:" if approval.kind == "budget" else "Asked because"
        yield f"{intro} {'; '.join(approval.reasons)}."
    if approval.kind == "plan" and view and view.plan and view.plan.card:
        yield f"At most it uses {used_words(view.plan.card.worst_case)}."


def _undo(approval: Approval) -> Iterator[str]:
    if approval.card and (words := undo_words(approval.card.undo, approval.reasons)):
        yield words


def _people(approval: Approval) -> Iterator[str]:
    """Yield who approved, how many are needed, who may decide."""
    if approval.approvers > 1:
        named = f": {', '.join(vote.by for vote in approval.votes)}" if approval.votes else ""
        yield f"{len(approval.votes)} of {approval.approvers} people have approved{named}."
    if approval.by or approval.not_the_requester:
        who = "anyone" if ANYBODY in approval.by else ", ".join(approval.by) or "another person"
        yield f"May decide: {who}{', but not the requester' if approval.not_the_requester else ''}."


def _times(approval: Approval) -> Iterator[str]:
    if approval.expires_at and approval.overdue:
        yield f"Overdue since {when(approval.expires_at)}; still pending."
    elif approval.expires_at:
        then = _AT_EXPIRY.get(approval.at_expiry or "", "then it is closed")
        yield f"Expires {ahead(approval.expires_at)} ({when(approval.expires_at)}); {then}."
    if approval.reminded_at:
        yield f"Reminders so far: {approval.reminders}, the last {when(approval.reminded_at)}."
    if approval.escalated_at:
        yield f"Escalated {when(approval.escalated_at)}."


def offer_words(tool: str, offer: Offer) -> str:
    """Describe an offered grant, with the code that will apply it."""
    # imported here: other commands do not need the rules and their libraries
    from workflows.rules.grants import EQUAL_APPROVALS, Grant, describe

    grant = Grant(grant_id="offered", tool=tool, args=offer.args, closed=offer.closed, created_at=datetime.now(UTC))
    allowed = describe(grant).removeprefix("Allowed: ")
    return f"You have approved this {EQUAL_APPROVALS} times. --from-now-on will allow: {allowed}."


def show_ways_to_decide(assistant_id: str, approval: Approval) -> None:
    """Print the commands that decide an approval, bound to the arguments shown above."""
    named = f"{assistant_id} {approval.id}"
    say(f"  bin/retinue approve {named} --args-hash {approval.args_hash}")
    if approval.offer:
        say(f"  bin/retinue approve {named} --args-hash {approval.args_hash} --from-now-on")
    say(f'  bin/retinue reject {named} --comment "why not"')
    if approval.kind == "repeat":
        return  # it can only be repeated unchanged, or not
    say(f"  bin/retinue edit {named}{'' if approval.kind == 'plan' else ' --set NAME=VALUE'}")
