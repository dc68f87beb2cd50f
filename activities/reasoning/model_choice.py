"""The model on this machine that a person chose: which models are in use now, and what could be used instead.

What the environment says goes before a choice. The choice is a file, so a running worker takes a new one up with its next
request, and so does every other worker that reads the same file.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable, Iterator

from activities.reasoning.contract import (
    ModelAction,
    ModelForm,
    ModelsOfRole,
    ModelsOfServer,
    ModelSource,
    ModelsRequest,
    ModelsResult,
    ModelTest,
)
from activities.reasoning.model import LanguageModel
from activities.reasoning.model_routing import ModelRouting
from activities.reasoning.plan_format import AnswerFormat
from activities.reasoning.settings import OFFLINE, Duty, ReasoningSettings
from activities.reasoning.structured import json_in
from activities.reasoning.used import metered
from retinue.errors import InvalidArguments, RetinueError
from retinue.network import model_choice, model_servers
from retinue.network.model_choice import ModelChoice
from retinue.network.model_servers import ModelServer
from retinue.settings import RetinueSettings

IS_SENT = (
    "your messages and the conversation before them, the descriptions of all tools, and what the tools return: events, "
    "mails, contacts, tasks, web pages"
)
_ENVIRONMENT = (
    "the environment names the model, and goes before a choice: remove OPENAI_API_KEY, OPENAI_BASE_URL and RETINUE_MODEL "
    "there (or in .env) and start again"
)
_READY = "ready"
_TEST = [{"role": "user", "content": f'Answer with the JSON object {{"{_READY}": true}} and nothing else.'}]
"""All that a test sends, whatever is set up."""
_TEST_FORMAT = AnswerFormat(
    "test",
    {
        "type": "object",
        "properties": {_READY: {"type": "boolean"}},
        "required": [_READY],
        "additionalProperties": False,
    },
)
_log = logging.getLogger("retinue.reasoning")


class ModelChoices:
    """Shows, changes and tests which models are used.

    Args:
        model: The models in use.
    """

    def __init__(self, model: LanguageModel) -> None:
        self._model = model
        self._settings = model.routing.settings

    async def answer(self, request: ModelsRequest) -> ModelsResult:
        """Do what is asked, and return what is so then."""
        servers = await asyncio.to_thread(_servers)
        refused = self._use(request, servers) if request.action is ModelAction.USE else ""
        test = await self._tested() if request.action is ModelAction.TEST else None
        return ModelsResult(
            source=self._source(),
            roles=list(self._roles()),
            servers=[
                ModelsOfServer(name=one.name, address=one.base_url, models=[model.name for model in one.models])
                for one in servers
            ],
            forms=await self._forms(),
            is_sent=IS_SENT,
            refused=refused,
            test=test,
        )

    def _use(self, request: ModelsRequest, servers: Iterable[ModelServer]) -> str:
        """Keep the choice; return why it is not kept."""
        if not self._settings.may_choose:
            return _ENVIRONMENT
        choice = _choice(request, servers)
        if request.model and choice is None:
            return f"no server at {request.server} offers a model {request.model!r} now"
        if choice and not _is_taken(self._settings, choice):
            return f"a model named {choice.model!r} cannot be chosen; name its endpoint in RETINUE_MODELS"
        try:
            model_choice.write(self._settings.choice, choice)
        except OSError as error:
            return f"the choice could not be kept: {error.strerror}"
        _log.info("another model was chosen", extra={"model": choice.model if choice else OFFLINE})
        return ""

    async def _forms(self) -> list[ModelForm]:
        """Return how the models in use answer in JSON; nothing while the database does not answer."""
        used = {model for role in self._roles() for model in role.models}
        try:
            known = await self._model.forms()
        except RetinueError:
            return []
        return [
            ModelForm(model=one.model, form=one.form, words=one.words, at=one.at) for one in known if one.model in used
        ]

    def _source(self) -> ModelSource:
        if not self._settings.may_choose:
            return ModelSource.ENVIRONMENT
        return ModelSource.CHOICE if self._model.routing.chosen() else ModelSource.BUILT_IN

    def _roles(self) -> Iterator[ModelsOfRole]:
        routing = self._model.routing.now()
        named = {**{duty.value: routing.models_for(duty) for duty in Duty}, "agent": routing.models_of("")}
        for role, specs in named.items():
            yield ModelsOfRole(role=role, models=[spec.identity for spec in specs])

    async def _tested(self) -> ModelTest:
        began, ok, words = time.monotonic(), True, "it answered with the JSON that was asked for"
        with metered() as meter:
            try:
                answer, usage = await self._model.complete(_TEST, answer_format=_TEST_FORMAT, duty=Duty.PLAN)
                json_in(answer)
                words = "; ".join([words, *usage.instead])
            except RetinueError as error:
                ok, words = False, error.message
        return ModelTest(ok=ok, seconds=round(time.monotonic() - began, 1), words=words, usage=meter.total())


def _servers() -> list[ModelServer]:
    """Return the servers on this machine.

    Raises:
        InvalidArguments: The variable that lists them is wrong.
    """
    try:
        return model_servers.find(model_servers.addresses(RetinueSettings().model_servers))
    except ValueError as error:
        raise InvalidArguments(f"RETINUE_MODEL_SERVERS: {error}") from None


def _choice(request: ModelsRequest, servers: Iterable[ModelServer]) -> ModelChoice | None:
    found = ((server, model) for server in servers if server.base_url == request.server for model in server.models)
    return next(
        (
            ModelChoice(base_url=server.base_url, model=model.name, server=server.name, context=model.context)
            for server, model in found
            if model.name == request.model
        ),
        None,
    )


def _is_taken(settings: ReasoningSettings, choice: ModelChoice) -> bool:
    """Whether the model's name leads to its own server, and not by a comma or an `@` to others."""
    try:
        specs = ModelRouting(settings.with_choice(choice)).models_for(Duty.PLAN)
    except ValueError:
        return False
    return [(spec.model, spec.base_url) for spec in specs] == [(choice.model, choice.base_url)]
