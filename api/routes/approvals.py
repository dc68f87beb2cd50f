"""The inbox: everything that waits for the caller's decision, over all runs."""

from fastapi import APIRouter

from api.deps import MyRuns, TheHouse
from api.errors import PROBLEMS
from api.models import Inbox, InboxItem
from workflows.messages import ApprovalStatus

router = APIRouter(prefix="/v1/approvals", tags=["approvals"], responses=PROBLEMS)


@router.get("", summary="What waits for a decision")
async def inbox(runs: MyRuns, kept: TheHouse) -> Inbox:
    """All pending approvals, oldest first."""
    views, unreadable = await runs.waiting_for_decision()
    items = [
        InboxItem(**dict(approval), assistant_id=view.id, request=view.message, links=kept.links(view.id))
        for view in views
        for approval in view.approvals
        if approval.status is ApprovalStatus.PENDING
    ]
    return Inbox(approvals=sorted(items, key=lambda item: item.asked_at), unreadable=unreadable)
