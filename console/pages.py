"""Read-only pages: each calls the public API and fills one template."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from pydantic import JsonValue

from console import words
from console.caller import Retinue
from console.forms import Field, fields
from console.graph import layout
from console.rendering import page, status_words
from retinue.client import AsyncClient, ClientError, NotAllowed
from retinue.client.models import (
    Approval,
    Assistant,
    AssistantSummary,
    InboxItem,
    LanguageModels,
    Me,
    ModelPause,
    NewApiKey,
    Schedule,
    Tool,
)

router = APIRouter(include_in_schema=False)
EXAMPLES = (
    "What is on my calendar tomorrow?",
    "What's the weather in Lisbon on Friday? Email the forecast to team@example.com",
    "Remind me tomorrow at 9am to call the bank",
    "Find a free hour on Thursday afternoon",
)
_RUNS = 30
_MOST_SEARCHED = 300
_CARDS = 6
"""Assistants per page of the inbox, few enough for a fast page."""
FIRST_RUN = "retinue_first_run"
"""The cookie of who does not want to be offered to connect accounts."""
Everything = Annotated[bool, Query(alias="all")]


def new_key() -> str:
    """Return an idempotency key for one form, so that sending it twice has one effect."""
    return secrets.token_urlsafe(18)


@router.get("/")
async def talk(request: Request, client: Retinue, q: str = "", cursor: str | None = None, draft: str = "") -> Response:
    """Show the start page: a new assistant, and the list."""
    query = q.strip()
    (found, following), me, notices, offers_accounts = await asyncio.gather(
        _conversations(client, query, cursor), client.me(), _notices(client), _offers_accounts(request, client)
    )
    return await page(
        request,
        "talk.html",
        client,
        title="Talk",
        here="/",
        me=me,
        me_owner=_owner(me),
        runs=found,
        next_cursor=following,
        searched=_MOST_SEARCHED,
        query=query,
        key=new_key(),
        draft=draft[:8000],
        examples=EXAMPLES,
        status_words=status_words,
        notices=notices,
        offers_accounts=offers_accounts and "decide" in me.permissions,
        refresh="runs",
    )


async def _offers_accounts(request: Request, client: AsyncClient) -> bool:
    """Return whether to offer to connect accounts: the person has none, and has not said that they want none."""
    if FIRST_RUN in request.cookies:
        return False
    try:
        return not (await client.accounts.list()).accounts
    except ClientError:
        return False


def _owner(me: Me) -> str:
    return f"{me.tenant}:{me.name}" if me.tenant else me.name


async def _conversations(
    client: AsyncClient, query: str, cursor: str | None
) -> tuple[Sequence[AssistantSummary], str | None]:
    """Return a page of assistants, or the latest ones that contain the search text."""
    if not query:
        found = await client.assistants.page(limit=_RUNS, cursor=cursor)
        return found.assistants, found.next_cursor
    fitting: list[AssistantSummary] = []
    looked = 0
    async for run in client.assistants.list():
        looked += 1
        if query.casefold() in run.message.casefold():
            fitting.append(run)
        if looked >= _MOST_SEARCHED or len(fitting) >= _RUNS:
            break
    return fitting, None


async def _notices(client: AsyncClient) -> list[str]:
    """Return notices about the capabilities of this installation; empty if unknown."""
    try:
        found = await client.capabilities()
    except ClientError:
        return []
    told = sorted(found.capabilities, key=lambda one: (one.name != "reasoning", one.name))
    problems = [f"Steps of {one.name} wait: {one.problem}." for one in told if one.problem]
    return problems + [one.notice for one in told if one.notice]


@router.get("/assistants/{assistant_id}")
async def run(request: Request, client: Retinue, assistant_id: str, *, everything: Everything = False) -> Response:
    """Show one assistant: messages, steps, approvals."""
    view = await client.assistants.get(assistant_id)
    return await page(
        request,
        "run.html",
        client,
        title=view.message[:60],
        here="",
        run=view,
        status_text=status_words(view),
        messages=await client.assistants.conversation(assistant_id) if everything else view.messages,
        first_message=0 if everything else view.earlier_messages,
        all_messages=everything,
        steps={step.id: step for step in view.steps},
        titles=await titles(request, client),
        drawn=layout(view.steps),
        finished=sum(step.finished_at is not None or step.status in _OVER for step in view.steps),
        may_say=not view.ended and (view.mode == "chat" or view.question is not None),
        can_undo=_can_undo(view),
        key=new_key(),
        stream=view.links.events,
    )


_OVER = frozenset({"completed", "failed", "skipped", "rejected", "cancelled", "unknown", "undone"})


def _can_undo(view: Assistant) -> bool:
    taken_back = {step.step_id for step in view.undo if step.status == "undone"}
    done = {step.id for step in view.steps if step.effect and step.status == "completed" and step.undo}
    done |= {effect.step_id for effect in view.effects if effect.undo}
    return bool(done - taken_back)


@router.get("/assistants/{assistant_id}/receipt")
async def receipt(request: Request, client: Retinue, assistant_id: str) -> Response:
    """Show a receipt: what was done, with whose consent, and how to undo it."""
    found, view = await asyncio.gather(client.assistants.receipt(assistant_id), client.assistants.get(assistant_id))
    return await page(
        request,
        "receipt.html",
        client,
        title="Receipt",
        here="",
        receipt=found,
        run=view,
        status_text=status_words(view),
        titles=await titles(request, client),
    )


@router.get("/assistants/{assistant_id}/export")
async def export(client: Retinue, assistant_id: str) -> Response:
    """Return everything about one assistant as JSON."""
    view, said, found = await asyncio.gather(
        client.assistants.get(assistant_id),
        client.assistants.conversation(assistant_id),
        client.assistants.receipt(assistant_id),
    )
    content = {
        "assistant": json.loads(view.json_text()),
        "messages": [json.loads(one.json_text()) for one in said],
        "receipt": json.loads(found.json_text()),
    }
    return Response(
        json.dumps(content, ensure_ascii=False, indent=2),
        media_type="application/json",
        headers={"Content-Disposition": f'attachment; filename="{view.id}.json"'},
    )


@router.get("/assistants/{assistant_id}/fork")
async def fork(request: Request, client: Retinue, assistant_id: str, step: str) -> Response:
    """Show the form for a fork from a step."""
    return await show_fork(request, client, await client.assistants.get(assistant_id), step)


async def show_fork(
    request: Request,
    client: AsyncClient,
    view: Assistant,
    step_id: str,
    *,
    filled: Mapping[str, str] | None = None,
    errors: Mapping[str, str] | None = None,
) -> Response:
    """Render the form, with the values and errors of an earlier attempt."""
    step = next((one for one in view.steps if one.id == step_id), None)
    if step is None:
        return await missing(request, client, "There is no such step")
    tool = (await tools(client)).get(step.tool)
    given = fields(tool.args_schema, step.args, filled=filled, errors=errors) if tool else []
    return await page(
        request,
        "fork.html",
        client,
        title="Try again",
        here="",
        run=view,
        step=step,
        message=(filled or {}).get("message", view.message),
        fields=given,
        titles=await titles(request, client),
        wrong=(errors or {}).get(""),
        key=(filled or {}).get("key") or new_key(),
        code=422 if errors else 200,
    )


async def tools(client: AsyncClient) -> dict[str, Tool]:
    """Return all registered tools by name."""
    found = await client.capabilities()
    return {tool.name: tool for one in found.capabilities for tool in one.tools}


async def titles(request: Request, client: AsyncClient) -> Mapping[str, str]:
    """Return the titles of tools by name, cached since they rarely change; empty if unknown."""
    state = request.app.state
    asked_at, found = getattr(state, "console_titles", (-_TITLES_LAST, {}))
    if time.monotonic() - asked_at < _TITLES_LAST:
        return dict(found)
    try:
        found = {name: tool.title for name, tool in (await tools(client)).items()}
    except ClientError:
        return dict(found)
    state.console_titles = time.monotonic(), found
    return found


_TITLES_LAST = 30.0
"""Seconds for which titles are cached."""


async def missing(request: Request, client: AsyncClient | None, title: str) -> Response:
    """Show a page for something that does not exist."""
    return await page(request, "problem.html", client, title=title, here="", detail="", again=None, code=404)


@router.get("/approvals")
async def inbox(request: Request, client: Retinue, cursor: str | None = None) -> Response:
    """Show the pending approvals. The frame is sent first, since reading all runs takes a while."""
    found = Waiting()

    async def fill() -> None:
        try:
            listed = await client.approvals.list(limit=_CARDS, cursor=cursor)
        except ClientError as error:
            found.trouble = str(error)
        else:
            found.items, found.unreadable, found.more = listed.approvals, listed.unreadable, listed.next_cursor
            found.alike = _alike(listed.approvals)

    waiting = (await client.approvals.list(limit=0)).waiting
    return await page(
        request,
        "inbox.html",
        client,
        title="Decisions",
        here="/approvals",
        found=found,
        then=fill,
        count=waiting,
        refresh="inbox",
    )


@dataclass
class Waiting:
    """The content of the inbox, filled in later."""

    items: Sequence[InboxItem] = ()
    unreadable: Sequence[str] = ()
    more: str | None = None
    alike: Mapping[str, tuple[str, int]] = field(default_factory=dict)
    trouble: str = ""


def _alike(items: Sequence[InboxItem]) -> dict[str, tuple[str, int]]:
    """Return tools with several pending approvals: title and number."""
    found: dict[str, tuple[str, int]] = {}
    for item in items:
        if item.kind == "action":
            found[item.tool] = (item.title, found.get(item.tool, ("", 0))[1] + 1)
    return {tool: (title, count) for tool, (title, count) in found.items() if count > 1}


@router.get("/approvals/{assistant_id}/{approval_id}")
async def decision(
    request: Request, client: Retinue, assistant_id: str, approval_id: str, *, edit: bool = False
) -> Response:
    """Show one approval, the target of notifications. Opening it decides nothing."""
    view = await client.assistants.get(assistant_id)
    return await show_decision(request, client, view, approval_id, edit=edit)


@dataclass(frozen=True)
class PlannedStep:
    """One step of a pending plan, as a part of a form."""

    id: str
    tool: str
    title: str
    kept: bool
    fields: Sequence[Field]


async def show_decision(
    request: Request,
    client: AsyncClient,
    view: Assistant,
    approval_id: str,
    *,
    edit: bool,
    filled: Mapping[str, str] | None = None,
    errors: Mapping[str, str] | None = None,
) -> Response:
    """Render the page of one approval, with the values and errors of an earlier attempt."""
    approval = next((one for one in view.approvals if one.id == approval_id), None)
    if approval is None:
        return await missing(request, client, "There is no such decision")
    edit = edit and approval.status == "pending"
    own: Sequence[Field] = ()
    planned: Sequence[PlannedStep] = ()
    if edit and approval.kind == "plan":
        planned = _planned(approval, await tools(client), filled, errors)
    elif edit:
        own = fields(approval.args_schema, approval.args, filled=filled, errors=errors)
    return await page(
        request,
        "decide.html",
        client,
        title=approval.title,
        here="/approvals",
        run=view,
        approval=approval,
        edit=edit,
        fields=own,
        planned=planned,
        comment=(filled or {}).get("comment", ""),
        wrong=(errors or {}).get(""),
        stream=None if edit else view.links.events,
        code=422 if errors else 200,
    )


def _planned(
    approval: Approval, known: Mapping[str, Tool], filled: Mapping[str, str] | None, errors: Mapping[str, str] | None
) -> list[PlannedStep]:
    found = []
    for step_id, tool, args in planned_steps(approval):
        spec = known.get(tool)
        given = fields(spec.args_schema, args, at=f"/{step_id}", filled=filled, errors=errors) if spec else []
        kept = filled is None or f"keep-{step_id}" in filled
        found.append(PlannedStep(step_id, tool, spec.title if spec else tool, kept, given))
    return found


def planned_steps(approval: Approval) -> list[tuple[str, str, dict[str, JsonValue]]]:
    """Return id, tool and arguments of each step of a pending plan."""
    steps = approval.args.get("steps")
    found = []
    for step in steps if isinstance(steps, list) else []:
        if isinstance(step, dict):
            args = step.get("args")
            found.append((str(step.get("id")), str(step.get("tool")), args if isinstance(args, dict) else {}))
    return found


@router.get("/schedules")
async def schedules(request: Request, client: Retinue) -> Response:
    """Show the schedules."""
    return await show_schedules(request, client)


async def show_schedules(
    request: Request,
    client: AsyncClient,
    *,
    filled: Mapping[str, str] | None = None,
    errors: Mapping[str, str] | None = None,
) -> Response:
    """Render the page of schedules, with the values and errors of an earlier attempt."""
    listed = (await client.schedules.list()).schedules
    whole: list[Schedule] = await asyncio.gather(*(client.schedules.get(one.id) for one in listed))
    return await page(
        request,
        "schedules.html",
        client,
        title="Schedules",
        here="/schedules",
        schedules=whole,
        key=(filled or {}).get("key") or new_key(),
        often=words.OFTEN,
        filled=filled or {},
        wrong=" ".join(f"{text}." for text in (errors or {}).values()),
        code=422 if errors else 200,
    )


@router.get("/triggers")
async def triggers(request: Request, client: Retinue) -> Response:
    """Show the triggers."""
    return await show_triggers(request, client)


async def show_triggers(
    request: Request,
    client: AsyncClient,
    *,
    filled: Mapping[str, str] | None = None,
    errors: Mapping[str, str] | None = None,
) -> Response:
    """Render the page of triggers, with the values and errors of an earlier attempt."""
    return await page(
        request,
        "triggers.html",
        client,
        title="Triggers",
        here="/triggers",
        triggers=(await client.triggers.list()).triggers,
        key=(filled or {}).get("key") or new_key(),
        events=words.EVENTS,
        filled=filled or {},
        wrong=" ".join(f"{text}." for text in (errors or {}).values()),
        code=422 if errors else 200,
    )


@router.get("/grants")
async def grants(request: Request, client: Retinue, *, everything: Everything = False) -> Response:
    """Show the grants."""
    found = (await client.grants.list(everything=everything)).grants
    return await page(
        request, "grants.html", client, title="Grants", here="/grants", grants=found[::-1], everything=everything
    )


@router.get("/memory")
async def memory(request: Request, client: Retinue, after: str | None = None) -> Response:
    """Show what is remembered of the person."""
    found = await client.memory.list(after=after or None)
    return await page(
        request,
        "memory.html",
        client,
        title="Memory",
        here="/memory",
        facts=found.facts,
        total=found.total,
        following=found.next,
        kinds=words.FACT_KIND,
        key=new_key(),
    )


@router.get("/memory/export")
async def export_memory(client: Retinue) -> Response:
    """Return what is remembered as a JSON file."""
    content = (await client.memory.export()).json_text()
    return Response(
        content,
        media_type="application/json",
        headers={"Content-Disposition": 'attachment; filename="retinue-memory.json"'},
    )


@router.get("/budget")
async def budget(request: Request, client: Retinue) -> Response:
    """Show the usage of today and its limits."""
    used = await client.usage()
    return await page(request, "budget.html", client, title="Usage", here="/budget", usage=used)


@router.get("/capabilities")
async def capabilities(request: Request, client: Retinue) -> Response:
    """Show the capabilities and their state."""
    found = sorted((await client.capabilities()).capabilities, key=lambda one: one.name)
    answers = any(one.name == "reasoning" and one.healthy for one in found)
    return await page(
        request,
        "capabilities.html",
        client,
        title="Capabilities",
        here="/capabilities",
        capabilities=found,
        pauses=await _pauses(client) if answers else [],
        refresh="capabilities",
    )


async def _pauses(client: AsyncClient) -> list[ModelPause]:
    """Return the paused language models; empty if unknown."""
    try:
        return (await client.pauses()).pauses
    except ClientError:
        return []


@router.get("/model")
async def model(request: Request, client: Retinue, server: str = "", model: str = "") -> Response:
    """Show the language models in use and those on this machine. With one of these, ask whether it is to be used."""
    found = await client.language_models()
    offered = any(one.address == server and model in one.models for one in found.servers)
    return await show_model(request, client, found, wanted=WantedModel(server, model) if offered else None)


@dataclass(frozen=True)
class WantedModel:
    """A model that is used once the person confirms it."""

    address: str
    model: str


async def show_model(
    request: Request, client: AsyncClient, found: LanguageModels, *, wanted: WantedModel | None = None, wrong: str = ""
) -> Response:
    """Render the page of language models, with a model to confirm, or why nothing was changed."""
    me = await client.me()
    return await page(
        request,
        "model.html",
        client,
        title="Language model",
        here="/capabilities",
        me=me,
        found=found,
        wanted=wanted if "operate" in me.permissions else None,
        may_change="operate" in me.permissions and not me.tenant,
        wrong=wrong,
        code=409 if wrong else 200,
    )


@router.get("/account")
async def account(request: Request, client: Retinue) -> Response:
    """Show the account and its API keys."""
    return await show_account(request, client)


async def show_account(
    request: Request, client: AsyncClient, *, made: NewApiKey | None = None, wrong: str = ""
) -> Response:
    """Render the account, with a new key or the form's error."""
    me = await client.me()
    try:
        keys = (await client.keys.list()).keys
    except NotAllowed:
        keys = []
    return await page(
        request,
        "account.html",
        client,
        title="Account",
        here="/account",
        me=me,
        keys=keys,
        made=made,
        wrong=wrong,
        signed_in="retinue_session" in request.cookies,
        code=422 if wrong else 200,
    )


@router.get("/signin")
async def show_signin(request: Request, to: str = "/") -> Response:
    """Show the sign-in page."""
    return await signin(request, to)


async def signin(request: Request, to: str, *, code: int = 200) -> Response:
    """Render the sign-in page, which leads to `to`."""
    return await page(request, "signin.html", None, title="Sign in", here="", to=to, wrong=None, code=code)
