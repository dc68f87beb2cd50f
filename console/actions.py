"""Form handlers: plain forms that work without scripts, each sent on to the public API.

Forms of other sites' pages are already refused by `api.http.same_origin` and `own_form`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, TypeGuard, get_args

import httpx
from fastapi import APIRouter, Request, Response
from pydantic import JsonValue

from console import words
from console.caller import Retinue, exchange, forget
from console.forms import Unreadable, arguments
from console.pages import (
    missing,
    planned_steps,
    show_account,
    show_decision,
    show_fork,
    show_model,
    show_schedules,
    show_triggers,
    tools,
)
from console.rendering import page
from console.submitted import Form, errors_by_field, form_fields, own_path, redirect
from retinue.client import AsyncClient, Conflict, InvalidArguments, NotFound, OneDecision
from retinue.client.calls import Choice, Decision, FactKind
from retinue.client.models import Approval

router = APIRouter(include_in_schema=False)
_AT_ONCE = 50
"""Maximum decisions in one API request."""
_MOST_USES = 1000
_LONGEST_GRANT = 365
"""Days."""
_WAIT = 1.0
"""Seconds to wait for the outcome before the page shows the progress."""


def _is_choice(text: str) -> TypeGuard[Choice]:
    return text in get_args(Choice)


def _is_fact_kind(text: str) -> TypeGuard[FactKind]:
    return text in get_args(FactKind)


def _is_decision(text: str) -> TypeGuard[Decision]:
    return text in get_args(Decision)


@router.post("/talk")
async def ask(client: Retinue, form: Form) -> Response:
    """Start an assistant."""
    message = form.get("message", "").strip()
    if not message:
        return redirect("/")
    started = await client.assistants.start(
        message,
        mode="chat",
        timezone=form.get("timezone") or None,
        preview=True if form.get("preview") else None,
        idempotency_key=form.get("key") or None,
    )
    return redirect(f"/assistants/{started.id}")


@router.post("/assistants/{assistant_id}/say")
async def say(client: Retinue, assistant_id: str, form: Form) -> Response:
    """Send a message or an answer."""
    message = form.get("message", "").strip()
    if message:
        await client.assistants.send_message(
            assistant_id,
            message,
            question_id=form.get("question_id") or None,
            idempotency_key=form.get("key") or None,
        )
    return redirect(f"/assistants/{assistant_id}")


@router.post("/assistants/{assistant_id}/cancel")
async def cancel(client: Retinue, assistant_id: str, form: Form) -> Response:
    """Cancel an assistant; with `undo` also undo its effects."""
    await client.assistants.cancel(assistant_id, undo=bool(form.get("undo")))
    return redirect(f"/assistants/{assistant_id}", "stopped")


@router.post("/assistants/{assistant_id}/undo")
async def undo(client: Retinue, assistant_id: str) -> Response:
    """Undo an ended assistant."""
    await client.assistants.undo(assistant_id)
    return redirect(f"/assistants/{assistant_id}", "undone")


@router.post("/assistants/{assistant_id}/choose")
async def choose(client: Retinue, assistant_id: str, form: Form) -> Response:
    """Decide about a step without a worker."""
    choice = form.get("choice", "")
    if _is_choice(choice):
        await client.assistants.choose(assistant_id, form.get("step", ""), choice)
    return redirect(f"/assistants/{assistant_id}")


@router.post("/assistants/{assistant_id}/fork")
async def fork(request: Request, client: Retinue, assistant_id: str, form: Form) -> Response:
    """Fork an assistant from a step, with another message or other arguments."""
    view = await client.assistants.get(assistant_id)
    step = next((one for one in view.steps if one.id == form.get("step")), None)
    if step is None:
        return redirect(f"/assistants/{assistant_id}")
    tool = (await tools(client)).get(step.tool)
    message = form.get("message", "").strip()
    try:
        changed = arguments(tool.args_schema, step.args, form) if tool else step.args
        new = await client.assistants.fork(
            assistant_id,
            step.id,
            message=message if message and message != view.message else None,
            args=changed if changed != step.args else None,
            idempotency_key=form.get("key") or None,
        )
    except (Unreadable, InvalidArguments) as error:
        errors = errors_by_field(error, "/args")
        return await show_fork(request, client, view, step.id, filled=form, errors=errors)
    return redirect(f"/assistants/{new.id}")


@router.post("/approvals/{assistant_id}/{approval_id}")
async def decide(request: Request, client: Retinue, assistant_id: str, approval_id: str, form: Form) -> Response:
    """Decide an approval, bound to exactly the arguments that the page showed."""
    decision = form.get("decision", "")
    view = await client.assistants.get(assistant_id) if decision == "edit" else None
    approval = next((one for one in view.approvals if one.id == approval_id), None) if view else None
    if not _is_decision(decision) or (view and approval is None):
        return await missing(request, client, "There is no such decision")
    try:
        after = await client.approvals.decide(
            assistant_id,
            approval_id,
            decision,
            args_hash=form.get("args_hash", ""),
            args=await _edited(client, approval, form) if approval and decision == "edit" else None,
            comment=form.get("comment", "").strip() or None,
            grant=_grant(form) if decision != "reject" else None,
            wait_seconds=_WAIT,
        )
    except NotFound:
        return await missing(request, client, "There is no such decision")
    except (Unreadable, InvalidArguments) as error:
        if view is None:
            raise
        errors = errors_by_field(error, "/args")
        return await show_decision(request, client, view, approval_id, edit=True, filled=form, errors=errors)
    recorded = "kept" if after.waits_for_worker(approval_id) else decision
    return redirect(form.get("back") or f"/assistants/{assistant_id}", recorded)


async def _edited(client: AsyncClient, approval: Approval, form: Mapping[str, str]) -> dict[str, JsonValue]:
    """Return the arguments from the form: those of an action, or of the selected steps of a plan."""
    if approval.kind != "plan":
        return arguments(approval.args_schema, approval.args, form)
    known = await tools(client)
    steps: list[JsonValue] = []
    for step_id, tool, args in planned_steps(approval):
        if form.get(f"keep-{step_id}"):
            spec = known.get(tool)
            written = arguments(spec.args_schema, args, form, at=f"/{step_id}") if spec else args
            steps.append({"id": step_id, "tool": tool, "args": written})
    return {"steps": steps}


def _grant(form: Mapping[str, str]) -> dict[str, Any] | None:
    """Return the limits of a grant, if requested. Its scope is the approved action, as offered."""
    if not form.get("grant"):
        return None
    wish: dict[str, Any] = {}
    if uses := form.get("uses", "").strip():
        wish["uses"] = _count(uses, "how often", most=_MOST_USES)
    if days := form.get("days", "").strip():
        ends = datetime.now(UTC) + timedelta(days=_count(days, "for how many days", most=_LONGEST_GRANT))
        wish["expires_at"] = ends.isoformat()
    if also_for := [name for name in ("schedules", "keys") if form.get(f"also-{name}")]:
        wish["also_for"] = also_for
    return wish


def _count(text: str, about: str, *, most: int) -> int:
    """Parse a number from 1 to `most`. An invalid limit is an error and never ignored."""
    if not text.isdecimal() or len(text) > 9 or not 1 <= int(text) <= most:
        raise Unreadable({"": f"{about}: write a whole number from 1 to {most}, or leave it empty for no limit"})
    return int(text)


@router.post("/approvals")
async def decide_all(request: Request, client: Retinue) -> Response:
    """Make the same decision for all selected approvals, each bound to its own arguments."""
    fields = await form_fields(request)
    decision = dict(fields).get("decision", "")
    picked = [value.split("|") for name, value in fields if name == "pick" and value.count("|") == 2]
    if not picked or decision == "edit" or not _is_decision(decision):
        return redirect("/approvals", "none")
    refused = []
    for first in range(0, len(picked), _AT_ONCE):
        decisions = [
            OneDecision(assistant_id=assistant_id, approval_id=approval_id, decision=decision, args_hash=args_hash)
            for assistant_id, approval_id, args_hash in picked[first : first + _AT_ONCE]
        ]
        outcomes = (await client.approvals.decide_all(decisions)).outcomes
        refused += [one for one in outcomes if not one.recorded]
    if not refused:
        return redirect("/approvals", decision)
    return await page(
        request,
        "problem.html",
        client,
        title=f"{len(refused)} of {len(picked)} were not recorded",
        here="/approvals",
        detail=" ".join(dict.fromkeys(one.detail or "" for one in refused)),
        again=None,
        back="/approvals",
        code=409,
    )


@router.post("/grants/{grant_id}/revoke")
async def revoke(client: Retinue, grant_id: str) -> Response:
    """Revoke a grant."""
    await client.grants.revoke(grant_id)
    return redirect("/grants", "revoked")


@router.post("/memory")
async def remember(client: Retinue, form: Form) -> Response:
    """Remember a fact in the person's words."""
    kind = form.get("kind", "")
    if text := form.get("text", "").strip():
        await client.memory.remember(
            text, kind=kind if _is_fact_kind(kind) else "fact", idempotency_key=form.get("key") or None
        )
    return redirect("/memory", "remembered" if text else "none")


@router.post("/memory/forget")
async def forget_everything(client: Retinue) -> Response:
    """Forget everything."""
    await client.memory.forget_all()
    return redirect("/memory", "forgotten")


@router.post("/memory/{fact_id}")
async def change_fact(client: Retinue, fact_id: str, form: Form) -> Response:
    """Correct or forget a fact."""
    if form.get("do") == "forget":
        await client.memory.forget(fact_id)
        return redirect("/memory", "forgotten")
    await client.memory.correct(fact_id, form.get("text", "").strip())
    return redirect("/memory", "corrected")


@router.post("/schedules")
async def schedule(request: Request, client: Retinue, form: Form) -> Response:
    """Create a schedule."""
    try:
        await client.schedules.add(
            name=form.get("name", ""),
            message=form.get("message", ""),
            cron=words.cron(form.get("often", ""), form.get("time", ""), other=form.get("cron", "")),
            timezone=form.get("timezone") or None,
            idempotency_key=form.get("key") or None,
        )
    except InvalidArguments as error:
        return await show_schedules(request, client, filled=form, errors=errors_by_field(error))
    return redirect("/schedules", "scheduled")


@router.post("/triggers")
async def trigger(request: Request, client: Retinue, form: Form) -> Response:
    """Create a trigger."""
    wanted = {"senders": form.get("senders", "").replace(",", " ").split(), "words": form.get("words", "").split()}
    conditions: dict[str, JsonValue] = {name: [*found] for name, found in wanted.items() if found}
    quiet = {"begins": form.get("quiet-from", ""), "ends": form.get("quiet-to", "")}
    per_hour = form.get("per-hour", "")
    try:
        await client.triggers.add(
            "calendar" if form.get("event") == "calendar" else "mail",
            form.get("message", ""),
            conditions=conditions or None,
            timezone=form.get("timezone") or None,
            quiet_hours=quiet if any(quiet.values()) else None,
            per_hour=int(per_hour) if per_hour.isdecimal() else None,
            idempotency_key=form.get("key") or None,
        )
    except InvalidArguments as error:
        return await show_triggers(request, client, filled=form, errors=errors_by_field(error))
    return redirect("/triggers", "triggered")


@router.post("/triggers/{trigger_id}")
async def change_trigger(client: Retinue, trigger_id: str, form: Form) -> Response:
    """Pause, resume or delete a trigger."""
    match form.get("do"):
        case "pause":
            await client.triggers.pause(trigger_id)
        case "resume":
            await client.triggers.resume(trigger_id)
        case "delete":
            await client.triggers.delete(trigger_id)
    return redirect("/triggers", "changed")


@router.post("/schedules/{schedule_id}")
async def change_schedule(client: Retinue, schedule_id: str, form: Form) -> Response:
    """Pause, resume, run or delete a schedule."""
    match form.get("do"):
        case "pause":
            await client.schedules.pause(schedule_id)
        case "resume":
            await client.schedules.resume(schedule_id)
        case "run":
            await client.schedules.run(schedule_id, idempotency_key=form.get("key") or None)
        case "delete":
            await client.schedules.delete(schedule_id)
    return redirect("/schedules", "changed")


@router.post("/account/keys")
async def add_key(request: Request, client: Retinue, form: Form) -> Response:
    """Create an API key and show it once."""
    scopes = [name for name in ("read", "ask", "decide", "memory") if form.get(f"scope-{name}")]
    if not scopes:
        return await show_account(request, client, wrong="Choose at least one permission for the key.")
    made = await client.keys.add(form.get("name", "").strip() or "key", scopes=scopes)
    return await show_account(request, client, made=made)


@router.post("/account/keys/{key_id}/revoke")
async def revoke_key(client: Retinue, key_id: str) -> Response:
    """Revoke an API key."""
    await client.keys.revoke(key_id)
    return redirect("/account", "revoked")


@router.post("/pauses/end")
async def end_pauses(client: Retinue) -> Response:
    """End all pauses of language models."""
    await client.end_pauses()
    return redirect("/capabilities", "resumed")


@router.post("/model")
async def change_model(request: Request, client: Retinue, form: Form) -> Response:
    """Use, reset or test the language model."""
    try:
        match form.get("do"):
            case "use":
                await client.use_model(form.get("server", ""), form.get("model", ""))
            case "reset":
                await client.use_built_in_model()
            case "test":
                return await show_model(request, client, await client.test_model())
    except Conflict as error:
        return await show_model(request, client, await client.language_models(), wrong=error.detail)
    return redirect("/model", "model")


@router.post("/signin")
async def sign_in(request: Request, form: Form) -> Response:
    """Exchange a key or token for a browser session."""
    credential = form.get("credential", "").strip()
    answer = await exchange(request, credential)
    if answer.status_code != httpx.codes.CREATED:
        return await page(
            request,
            "signin.html",
            None,
            title="Sign in",
            here="",
            to=own_path(form.get("to", "/")),
            wrong="That key or token is not valid here. It may be mistyped, expired or revoked.",
            code=401,
        )
    done = redirect(form.get("to", "/"))
    for cookie in answer.headers.get_list("set-cookie"):
        done.headers.append("set-cookie", cookie)
    return done


@router.post("/signout")
async def sign_out(request: Request) -> Response:
    """End the session of this browser."""
    answer = await forget(request)
    done = redirect("/signin")
    for cookie in answer.headers.get_list("set-cookie"):
        done.headers.append("set-cookie", cookie)
    return done
