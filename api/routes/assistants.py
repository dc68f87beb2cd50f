"""Assistants: start, read, list, answer, decide, cancel."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, Response

from api.deps import LOCAL_OWNER, House, Key, MyRuns, TheHouse
from api.errors import PROBLEMS
from api.metrics import ASSISTANTS_STARTED, DECISIONS
from api.models import Assistant, AssistantPage, AssistantSummary, DecisionBody, MessageBody, StartBody
from api.runs import listed_message, listed_status, pending_approvals
from workflows.messages import AssistantStatus, AssistantView, Decide

router = APIRouter(prefix="/v1/assistants", tags=["assistants"], responses=PROBLEMS)
_CANCEL_WAIT = 3.0
ApprovalId = Annotated[str, Path(max_length=100)]
Wait = Annotated[float, Query(ge=0, le=30, description="wait so long for the run to end or to need a person")]


@router.post("", status_code=202, summary="Start an assistant")
async def start(body: StartBody, runs: MyRuns, kept: TheHouse, key: Key, response: Response) -> Assistant:
    """Turn a request in plain language into a run. The same `Idempotency-Key` and body give the same run, always."""
    claimed = None
    if key is not None:
        request = body.model_dump_json(exclude={"wait_seconds"}, exclude_defaults=True)
        claimed = await kept.keys.claim(owner=LOCAL_OWNER, key=key, body=request)
    view = await runs.start(body.message, timezone=body.timezone or kept.settings.retinue_timezone, claimed=claimed)
    ASSISTANTS_STARTED.inc()
    if body.wait_seconds:
        view = await runs.settled(view.id, seconds=body.wait_seconds, mine=True)
    response.headers["Location"] = f"/v1/assistants/{view.id}"
    return _shown(view, kept)


@router.get("", summary="List assistants")
async def list_assistants(
    runs: MyRuns,
    kept: TheHouse,
    status: AssistantStatus | None = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    cursor: Annotated[str | None, Query(max_length=2000)] = None,
) -> AssistantPage:
    """The caller's assistants, newest first."""
    executions, next_cursor = await runs.page(status=status, limit=limit, cursor=cursor)
    return AssistantPage(
        assistants=[
            AssistantSummary(
                id=execution.id,
                status=listed_status(execution),
                message=await listed_message(execution),
                pending_approvals=pending_approvals(execution),
                started_at=execution.start_time,
                finished_at=execution.close_time,
                links=kept.links(execution.id),
            )
            for execution in executions
        ],
        next_cursor=next_cursor,
    )


@router.get("/{assistant_id}", summary="Read an assistant")
async def read(assistant_id: str, runs: MyRuns, kept: TheHouse, wait_seconds: Wait = 0) -> Assistant:
    """The whole view: plan, approvals, answer."""
    view = await (runs.settled(assistant_id, seconds=wait_seconds) if wait_seconds else runs.view(assistant_id))
    return _shown(view, kept)


@router.post("/{assistant_id}/messages", status_code=202, summary="Answer the assistant's question")
async def send_message(assistant_id: str, body: MessageBody, runs: MyRuns, kept: TheHouse) -> Assistant:
    """Answer while the status is `awaiting_input`."""
    await runs.send_message(assistant_id, body.message)
    return _shown(await _after(runs, assistant_id, body.wait_seconds), kept)


@router.post("/{assistant_id}/cancel", status_code=202, summary="Stop an assistant")
async def cancel(assistant_id: str, runs: MyRuns, kept: TheHouse) -> Assistant:
    """Stop a run. What is done stays done; what has not begun never will."""
    await runs.cancel(assistant_id)
    return _shown(await runs.settled(assistant_id, seconds=_CANCEL_WAIT, mine=True), kept)


@router.post("/{assistant_id}/approvals/{approval_id}", summary="Decide an approval", tags=["approvals"])
async def decide(
    assistant_id: str, approval_id: ApprovalId, body: DecisionBody, runs: MyRuns, kept: TheHouse
) -> Assistant:
    """Approve, reject or edit a pending action.

    A 200 says that the decision is recorded. Whether the action is done stands in the step's status.
    """
    decision = Decide(
        approval_id=approval_id,
        decision=body.decision,
        args_hash=body.args_hash,
        args=body.args,
        comment=body.comment,
        by=LOCAL_OWNER,
    )
    await runs.decide(assistant_id, decision)
    DECISIONS.labels(body.decision).inc()
    return _shown(await _after(runs, assistant_id, body.wait_seconds), kept)


async def _after(runs: MyRuns, assistant_id: str, wait_seconds: float) -> AssistantView:
    if wait_seconds:
        return await runs.settled(assistant_id, seconds=wait_seconds, mine=True)
    return await runs.view(assistant_id)


def _shown(view: AssistantView, kept: House) -> Assistant:
    return Assistant(**dict(view), links=kept.links(view.id))
