"""The variables and the file that name models: what they mean, and what is said when they are wrong."""

from __future__ import annotations

import re
import traceback
from pathlib import Path
from typing import Any

import pytest

from activities.reasoning import model_routing as roster_module
from activities.reasoning.model_routing import ModelRouting
from activities.reasoning.settings import Duty, ReasoningSettings
from retinue.errors import ServiceRefused
from retinue.settings import ROOT

KEY = "sk-canary-0123456789"
GOOD = """
[models.local]
base_url = "http://localhost:11434/v1"
model = "qwen3"
structured = "json_object"
token_limit = "max_tokens"
max_output_tokens = 4000

[models.nim]
base_url = "https://integrate.api.nvidia.com/v1"
api_key_env = "MY_NIM_KEY"
timeout = 30
price_input = 1.5
price_output = 3
"""


@pytest.fixture
def roster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("MY_NIM_KEY", KEY)

    def one(listed: str = "local", text: str | None = GOOD, **settings: Any) -> ModelRouting:
        file = tmp_path / "models.toml"
        file.write_text(text or "")
        said = {"api_key": "default-key", "base_url": "http://default/v1", **settings}
        return ModelRouting(ReasoningSettings(model=listed, models=file if text is not None else None, **said))

    return one


def test_a_list_may_mix_the_default_endpoint_and_those_of_the_file(roster: Any) -> None:
    default, local, other, nim = roster("gpt-5-mini, local, llama3.2:3b@local,meta/llama@nim").models_for(Duty.PLAN)
    assert (default.label, default.model, default.base_url) == ("gpt-5-mini", "gpt-5-mini", "http://default/v1")
    assert (local.label, local.model, local.base_url) == ("local", "qwen3", "http://localhost:11434/v1")
    assert (other.label, other.model, other.base_url) == ("llama3.2:3b@local", "llama3.2:3b", local.base_url)
    assert (nim.model, nim.key.get_secret_value(), nim.timeout, nim.price_input) == ("meta/llama", KEY, 30, 1.5)
    assert (local.structured, local.token_limit, local.max_output_tokens) == ("json_object", "max_tokens", 4000)
    assert (default.key.get_secret_value(), local.key.get_secret_value()) == ("default-key", "none")


@pytest.mark.parametrize("name", ["claude-3@20240620", "@cf/meta/llama-3", "org/model:tag"])
def test_a_name_with_an_at_sign_may_be_a_models_own(roster: Any, name: str) -> None:
    (spec,) = roster(name, text=None).models_for(Duty.PLAN)
    assert (spec.model, spec.base_url) == (name, "http://default/v1")


def test_what_a_section_leaves_out_is_as_the_settings_say_but_for_prices(roster: Any) -> None:
    (spec,) = roster("local", timeout=20, price_input=7).models_for(Duty.PLAN)
    assert (spec.timeout, spec.price_input) == (20, 0)


@pytest.mark.parametrize(
    ("listed", "text", "says"),
    [
        (" , ", GOOD, "RETINUE_MODEL names no model"),
        ("a,b,c,d,e", GOOD, "names 5 models; at most 4"),
        ("a, b, a", GOOD, "names 'a' twice"),
        ("nim", GOOD, r"\[models.nim\] in .* says no `model`; add one, or write MODEL@nim"),
        ("qwen3@lokal", GOOD, r"needs an endpoint \[models.lokal\]; in .* there are: local, nim"),
        ("qwen3@local", None, "without RETINUE_MODELS, the file of endpoints there are: none"),
        ("local", "[models.local", "it is no TOML"),
        ("local", 'local = "x"', r"'local' stands at its top; write \[models.NAME\]"),
        ("local", 'models = "x"', r"write one \[models.NAME\]"),
        ("local", '[models.local]\nmodel = "x"', "field 'base_url': Field required"),
        ("local", '[models.local]\nbase_url = "localhost:11434"', "write an address such as"),
        ("local", '[models.local]\nbase_url = "http://me:pw@host/v1"', "an address holds no password"),
        ("local", f'[models.local]\nbase_url = "http://h/v1"\napi_key = "{KEY}"', "has a field 'api_key'; there are"),
        ("local", f'[models.local]\nbase_url = "http://h/v1"\napi_key_env = "{KEY}"', "the key itself does not belong"),
        (
            "m@local",
            '[models.local]\nbase_url = "http://h/v1"\napi_key_env = "NOT_SET_6"',
            "NOT_SET_6, which is not set",
        ),
        (
            "local",
            '[models.local]\nbase_url = "http://h/v1"\nstructured = "xml"',
            "'json_schema', 'json_object_schema'",
        ),
        ("local", '[models.local]\nbase_url = "http://h/v1"\ntimeout = 90', "less than or equal to 70"),
        ("local", '[models.local]\nbase_url = "http://h/v1"\nprice_input = -1', "field 'price_input'"),
        ("local", '[models."a b"]\nbase_url = "http://h/v1"', "a name begins with a letter"),
        ("local", "#" * 70_000, "longer than 64 KiB"),
    ],
)
def test_what_is_wrong_is_said_at_the_start(roster: Any, listed: str, text: str | None, says: str) -> None:
    with pytest.raises(ValueError, match=says) as caught:
        roster(listed, text)
    assert KEY not in "".join(traceback.format_exception(caught.value))


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot be read: No such file"):
        ModelRouting(ReasoningSettings(models=tmp_path / "none.toml"))


def test_no_key_stands_in_a_repr(roster: Any) -> None:
    specs = roster("local, m@nim").models_for(Duty.PLAN)
    assert KEY not in repr(specs) + str(specs)


def test_a_foreign_variable_stops_nothing_and_is_said_when_it_is_used(
    roster: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Other programs have variables that end in _MODEL."""
    monkeypatch.setenv("WHISPER_MODEL", "large@v3")
    found = roster("local")
    assert "WHISPER_MODEL" not in [spec.label for spec in found.models_for(Duty.PLAN)]
    assert "would have no model" in caplog.text
    with pytest.raises(ServiceRefused, match=r"needs an endpoint \[models.v3\]"):
        found.models_of("whisper")


def test_the_example_of_the_documentation_is_right(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file and the variables of docs/models.md as they stand there."""
    page = (ROOT / "docs/models.md").read_text(encoding="utf-8")
    file = tmp_path / "models.toml"
    file.write_text(page.partition("```toml\n")[2].partition("```")[0])
    variables = re.findall(r"^([A-Z_]+)=(.+)$", page.partition("```\nRETINUE_MODELS")[2].partition("```")[0], re.M)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    for name, value in [*variables, ("RETINUE_MODELS", str(file))]:
        monkeypatch.setenv(name, value)
    roster = ModelRouting(ReasoningSettings())
    planners, agent = roster.models_for(Duty.PLAN), roster.models_of("calendar")
    assert [spec.host for spec in planners] == ["integrate.api.nvidia.com", "api.openai.com", "localhost"]
    assert [spec.label for spec in roster.models_for(Duty.REPLY)] == ["gpt-5-mini", "local"]
    assert [(spec.label, spec.max_input_tokens) for spec in agent] == [("local", 32000)]


def test_every_field_of_the_file_is_documented() -> None:
    page = (ROOT / "docs/models.md").read_text(encoding="utf-8")
    assert [field for field in roster_module._Section.model_fields if f"`{field}`" not in page] == []
