"""The language model for the tools: several models with fallback.

A model that is unreachable, refuses, or asks for too long a pause is skipped within the same attempt, and for a while asked
last. A request that one model cannot take goes only to models that may take it. All workers honour a pause that an endpoint
asked for.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any, Generic, TypeVar

from openai.types.chat import ChatCompletion

from activities.reasoning import form_probe
from activities.reasoning.answers import Said, WrittenCall, json_of, marked, said_by, text_of
from activities.reasoning.contract import ModelPause
from activities.reasoning.draft import Writing
from activities.reasoning.endpoint import NO_COMPLETION, Endpoint, Failure, Why, busy, tokens_of
from activities.reasoning.known_forms import KnownForm, KnownForms
from activities.reasoning.model_routing import CurrentRouting, ModelSpec
from activities.reasoning.observed import observed
from activities.reasoning.pauses import Pauses
from activities.reasoning.plan_format import AnswerFormat
from activities.reasoning.settings import Duty, ReasoningSettings, Structured
from activities.reasoning.structured import NAMES, asked, asked_less, holds_json, read_as_asked
from activities.reasoning.tries import Tries
from activities.reasoning.used import current_meter
from retinue.conversation import ModelUse, Usage
from retinue.errors import (
    CutAnswer,
    MalformedAnswer,
    RefusedAnswer,
    RetinueError,
    ServiceBusy,
    ServiceRefused,
    ServiceUnavailable,
)

__all__ = ["LanguageModel", "Said", "WrittenCall"]

STANDS_BACK = 60.0
"""Seconds for which a model that failed is asked last."""
IN_ONE_PIECE = 600.0
"""Seconds for which a model whose answer broke off is asked for whole answers."""
_WRITTEN_SHARE = 4
"""One part in so many of a small context is kept for the answer."""
_FEWEST_WRITTEN = 256
_Answer = TypeVar("_Answer")
_Request = tuple[list[Mapping[str, Any]], dict[str, Any]]
_log = logging.getLogger("retinue.reasoning")


@dataclass(frozen=True)
class _Question(Generic[_Answer]):
    """A request for any model: how to send it, and how to read its answer."""

    put: Callable[[Structured], _Request]
    read: Callable[[ChatCompletion, Structured], _Answer]
    text: Writing | None = None
    """Called with the text while the model writes it."""
    cut: Callable[[str], _Answer] | None = None
    """Makes an answer of a text that was cut at the model's limit, if that is useful."""
    is_json: Callable[[_Answer], bool] | None = None
    """Whether an answer is JSON; only where it is asked for as such."""


class LanguageModel:
    """The models of an installation.

    Args:
        settings: Names the models.
        pauses: Kept with the other workers; by default each process keeps its own.
        forms: In which form each model answers in JSON, kept in the same way.
    """

    def __init__(
        self, settings: ReasoningSettings, pauses: Pauses | None = None, forms: KnownForms | None = None
    ) -> None:
        self.routing = CurrentRouting(settings)
        self._patience = settings.patience
        self._pauses = pauses or Pauses()
        self._endpoints: dict[ModelSpec, Endpoint] = {}
        self._forms = forms or KnownForms()
        self._probing: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._reads: dict[str, int] = {}
        self._in_one_piece: dict[str, float] = {}
        self._failed: dict[str, tuple[float, str]] = {}

    async def close(self) -> None:
        """Close connections."""
        for endpoint in self._endpoints.values():
            await endpoint.close()

    async def pauses(self, *, end: bool) -> list[ModelPause]:
        """List the paused models, after ending their pauses if requested.

        Raises:
            ServiceUnavailable: The database does not answer.
        """
        if end:
            await self._pauses.end()
        return await self._pauses.known()

    async def forms(self) -> list[KnownForm]:
        """List in which form each model answers in JSON, as far as that is known.

        Raises:
            ServiceUnavailable: The database does not answer.
        """
        return await self._forms.known()

    async def complete(
        self,
        messages: Iterable[Mapping[str, Any]],
        *,
        answer_format: AnswerFormat | None = None,
        duty: Duty = Duty.REPLY,
        text: Writing | None = None,
        quotes_refusal: bool = False,
        keeps_cut: bool = False,
    ) -> tuple[str, Usage]:
        """Ask for a text, and return it with what was used.

        Args:
            messages: The conversation.
            answer_format: Of an answer in JSON; `structured.json_in` reads it.
            duty: Whose models are asked.
            text: Told what a model writes while it does; the answer is what counts.
            quotes_refusal: Whether an error may repeat how the model refused: not where strangers' words are its input.
            keeps_cut: Whether a text that was cut at its limit is returned, with a mark, when no model writes all of it.

        Raises:
            ServiceUnavailable: Not reachable, too slow, or 5xx.
            ServiceBusy: 429, with the pause that it asked for.
            ServiceRefused: Any other 4xx; above all a wrong key.
            MalformedAnswer: Not a chat completion, or none with a text.
            RefusedAnswer: The model declines.
            CutAnswer: Cut at the token limit, or far too long.
        """
        said = list(messages)

        def read(completion: ChatCompletion, form: Structured) -> str:
            if answer_format is None:
                return text_of(completion, quotes=quotes_refusal)
            answer = json_of(completion, answer_format.name, quotes=quotes_refusal)
            return read_as_asked(answer, answer_format, form)

        question = _Question(
            lambda form: asked(said, answer_format, form),
            read,
            text,
            marked if keeps_cut else None,
            holds_json if answer_format else None,
        )
        return await self._answer(self.routing.now().models_for(duty), question, None)

    def tries(self, agent: str) -> Tries:
        """What one attempt of an agent's turn may ask of that agent's models."""
        return Tries(len(self.routing.now().models_of(agent)))

    async def converse(
        self,
        messages: Iterable[Mapping[str, Any]],
        *,
        agent: str,
        functions: Sequence[Mapping[str, Any]],
        may_call: bool = True,
        tries: Tries | None = None,
    ) -> tuple[Said, Usage]:
        """Send one request of an agent's loop, to that agent's models.

        Args:
            messages: The conversation so far.
            agent: The capability whose agent it is.
            functions: What the model may call.
            may_call: False asks for a text.
            tries: What this attempt may still ask.

        Raises:
            RetinueError: As for `complete`.
        """
        # some endpoints refuse functions without a word on their choice
        extra: dict[str, Any] = {"tools": list(functions), "tool_choice": "auto"} if functions else {}
        if functions and not may_call:
            extra["tool_choice"] = "none"
        said = list(messages)
        question = _Question(lambda form: (said, extra), lambda completion, form: said_by(completion))
        return await self._answer(self.routing.now().models_of(agent), question, tries)

    def reads(self, duty: Duty) -> int | None:
        """Return how many tokens the models of a duty read, by their settings and refusals; None where that is not known."""
        known = [
            spec.max_input_tokens or self._reads.get(spec.identity) for spec in self.routing.now().models_for(duty)
        ]
        return max((limit for limit in known if limit), default=None) if all(known) else None

    def worst_call(self, messages: Iterable[Mapping[str, Any]], duty: Duty = Duty.PLAN) -> Usage:
        """What a request can use at most: all messages read, and an answer of the longest kind, by the dearest model."""
        read = tokens_of(messages)
        uses = [
            self._endpoint(spec).used(read, 0, spec.max_output_tokens) for spec in self.routing.now().models_for(duty)
        ]
        return Usage(
            requests=1,
            input_tokens=read,
            output_tokens=max(use.output_tokens for use in uses),
            cost=max(use.cost for use in uses),
        )

    async def _answer(
        self, specs: Sequence[ModelSpec], question: _Question[_Answer], tries: Tries | None
    ) -> tuple[_Answer, Usage]:
        """Return the answer of the first model that has one."""
        course = _Course(specs[0], tries or Tries(len(specs)))
        order = sorted(specs, key=self._since)
        for place, spec in enumerate(order):
            if course.uses and not course.tries.may_ask_the_next():
                break
            if not all(_may_take(spec, *failed) for failed in course.failures):
                continue
            try:
                answer = await self._ask(spec, question, course, later=len(order) - place - 1)
            except Failure as failure:
                course.failures.append((spec, failure))
                if not self._passes_on(failure, course.tries):
                    break
            else:
                self._failed.pop(spec.identity, None)
                return answer, course.usage(self._told(spec, course))
        cut = next(((by, failed.text) for by, failed in course.failures if failed.text), None)
        if question.cut and cut:
            return question.cut(cut[1]), course.usage(self._told(cut[0], course))
        raise course.error() from None

    async def _ask(self, spec: ModelSpec, question: _Question[_Answer], course: _Course, *, later: int) -> _Answer:
        """Ask one model, in the form of JSON that it takes."""
        if pause := await self._pauses.rest(spec.identity):
            raise Failure(busy(pause))
        while True:
            form = await self._form(spec, course, later=later) if question.is_json else Structured.PROMPT
            messages, extra = question.put(form)
            bound = self._bound(spec)
            if spec.max_input_tokens and tokens_of(messages) > spec.max_input_tokens:
                told = f"the conversation is longer than the {spec.max_input_tokens} tokens that {spec.label} reads"
                raise Failure(ServiceRefused(told), Why.LENGTH)
            try:
                course.tries.count()
                sent = {**extra, **bound}
                completion = await self._request(spec, messages, sent, question.text, course, later=later)
                answer = await self._read(spec, completion, question, form)
            except Failure as failure:
                if failure.why is Why.STREAM:
                    self._ask_in_one_piece(spec, course, failure)
                elif failure.counts_answer and not bound and self._fits(spec, messages, failure.reads):
                    self._ask_again(course, failure)
                elif failure.why in (Why.FORMAT, Why.RULES) and await self._ask_less(spec, form, "refuses"):
                    told = f"the language model at {spec.host} takes no answers by {form}"
                    self._ask_again(course, Failure(ServiceUnavailable(told), Why.FORMAT))
                else:
                    raise
            else:
                # a form that the operator sets is not given up for one answer that is none
                if question.is_json and not question.is_json(answer) and spec.structured is Structured.AUTO:
                    await self._ask_less(spec, form, "ignored")
                return answer

    def _ask_again(self, course: _Course, failure: Failure) -> None:
        """Let the same attempt ask once more.

        Raises:
            Failure: It may not.
        """
        if not course.tries.may_ask_again():
            raise failure from None

    def _bound(self, spec: ModelSpec) -> dict[str, Any]:
        """Return the field that bounds an answer where a model turned out to read little: some count both together."""
        reads = self._reads.get(spec.identity)
        if reads is None or reads // _WRITTEN_SHARE >= spec.max_output_tokens:
            return {}
        return {spec.token_limit.value: max(_FEWEST_WRITTEN, reads // _WRITTEN_SHARE)}

    def _fits(self, spec: ModelSpec, messages: list[Mapping[str, Any]], reads: int | None) -> bool:
        """Whether what was too long fits with a bounded answer."""
        room = (reads or 0) - (reads or 0) // _WRITTEN_SHARE
        return bool(self._bound(spec)) and tokens_of(messages) <= room

    async def _form(self, spec: ModelSpec, course: _Course, *, later: int) -> Structured:
        """Return in which form a model answers in JSON: as it is set, as it was learnt, or by asking it.

        Raises:
            Failure: It had to be asked, and did not answer.
        """
        if spec.structured is not Structured.AUTO:
            learnt = self._forms.own(spec.identity)
            return learnt.form if learnt else spec.structured
        async with self._probing[spec.identity]:
            if known := await self._forms.of(spec.identity):
                return known.form
            limit = {spec.token_limit.value: min(form_probe.MAX_TOKENS, spec.max_output_tokens)}
            try:
                form, words = await form_probe.find_form(
                    lambda extra: self._request(
                        spec, form_probe.MESSAGES, {**extra, **limit}, None, course, later=later
                    )
                )
            except Failure:
                course.tries.count()
                raise
            await self._forms.keep(spec.identity, form, words)
            return form

    async def _ask_less(self, spec: ModelSpec, form: Structured, does: str) -> bool:
        """Ask less of a model from now on; return whether that is possible."""
        if (less := asked_less(form)) is None:
            return False
        _log.warning("%s %s answers by %s; asking by %s from now on", spec.label, does, form, less)
        await self._forms.keep(spec.identity, less, f"{does} {NAMES[form]}")
        return True

    def _ask_in_one_piece(self, spec: ModelSpec, course: _Course, failure: Failure) -> None:
        """From now on, or for a while after it broke off once; and at once, if this attempt may ask once more.

        Raises:
            Failure: It may not.
        """
        refused = isinstance(failure.error, ServiceRefused)
        self._in_one_piece[spec.identity] = inf if refused else time.monotonic() + IN_ONE_PIECE
        _log.warning("%s gives no answers in pieces; asking for them in one from now on", spec.label)
        self._ask_again(course, Failure(ServiceUnavailable(failure.error.message)))

    async def _request(
        self,
        spec: ModelSpec,
        messages: list[Mapping[str, Any]],
        extra: Mapping[str, Any],
        text: Writing | None,
        course: _Course,
        *,
        later: int,
    ) -> ChatCompletion:
        endpoint = self._endpoint(spec)
        course.sends(spec, endpoint.use_without_answer(messages))
        began = time.monotonic()
        try:
            with observed(spec.model) as seen:
                heard = self._listener(spec, text)
                completion = await self._answered(endpoint, messages, extra, course, later=later, heard=heard)
                use = endpoint.use(completion, messages)
                seen(use)
            course.used(spec, _timed(use, began))
            if heard and text and text.begun and use.estimated_tokens:
                self._in_one_piece[spec.identity] = inf  # some services count only then
            return completion
        except Failure as failure:
            if failure.why is Why.LENGTH:
                self._reads[spec.identity] = failure.reads or tokens_of(messages) * 3 // 4
            await self._note(spec, failure)
            raise
        except (AttributeError, TypeError, LookupError):  # the SDK does not check the shape of what it parses
            raise Failure(MalformedAnswer(NO_COMPLETION)) from None

    async def _read(
        self, spec: ModelSpec, completion: ChatCompletion, question: _Question[_Answer], form: Structured
    ) -> _Answer:
        try:
            return question.read(completion, form)
        except Failure as failure:
            await self._note(spec, failure)
            raise

    async def _answered(
        self,
        endpoint: Endpoint,
        messages: list[Mapping[str, Any]],
        extra: Mapping[str, Any],
        course: _Course,
        *,
        later: int,
        heard: Callable[[str], None] | None,
    ) -> ChatCompletion:
        """Return the completion; a request that fails is counted too."""
        began = time.monotonic()
        try:
            return await endpoint.create(messages, extra, within=course.tries.seconds(later=later), heard=heard)
        except Failure as failure:
            lost = failure.heard is not None
            use = endpoint.use_without_answer(messages, failure.heard or 0) if lost else ModelUse(requests=1)
            course.used(endpoint.spec, _timed(use, began))
            raise

    def _listener(self, spec: ModelSpec, text: Writing | None) -> Callable[[str], None] | None:
        if text is None:
            return None
        text.begin()
        return None if time.monotonic() < self._in_one_piece.get(spec.identity, 0) else text.add

    async def _note(self, spec: ModelSpec, failure: Failure) -> None:
        """Keep what the next request should know: a pause for all, a failure for this process."""
        error = failure.error
        if isinstance(error, ServiceBusy):
            failure.error = busy(await self._pauses.begin(spec.identity, error.retry_after))
        elif failure.why is Why.SERVICE and isinstance(error, ServiceUnavailable | ServiceRefused):
            self._failed[spec.identity] = (time.monotonic(), error.message)

    def _since(self, spec: ModelSpec) -> float:
        """Sorts those that failed a moment ago behind the others, the last one last."""
        failed, _ = self._failed.get(spec.identity, (0.0, ""))
        return failed if failed and time.monotonic() - failed < STANDS_BACK else 0.0

    def _passes_on(self, failure: Failure, tries: Tries) -> bool:
        """Whether another model may succeed."""
        if isinstance(failure.error, ServiceBusy):
            return failure.error.retry_after > self._patience or tries.is_last()
        return failure.why is Why.CUT or not isinstance(failure.error, CutAnswer | RefusedAnswer)

    def _told(self, spec: ModelSpec, course: _Course) -> list[str]:
        """Return the sentence that another model than the first choice answered, and why."""
        if spec == course.first:
            return []
        reasons = [_reason(failure.error) for failed, failure in course.failures if failed == course.first]
        _, earlier = self._failed.get(course.first.identity, (0.0, ""))
        reason = next(iter(reasons), earlier)
        return [f"{spec.label} answered instead of {course.first.label}: {reason}"]

    def _endpoint(self, spec: ModelSpec) -> Endpoint:
        if spec not in self._endpoints:
            self._endpoints[spec] = Endpoint(spec)
        return self._endpoints[spec]


class _Course:
    """What happened in one call so far."""

    def __init__(self, first: ModelSpec, tries: Tries) -> None:
        self.first = first
        self.tries = tries
        self.uses: dict[str, ModelUse] = {}
        self.failures: list[tuple[ModelSpec, Failure]] = []
        self._meter = current_meter()

    def sends(self, spec: ModelSpec, use: ModelUse) -> None:
        """A request is sent, which uses at least this."""
        self._meter.sends(spec.label, use)

    def used(self, spec: ModelSpec, use: ModelUse) -> None:
        """Count for that model what the request used that was sent last."""
        self.uses[spec.label] = self.uses.get(spec.label, ModelUse()) + use
        self._meter.add(spec.label, use)

    def usage(self, told: list[str]) -> Usage:
        """Return what was used, with sentences about the models that stepped in."""
        return Usage.of(self.uses, told, self._meter.phase)

    def error(self) -> RetinueError:
        """Return the error when no model answered: the transient one that ends soonest, else the first choice's."""
        found = [(spec, failure.error) for spec, failure in self.failures]
        retryable = [(spec, error) for spec, error in found if error.retryable]
        spec, error = min(retryable, key=lambda pair: _pause(pair[1])) if retryable else found[0]
        if others := [failed.label for failed, _ in found if failed != spec]:
            error.message += f"; no answer came from {', '.join(others)} either"
        if self.tries.is_last():
            error.retryable = False
        return error


def _timed(use: ModelUse, began: float) -> ModelUse:
    return use.model_copy(update={"seconds": round(time.monotonic() - began, 3)})


def _pause(error: RetinueError) -> float:
    return error.retry_after if isinstance(error, ServiceBusy) else 0.0


def _reason(error: RetinueError) -> str:
    """Without the seconds of a pause: the same reason reads the same each time."""
    return "it is busy and asked for a pause" if isinstance(error, ServiceBusy) else error.message


def _may_take(other: ModelSpec, spec: ModelSpec, failure: Failure) -> bool:
    """Whether a model may succeed where another one failed, by its known limits; True if they are unknown."""
    if failure.why is Why.LENGTH and other.max_input_tokens and spec.max_input_tokens:
        return other.max_input_tokens > spec.max_input_tokens
    return failure.why is not Why.CUT or other.max_output_tokens > spec.max_output_tokens
