"""A model on this machine that a person chooses: what may be chosen, what is sent, and that a running worker takes it up."""

from __future__ import annotations

import json
import stat
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from activities.reasoning.contract import ComposeRequest, ModelAction, ModelSource, ModelsRequest, ModelsResult
from activities.reasoning.model import LanguageModel
from activities.reasoning.settings import ReasoningSettings
from activities.reasoning.tools import ReasoningTools
from activities.reasoning.worker import notice
from retinue.network import model_choice, model_servers
from retinue.network.model_choice import ModelChoice, choice_file
from retinue.testing import Answer
from tests.activities.reasoning.conftest import fixed_manifests, store_at
from tests.activities.reasoning.endpoints import Endpoints, many_models

KEY = "sk-canary-0123456789"
BUILT_IN = "offline"


@dataclass
class Place:
    """A worker whose environment names no model but the built-in one, with another server on its machine."""

    tools: ReasoningTools
    model: LanguageModel
    found: Endpoints
    file: Path

    async def use(self, model: str, server: str | None = None) -> ModelsResult:
        asked = ModelsRequest(action=ModelAction.USE, server=server or self.found.url, model=model)
        return await self.tools.models(asked)

    async def test(self) -> ModelsResult:
        return await self.tools.models(ModelsRequest(action=ModelAction.TEST))

    async def text(self) -> str:
        return (await self.tools.compose(ComposeRequest(instruction="A line, please."))).text


@pytest.fixture
async def found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> AsyncIterator[Endpoints]:
    monkeypatch.setenv("RETINUE_DATA_DIR", str(tmp_path))
    monkeypatch.setattr(model_servers, "WITHIN", 20.0)
    async with many_models() as running:
        running.says("qwen3", Answer("from qwen3"))
        monkeypatch.setenv("RETINUE_MODEL_SERVERS", running.url)
        yield running


@pytest.fixture
async def place(found: Endpoints, tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Place]:
    """The name of the worker's own model may be given as a parameter."""
    name = getattr(request, "param", BUILT_IN)
    async with many_models() as own:
        own.says(name, Answer("from the built-in one"))
        model = LanguageModel(ReasoningSettings(api_key=KEY, base_url=own.url, model=name, timeout=20))
        transcripts = store_at(tmp_path / "reasoning.db")
        yield Place(ReasoningTools(model, fixed_manifests, transcripts), model, found, choice_file(tmp_path))
        await model.close()
        await transcripts.close()


async def test_a_running_worker_uses_a_chosen_model_with_its_next_request(place: Place) -> None:
    assert await place.text() == "from the built-in one"
    assert place.found.requests == []
    after = await place.use("qwen3")
    assert (after.refused, after.source) == ("", ModelSource.CHOICE)
    assert place.found.requests == []
    assert await place.text() == "from qwen3"
    assert (await place.use("")).source == ModelSource.BUILT_IN
    assert await place.text() == "from the built-in one"


async def test_what_is_kept_is_the_persons_alone_and_holds_no_key(place: Place) -> None:
    await place.use("qwen3")
    assert stat.S_IMODE(place.file.stat().st_mode) == 0o600
    assert KEY not in place.file.read_text()
    assert list(place.file.parent.glob(".model-*")) == []


async def test_a_chosen_model_is_not_sent_the_environments_key(place: Place) -> None:
    await place.use("qwen3")
    [spec] = place.model.routing.now().models_of("calendar")
    assert (spec.base_url, spec.key.get_secret_value()) == (place.found.url, "none")


async def test_the_models_in_use_and_those_on_the_machine_are_shown(place: Place) -> None:
    shown = await place.tools.models(ModelsRequest())
    assert shown.source == ModelSource.BUILT_IN
    assert {one.role for one in shown.roles} == {"plan", "reply", "agent"}
    assert [(one.name, one.address, one.models) for one in shown.servers] == [("Ollama", place.found.url, ["qwen3"])]
    assert place.found.requests == []


@pytest.mark.parametrize("place", ["gpt-5-mini"], indirect=True)
async def test_the_environment_goes_before_a_choice(place: Place) -> None:
    model_choice.write(place.file, ModelChoice(base_url=place.found.url, model="qwen3", server="Ollama"))
    assert await place.text() == "from the built-in one"
    for name in ("qwen3", ""):
        after = await place.use(name)
        assert "the environment names the model" in after.refused
        assert after.source == ModelSource.ENVIRONMENT
    assert place.file.exists()


@pytest.mark.parametrize(
    ("model", "server"),
    [("llama3", None), ("qwen3", "http://127.0.0.1:1/v1"), ("qwen3", "https://models.example/v1"), ("qwen3", "")],
)
async def test_only_what_a_server_on_this_machine_offers_is_used(place: Place, model: str, server: str | None) -> None:
    after = await place.tools.models(
        ModelsRequest(action=ModelAction.USE, server=place.found.url if server is None else server, model=model)
    )
    assert "offers a model" in after.refused
    assert not place.file.exists()


@pytest.mark.parametrize("name", ["qwen3,gpt-5", " qwen3", "qwen3@elsewhere"])
async def test_a_name_that_would_lead_elsewhere_is_refused(place: Place, name: str) -> None:
    place.found.says(name, Answer("x"))
    assert "cannot be chosen" in (await place.use(name)).refused
    assert not place.file.exists()


@pytest.mark.parametrize(
    "content", ["", "{}", "no JSON", '{"base_url": "https://models.example/v1", "model": "m", "server": "x"}']
)
async def test_a_file_that_holds_something_else_changes_nothing(place: Place, content: str) -> None:
    place.file.write_text(content)
    assert await place.text() == "from the built-in one"
    await place.use("qwen3")
    assert await place.text() == "from qwen3"


async def test_the_context_that_a_server_tells_bounds_what_is_sent(place: Place) -> None:
    choice = ModelChoice(base_url=place.found.url, model="qwen3", server="vLLM", context=4096)
    model_choice.write(place.file, choice)
    [spec] = place.model.routing.now().models_of("")
    assert (spec.max_input_tokens, spec.max_output_tokens) == (3072, 1024)
    assert spec.token_limit == "max_tokens"


def test_a_chosen_model_has_as_long_as_a_model_may_have_unless_the_environment_says_how_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("REASONING_TIMEOUT", raising=False)
    choice = ModelChoice(base_url="http://127.0.0.1:11434/v1", model="qwen3", server="Ollama")
    assert ReasoningSettings(model=BUILT_IN).with_choice(choice).timeout == 70
    assert ReasoningSettings(model=BUILT_IN, timeout=20).with_choice(choice).timeout == 20


async def test_a_test_sends_one_small_request_with_nothing_of_the_person(place: Place) -> None:
    place.found.says("qwen3", Answer('{"ready": true}'))
    await place.use("qwen3")
    after = await place.test()
    assert after.test
    assert (after.test.ok, after.test.usage.requests) == (True, 1)
    [sent] = place.found.requests
    assert len(json.dumps(sent["messages"])) < 200
    assert sent["response_format"]["json_schema"]["name"] == "test"


@pytest.mark.parametrize(
    ("answer", "words"),
    [(Answer("Yes, I am ready!"), "holds no JSON object"), (Answer(status=500), "failed with status 500")],
)
async def test_a_test_that_fails_says_why(place: Place, answer: Answer, words: str) -> None:
    place.found.says("qwen3", answer)
    await place.use("qwen3")
    after = await place.test()
    assert after.test
    assert not after.test.ok
    assert words in after.test.words


async def test_the_notice_ends_when_a_model_is_chosen(place: Place) -> None:
    settings = ReasoningSettings(model=BUILT_IN)
    assert "No language model is set up" in notice(settings)
    await place.use("qwen3")
    assert notice(settings) == ""
