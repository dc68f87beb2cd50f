"""The inbox: pending approvals of all assistants of the caller."""

from typing import Annotated

from fastapi import APIRouter, Query, Response

from api.auth.principals import Permission
from api.deps import Caller, MyRuns, State, needs
from api.errors import PROBLEMS, status_of
from api.http.etags import UNCHANGED, ListVersion
from api.idempotent_route import IdempotentAnswer, IdempotentRoute
from api.services.inbox import MOST, waiting_for
from api.services.runs import Runs
from api.services.schemas import BatchBody, BatchDecision, BatchOutcome, BatchOutcomes, Inbox
from retinue.errors import RetinueError

router = APIRouter(prefix="/v1/approvals", tags=["approvals"], responses=PROBLEMS, route_class=IdempotentRoute)
_KEPT = "no workflow worker answers: the decision is recorded and takes effect when one does"


@router.get(
    "",
    summary="List pending approvals",
    response_model=Inbox,
    responses=UNCHANGED,
    dependencies=[needs(Permission.READ)],
)
async def inbox(
    runs: MyRuns,
    state: State,
    me: Caller,
    known: ListVersion,
    limit: Annotated[int, Query(ge=0, le=MOST, description="assistants on this page; 0 only counts them")] = MOST,
    cursor: Annotated[str | None, Query(max_length=2000)] = None,
) -> Response:
    """Pending approvals, oldest first, of a page of assistants; the newest assistants are on the first page."""
    return known.or_else(await waiting_for(runs, me, state.links.run, limit=limit, cursor=cursor))


@router.post("", summary="Decide several approvals", dependencies=[needs(Permission.DECIDE)])
async def decide_all(body: BatchBody, runs: MyRuns, once: IdempotentAnswer) -> BatchOutcomes:
    """Record or refuse each decision separately, in the given order."""
    await once.claim(body)
    return BatchOutcomes(outcomes=[await _decide(runs, decision) for decision in body.decisions])


async def _decide(runs: Runs, wanted: BatchDecision) -> BatchOutcome:
    about = {"assistant_id": wanted.assistant_id, "approval_id": wanted.approval_id}
    try:
        counts = await runs.decide(wanted.assistant_id, wanted.approval_id, wanted)
    except RetinueError as error:
        return BatchOutcome(**about, recorded=False, status=status_of(error), detail=error.message)
    if not counts:
        return BatchOutcome(**about, recorded=True, status=202, detail=_KEPT)
    return BatchOutcome(**about, recorded=True, status=200)
