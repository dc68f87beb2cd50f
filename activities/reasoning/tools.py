"""The reasoning capability's tools: plan, reply, converse, compose, extract."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import replace
from typing import TypeVar

from pydantic import JsonValue

from activities.reasoning import prompts
from activities.reasoning.account_names import AccountNames, naming_accounts, several_accounts
from activities.reasoning.contract import (
    ComposeRequest,
    ConverseRequest,
    ConverseResult,
    ExtractRequest,
    ExtractResult,
    ModelsRequest,
    ModelsResult,
    PausesRequest,
    PausesResult,
    PlanRequest,
    PlanResult,
    Progress,
    Reasoning,
    RefusedPlan,
    ReplyRequest,
    StepReport,
    TextResult,
)
from activities.reasoning.draft import writing
from activities.reasoning.endpoint import tokens_of
from activities.reasoning.extraction import extract
from activities.reasoning.model import LanguageModel
from activities.reasoning.model_choice import ModelChoices
from activities.reasoning.offering import Catalog, Offer
from activities.reasoning.plan_format import AnswerFormat, plan_format
from activities.reasoning.settings import DEFAULT_TOOL_TOKENS, Duty
from activities.reasoning.store import TranscriptStore
from activities.reasoning.structured import json_in
from activities.reasoning.turns import Turns
from activities.reasoning.used import metered
from retinue.capability import Manifest
from retinue.conversation import Message, Phase, Transcript, Usage
from retinue.errors import MalformedAnswer, NotFound, ServiceRefused
from retinue.plan import AGENT_RESULT, AGENT_VERB, Plan, Round, bind, check, declared, parse
from retinue.schemas.answers import misfit
from retinue.temporal.registry import FRESH
from retinue.times import present

_Step = TypeVar("_Step", Progress, StepReport)
ReadManifests = Callable[[float], Awaitable[list[Manifest]]]
_MAX_REFUSED_CHARS = 16_000
_MESSAGES = 200
_FEWEST_TOKENS = 300
"""For tools."""
_MOST_NAMES = 8
_BYTES = 64 * 1024
"""Of the earlier conversation that a request to the model repeats."""


class ReasoningTools(Reasoning):
    """Asks the model and checks what it says.

    Args:
        model: The language model.
        manifests: Reads what the registry knows; takes how many seconds old the answer may be.
        transcripts: Where conversations are kept. Only requests that name one touch it.
        tool_tokens: What tools may take of a planning request.
        accounts: Tells which accounts a person has.
    """

    def __init__(
        self,
        model: LanguageModel,
        manifests: ReadManifests,
        transcripts: TranscriptStore,
        *,
        tool_tokens: int = DEFAULT_TOOL_TOKENS,
        accounts: AccountNames | None = None,
    ) -> None:
        self._model = model
        self._accounts = accounts
        self._tool_tokens = tool_tokens
        self._catalog = Catalog([])
        self._manifests = manifests
        self._transcripts = transcripts
        self._choices = ModelChoices(model)
        self._turns = Turns(model, transcripts)

    async def plan(self, request: PlanRequest) -> PlanResult:
        """Ask for a plan once. A plan that may not run comes back as `refused`, with the reasons."""
        earlier = await self._earlier(request.transcript, request.messages)
        manifests = await self._manifests(FRESH)
        progress = [_as_declared(_unmetered(step), manifests) for step in request.progress]
        request = request.model_copy(update={"progress": progress})
        with metered(Phase.PLANNING) as meter:
            offer, answer, usage = await self._planned(request, manifests, earlier)
            result = await self._read(answer, request, manifests, offer)
        messages = prompts.for_plan(request, offer, earlier)
        worst = self._model.worst_call(messages) if request.worst_case else None
        notice = self._notice(offer) if result.plan else ""
        found = {"usage": meter.total() + Usage(instead=usage.instead), "worst_call": worst, "notice": notice}
        return result.model_copy(update={**found, "lists_all": offer.lists_all})

    async def _planned(
        self, request: PlanRequest, manifests: list[Manifest], earlier: list[Message]
    ) -> tuple[Offer, str, Usage]:
        """Ask for a plan; once more with fewer tools where the model turns out to read less than was sent."""
        self._catalog = self._catalog.of(manifests)
        accounts = await several_accounts(self._accounts, manifests)
        reads = self._model.reads(Duty.PLAN)
        while True:
            budget = self._budget(request, earlier, reads)
            offer = replace(self._catalog.offer(request, earlier, budget=budget), accounts=accounts)
            messages = prompts.for_plan(request, offer, earlier)
            tools = naming_accounts(offer.tools, accounts)
            form = plan_format(tools, offer.agents, may_need=not offer.lists_all and request.may_need)
            try:
                answer, usage = await self._model.complete(
                    messages, answer_format=form, duty=Duty.PLAN, quotes_refusal=True
                )
            except ServiceRefused:
                if reads is not None or (reads := self._model.reads(Duty.PLAN)) is None:
                    raise
                if self._budget(request, earlier, reads) in (_FEWEST_TOKENS, budget):
                    raise  # the conversation itself is too long
            else:
                return offer, answer, usage

    def _budget(self, request: PlanRequest, earlier: list[Message], reads: int | None) -> int:
        """Return how many tokens tools may take: less where the model reads little. A part is left for its answer."""
        if reads is None:
            return self._tool_tokens
        room = reads * 3 // 4 - tokens_of(prompts.for_plan(request, Offer([], []), earlier))
        return min(self._tool_tokens, max(_FEWEST_TOKENS, room * 2 // 3))  # what it asks for takes half as many again

    def _notice(self, offer: Offer) -> str:
        """Return what the person should know where the model reads too little for all tools."""
        reads = self._model.reads(Duty.PLAN)
        if reads is None or not offer.unseen:
            return ""
        names = ", ".join(offer.unseen[:_MOST_NAMES])
        more = f" and {len(offer.unseen) - _MOST_NAMES} more" if len(offer.unseen) > _MOST_NAMES else ""
        return f"the language model reads {reads} tokens at once, so it planned without the tools of {names}{more}"

    async def reply(self, request: ReplyRequest) -> TextResult:
        """Write the final answer."""
        earlier = await self._earlier(request.transcript, request.messages)
        messages = prompts.for_reply(
            request.model_copy(update={"steps": list(map(_unmetered, request.steps))}), earlier
        )
        if request.answer_schema is not None:
            return await self._in_schema(messages, request.answer_schema)
        with metered(Phase.REPLY) as meter, writing() as written:
            text, usage = await self._model.complete(messages, text=written, quotes_refusal=True, keeps_cut=True)
        return TextResult(text=text, usage=meter.before + usage)

    async def _in_schema(self, messages: list[prompts.ChatMessage], schema: dict[str, JsonValue]) -> TextResult:
        """Write the final answer as JSON.

        Raises:
            MalformedAnswer: What the model wrote does not fit the schema.
        """
        wanted = AnswerFormat("answer", schema)
        with metered(Phase.REPLY) as meter:
            answer, usage = await self._model.complete(messages, answer_format=wanted, quotes_refusal=True)
            value = json.loads(json_in(answer))
            if wrong := misfit(value, schema):
                raise MalformedAnswer(f"the language model's answer does not fit the schema of the request: {wrong}")
        return TextResult(text=json.dumps(value, ensure_ascii=False), usage=meter.before + usage)

    async def converse(self, request: ConverseRequest) -> ConverseResult:
        """Take one turn of an agent."""
        manifest = await self._manifest(request.agent)
        accounts = await several_accounts(self._accounts, [manifest])
        manifest = manifest.model_copy(update={"tools": naming_accounts(manifest.tools, accounts)})
        with metered(Phase.AGENTS) as meter:
            result = await self._turns.take(request, manifest)
        # a turn that another attempt answered tells what that one knew
        used = max(result.usage, meter.total(), key=lambda usage: usage.requests)
        return result.model_copy(update={"usage": used})

    async def compose(self, request: ComposeRequest) -> TextResult:
        """Write one text from data."""
        with metered(Phase.COMPOSING) as meter, writing() as written:
            text, usage = await self._model.complete(prompts.for_compose(request), text=written)
        return TextResult(text=text, usage=meter.before + usage)

    async def pauses(self, request: PausesRequest) -> PausesResult:
        """List pauses, and end them if requested."""
        return PausesResult(pauses=await self._model.pauses(end=request.end))

    async def models(self, request: ModelsRequest) -> ModelsResult:
        """Show the models, after using or testing one if requested."""
        return await self._choices.answer(request)

    async def extract(self, request: ExtractRequest) -> ExtractResult:
        """Read values out of data."""
        with metered(Phase.EXTRACTION) as meter:
            found = await extract(self._model, request, now=present())
        return found.model_copy(update={"usage": meter.before + found.usage})

    async def _earlier(self, transcript: Transcript | None, messages: Sequence[Message]) -> list[Message]:
        """Keep what is new in a conversation and read what was said before it."""
        if transcript is None:
            return []
        if messages:
            records = [said.model_dump(mode="json") for said in messages]
            await self._transcripts.append(transcript.key, at=transcript.length, messages=records)
        if not transcript.length:
            return []
        found = await self._transcripts.last(
            transcript.key, before=transcript.length, limit_messages=_MESSAGES, limit_bytes=_BYTES
        )
        return [Message.model_validate(record) for record in found]

    async def _read(self, answer: str, request: PlanRequest, manifests: list[Manifest], offer: Offer) -> PlanResult:
        try:
            plan = parse(json_in(answer))
        except MalformedAnswer as error:
            return _refused(answer, [error.message])
        if plan.need:
            return _needs(answer, plan, request, offer)
        this_round = _round(request)
        if problems := check(plan, manifests, this_round):
            manifests = await self._manifests(0)  # a capability may have been announced a moment ago
            problems = check(plan, manifests, this_round)
        if problems:
            return _refused(answer, problems)
        return PlanResult(plan=bind(plan, manifests, this_round, with_schemas=request.with_schemas))

    async def _manifest(self, agent: str) -> Manifest:
        for max_age in (FRESH, 0):
            for manifest in await self._manifests(max_age):
                if manifest.name == agent:
                    return manifest
        raise NotFound(f"there is no agent {agent!r}")


def _unmetered(step: _Step) -> _Step:
    """Return a step of this capability without what its model used: no model needs to read that."""
    if not step.tool.startswith(f"{Reasoning.name}.") or not isinstance(step.result, dict):
        return step
    kept = {name: value for name, value in step.result.items() if name != "usage"}
    return step.model_copy(update={"result": kept})


def _as_declared(progress: Progress, manifests: Iterable[Manifest]) -> Progress:
    """Return a shape with the fields that the tool's schema names: any other name may be a stranger's words."""
    if progress.shape is None:
        return progress
    schemas = (spec.result_schema for manifest in manifests if (spec := manifest.tool(progress.tool)))
    schema = AGENT_RESULT if progress.tool.endswith(f".{AGENT_VERB}") else next(schemas, {})
    return progress.model_copy(update={"shape": declared(progress.shape, schema)})


def _round(request: PlanRequest) -> Round:
    return Round(
        request.round,
        earlier={step.id: step.tool for step in request.progress},
        last=request.last_round,
        may_be_empty=request.may_be_empty,
    )


def _needs(answer: str, plan: Plan, request: PlanRequest, offer: Offer) -> PlanResult:
    """Return for which tools the model asks, if it may and there are any that it does not see."""
    need = [wanted for wanted in plan.need or [] if wanted not in request.needed]
    if plan.steps or plan.question or plan.reply:
        return _refused(answer, ["a plan asks for tools by `need`, or has steps, a question or a reply, not both"])
    if not need or not request.may_need or offer.lists_all:
        return _refused(answer, ["no further tools are listed; plan with those that are, or say what cannot be done"])
    return PlanResult(need=need)


def _refused(answer: str, problems: list[str]) -> PlanResult:
    return PlanResult(refused=RefusedPlan(answer=answer[:_MAX_REFUSED_CHARS], problems=problems))
