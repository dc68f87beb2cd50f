"""The inbox: pending approvals of one caller, over all runs."""

from __future__ import annotations

from api.auth.principals import Person
from api.services.links import LinksOf
from api.services.runs import Runs
from api.services.schemas import Inbox, InboxItem
from retinue.tenancy import may_decide
from workflows.messages import ApprovalStatus, ApprovalView, AssistantView

MOST = 200
"""Assistants on one page."""


async def waiting_for(runs: Runs, me: Person, links: LinksOf, *, limit: int = MOST, cursor: str | None = None) -> Inbox:
    """Return the pending approvals of a page of assistants, oldest first."""
    found = await runs.waiting_for_decision(limit=limit, cursor=cursor)
    recorded = await runs.recorded([view.id for view in found.views])
    items = [
        InboxItem(
            **{**dict(approval), "recorded": recorded.get((view.id, approval.id))},
            assistant_id=view.id,
            request=view.message,
            links=links(view.id),
        )
        for view in found.views
        for approval in view.approvals
        if approval.status is ApprovalStatus.PENDING and _is_for(me.owner, view, approval)
    ]
    return Inbox(
        approvals=sorted(items, key=lambda item: item.asked_at),
        unreadable=list(found.unreadable),
        waiting=found.assistants,
        next_cursor=found.next_cursor,
    )


def _is_for(name: str, view: AssistantView, approval: ApprovalView) -> bool:
    """Return whether this person may decide it and has not decided yet."""
    asked = may_decide(name, approval.by or [view.owner], owner=view.owner)
    return asked and name not in {vote.by for vote in approval.votes}
