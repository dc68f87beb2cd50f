"""Assistants: start, read, list, send messages, decide, cancel, undo, fork."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Header, Path, Query, Response
from fastapi.responses import PlainTextResponse

from api.auth.principals import Permission
from api.deps import AppState, MyRuns, State, needs
from api.errors import PROBLEMS
from api.http.etags import UNCHANGED, ListVersion, matches
from api.idempotent_route import REPLAYED, IdempotentAnswer, IdempotentRoute, Repeated
from api.services.receipts import Receipt, as_text, make_receipt
from api.services.run_list import listed_message, listed_outcome, listed_owner, listed_status, pending_approvals
from api.services.schemas import (
    Assistant,
    AssistantPage,
    AssistantSummary,
    CancelBody,
    ChoiceBody,
    DecisionBody,
    ForkBody,
    MessageBody,
    StartBody,
    UndoBody,
)
from api.services.view_version import says_everything, tag
from workflows.messages import AssistantStatus, AssistantView, MessagePage, SendMessage

router = APIRouter(prefix="/v1/assistants", tags=["assistants"], responses=PROBLEMS, route_class=IdempotentRoute)
_CANCEL_WAIT = 3.0
_KEPT: dict[int | str, dict[str, Any]] = {
    202: {"model": Assistant, "description": "Recorded; it takes effect when a workflow worker answers."}
}
Accept = Annotated[str, Header(max_length=500)]
StepId = Annotated[str, Path(max_length=100)]
ApprovalId = Annotated[str, Path(max_length=100)]
Wait = Annotated[float, Query(ge=0, le=30, description="wait this long for the assistant to end or to need a person")]


@router.post("", status_code=202, summary="Start an assistant", dependencies=[needs(Permission.ASK)])
async def start(body: StartBody, runs: MyRuns, state: State, once: IdempotentAnswer, response: Response) -> Assistant:
    """Start an assistant from a message in plain language. The same `Idempotency-Key` and body give the same assistant."""
    try:
        claimed = await once.claim(body, fingerprint="")
    except Repeated as first:
        if (view := await runs.failed_at_once(first.claim.assistant_id)) is None:
            raise
        response.headers[REPLAYED] = "true"
        return _shown(view, state)  # acknowledged but never started, which the first answer could not know
    view = await runs.start(body, timezone=body.timezone or state.settings.retinue_timezone, claimed=claimed)
    if body.wait_seconds:
        view = await runs.settled(view.id, seconds=body.wait_seconds, mine=claimed is None or not claimed.repeated)
    response.headers["Location"] = f"/v1/assistants/{view.id}"
    return _shown(view, state)


@router.get(
    "",
    summary="List assistants",
    response_model=AssistantPage,
    responses=UNCHANGED,
    dependencies=[needs(Permission.READ)],
)
async def list_assistants(
    runs: MyRuns,
    state: State,
    known: ListVersion,
    status: AssistantStatus | None = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    cursor: Annotated[str | None, Query(max_length=2000)] = None,
    mine: Annotated[
        bool, Query(description="for an auditor: only their own assistants; others never see more")
    ] = False,
) -> Response:
    """List the caller's assistants, newest first; an auditor sees all of their organisation."""
    executions, next_cursor = await runs.page(status=status, limit=limit, cursor=cursor, mine=mine)
    page = AssistantPage(
        assistants=[
            AssistantSummary(
                id=execution.id,
                status=listed_status(execution),
                message=await listed_message(execution),
                pending_approvals=pending_approvals(execution),
                started_at=execution.start_time,
                finished_at=execution.close_time,
                links=state.links.run(execution.id),
                owner=listed_owner(execution),
                outcome=listed_outcome(execution),
            )
            for execution in executions
        ],
        next_cursor=next_cursor,
    )
    return known.or_else(page)


@router.get(
    "/{assistant_id}",
    summary="Read an assistant",
    response_model=Assistant,
    responses={304: {"description": "Not modified since `If-None-Match`."}},
    dependencies=[needs(Permission.READ)],
)
async def read(
    assistant_id: str,
    runs: MyRuns,
    state: State,
    response: Response,
    wait_seconds: Wait = 0,
    if_none_match: Annotated[str | None, Header(description="the `ETag` of an earlier answer")] = None,
) -> Assistant | Response:
    """Return the view: plan, approvals, answer. With `If-None-Match` an unchanged view costs almost nothing."""
    if wait_seconds:
        return _shown(await runs.settled(assistant_id, seconds=wait_seconds), state)
    description = await runs.readable(assistant_id)
    now = await tag(state.client, state.keys, description)
    if matches(now, if_none_match):
        return Response(status_code=304, headers={"ETag": now})
    view = await runs.view_of(description)
    if says_everything(view):
        response.headers["ETag"] = now
    return _shown(view, state)


@router.get(
    "/{assistant_id}/receipt",
    summary="Read a receipt",
    response_model=Receipt,
    responses={200: {"content": {"text/plain": {}}}},
    dependencies=[needs(Permission.READ)],
)
async def receipt(assistant_id: str, runs: MyRuns, accept: Accept = "") -> Receipt | PlainTextResponse:
    """Return what the assistant did, who allowed it, on which data, at what cost, and how to undo it.

    JSON by default; `Accept: text/plain` gives text.
    """
    made = make_receipt(await runs.view(assistant_id))
    if "text/plain" in accept:
        return PlainTextResponse(as_text(made))
    return made


@router.get("/{assistant_id}/messages", summary="List messages", dependencies=[needs(Permission.READ)])
async def messages(
    assistant_id: str,
    runs: MyRuns,
    before: Annotated[int, Query(ge=0, le=10_000_000, description="return messages before this position")] = 10_000_000,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
) -> MessagePage:
    """Return the messages before a position, in order; without a position the last ones."""
    return await runs.messages(assistant_id, before=before, limit=limit)


@router.post(
    "/{assistant_id}/messages",
    status_code=202,
    summary="Send a message or an answer",
    dependencies=[needs(Permission.ASK)],
)
async def send_message(
    assistant_id: str, body: MessageBody, runs: MyRuns, state: State, once: IdempotentAnswer
) -> Assistant:
    """Send the next message of a chat, or the answer while the status is `awaiting_input`.

    With an `Idempotency-Key` a repeated message is read once.
    """
    await once.claim(body)
    await runs.send_message(assistant_id, SendMessage(text=body.message, key=once.key, question_id=body.question_id))
    return _shown(await runs.after(assistant_id, seconds=body.wait_seconds), state)


@router.post(
    "/{assistant_id}/cancel", status_code=202, summary="Cancel an assistant", dependencies=[needs(Permission.ASK)]
)
async def cancel(
    assistant_id: str, runs: MyRuns, state: State, once: IdempotentAnswer, body: CancelBody | None = None
) -> Assistant:
    """Cancel an assistant. No further step starts; completed effects stay unless `undo` is set.

    `undo` needs the permission `decide`, since it approves the actions that undo effects.
    """
    await once.claim(body)
    await runs.cancel(assistant_id, undo=body is not None and body.undo)
    return _shown(await runs.settled(assistant_id, seconds=_CANCEL_WAIT, mine=True), state)


@router.post(
    "/{assistant_id}/undo",
    status_code=202,
    summary="Undo an ended assistant",
    dependencies=[needs(Permission.DECIDE)],
)
async def undo(
    assistant_id: str, runs: MyRuns, state: State, once: IdempotentAnswer, body: UndoBody | None = None
) -> Assistant:
    """Undo the effects of an ended assistant, last first. `undo` in the view says what was undone and what cannot be."""
    await once.claim(body)
    return _shown(await runs.undo(assistant_id, seconds=(body or UndoBody()).wait_seconds), state)


@router.post(
    "/{assistant_id}/fork",
    status_code=202,
    summary="Fork an assistant from a step",
    dependencies=[needs(Permission.ASK)],
)
async def fork(
    assistant_id: str, body: ForkBody, runs: MyRuns, state: State, once: IdempotentAnswer, response: Response
) -> Assistant:
    """Start a new assistant from a step of an earlier one. Completed steps are kept and not repeated."""
    claimed = await once.claim(body, fingerprint=f"fork {assistant_id}")
    view = await runs.fork(assistant_id, body, claimed=claimed)
    if body.wait_seconds:
        view = await runs.settled(view.id, seconds=body.wait_seconds, mine=True)
    response.headers["Location"] = f"/v1/assistants/{view.id}"
    return _shown(view, state)


@router.post(
    "/{assistant_id}/steps/{step_id}",
    summary="Decide about a step without a worker or an account",
    responses=_KEPT,
    dependencies=[needs(Permission.ASK)],
)
async def choose(
    assistant_id: str,
    step_id: StepId,
    body: ChoiceBody,
    runs: MyRuns,
    state: State,
    once: IdempotentAnswer,
    response: Response,
) -> Assistant:
    """Keep waiting, skip the step or let it fail, while its status is `awaiting_worker` or `awaiting_account`.

    A 202 means that no workflow worker answers: the choice is stored, as a decision about an approval is.
    """
    await once.claim(body)
    if not await runs.choose(assistant_id, step_id, body.choice):
        response.status_code = HTTPStatus.ACCEPTED
        return _shown(await runs.view_without_worker(assistant_id), state)
    return _shown(await runs.view(assistant_id), state)


@router.post(
    "/{assistant_id}/approvals/{approval_id}",
    summary="Decide an approval",
    tags=["approvals"],
    responses=_KEPT,
    dependencies=[needs(Permission.DECIDE)],
)
async def decide(
    assistant_id: str,
    approval_id: ApprovalId,
    body: DecisionBody,
    runs: MyRuns,
    state: State,
    once: IdempotentAnswer,
    response: Response,
) -> Assistant:
    """Approve, reject or edit a pending action.

    200: the decision is recorded; the step's status says whether the action is done. 202: no workflow worker answers; the
    decision is recorded and takes effect when one does, or is refused then if it no longer applies.
    """
    await once.claim(body)
    counts = await runs.decide(assistant_id, approval_id, body)
    if not counts:
        response.status_code = HTTPStatus.ACCEPTED
        return _shown(await runs.view_without_worker(assistant_id), state)
    return _shown(await runs.after(assistant_id, seconds=body.wait_seconds), state)


def _shown(view: AssistantView, state: AppState) -> Assistant:
    return Assistant(**dict(view), links=state.links.run(view.id))
