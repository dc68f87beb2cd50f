"""Which language models are used, and how."""

import os
from enum import StrEnum
from pathlib import Path

from pydantic import Field, PrivateAttr, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from retinue.network.model_choice import ModelChoice, choice_file
from retinue.settings import RetinueSettings

OFFLINE = "offline"
"""The name of the built-in model, which stands in where nobody set up another one."""
_SUFFIX = "_MODEL"
_LONGEST_TIMEOUT = 70
_WRITTEN_SHARE = 4
"""One part in so many of a chosen model's context is kept for its answer."""
DEFAULT_TOOL_TOKENS = 7000


class Structured(StrEnum):
    """How an endpoint is asked for JSON. Later ones ask less of it."""

    STRICT = "strict"
    JSON_SCHEMA = "json_schema"
    OBJECT_SCHEMA = "json_object_schema"
    """A JSON object, with the schema beside it: what llama-cpp-python and some services take."""
    JSON_OBJECT = "json_object"
    PROMPT = "prompt"
    AUTO = "auto"
    """Found out by a tiny request when it is first needed."""


class TokenLimit(StrEnum):
    """The field that bounds an answer: OpenAI's newer models know only the first one, some other servers the second."""

    MAX_COMPLETION_TOKENS = "max_completion_tokens"
    MAX_TOKENS = "max_tokens"


class Duty(StrEnum):
    """What a model is asked for. Agents are the third duty, and each has a model by its own name."""

    PLAN = "plan"
    REPLY = "reply"


def _agent_models() -> dict[str, str]:
    """`<CAPABILITY>_MODEL`, such as `CALENDAR_MODEL`: capabilities join without a line here, so no field can name them."""
    return {name: value for name, value in os.environ.items() if name.endswith(_SUFFIX) and value}


class ReasoningSettings(BaseSettings):
    """`OPENAI_*`, `RETINUE_MODEL`, `RETINUE_MODEL_<DUTY>`, `RETINUE_MODELS`, `<CAPABILITY>_MODEL`, `REASONING_*`.

    A model's variable may list several by comma: the first is asked, the others step in.
    """

    model_config = SettingsConfigDict(
        env_prefix="REASONING_", env_ignore_empty=True, populate_by_name=True, hide_input_in_errors=True
    )

    api_key: SecretStr = Field(SecretStr("none"), validation_alias="OPENAI_API_KEY")
    base_url: str = Field("https://api.openai.com/v1", validation_alias="OPENAI_BASE_URL")
    model: str = Field("gpt-5-mini", validation_alias="RETINUE_MODEL", description="as the endpoint names it")
    model_plan: str = Field("", validation_alias="RETINUE_MODEL_PLAN", description="for plans; by default `model`")
    model_reply: str = Field("", validation_alias="RETINUE_MODEL_REPLY", description="for answers and composed texts")
    model_agent: str = Field("", validation_alias="RETINUE_MODEL_AGENT", description="for agents without one of theirs")
    models: Path | None = Field(None, validation_alias="RETINUE_MODELS", description="a TOML file of further endpoints")
    timeout: float = Field(60, gt=0, le=_LONGEST_TIMEOUT, description="seconds per request")
    max_output_tokens: int = Field(8000, gt=0)
    max_input_tokens: int | None = Field(None, gt=0, description="the model's context; None where it is not known")
    tool_tokens: int = Field(
        DEFAULT_TOOL_TOKENS, gt=0, description="of a planning request, for tools; of more, those that fit are listed"
    )
    structured: Structured = Structured.AUTO
    token_limit: TokenLimit = TokenLimit.MAX_COMPLETION_TOKENS
    patience: float = Field(
        10, ge=0, le=120, description="seconds of a pause that are waited for before another steps in"
    )
    price_input: float = Field(0, ge=0, allow_inf_nan=False, description="per million tokens")
    price_cached: float | None = Field(None, ge=0, allow_inf_nan=False, description="of those read from its cache")
    price_output: float = Field(0, ge=0, allow_inf_nan=False, description="per million tokens")
    database_url: str = Field(
        default_factory=lambda: RetinueSettings().sqlite_url("reasoning"),
        description="an SQLAlchemy asyncio address; opened for conversations and pauses",
    )
    _agent_models: dict[str, str] = PrivateAttr(default_factory=_agent_models)
    _choice: Path = PrivateAttr(default_factory=lambda: choice_file(RetinueSettings().data_dir))

    @property
    def choice(self) -> Path:
        """The file of the model that a person chose; what the environment says goes before it."""
        return self._choice

    @property
    def may_choose(self) -> bool:
        """Whether a person may choose a model: the environment names none."""
        return self.model == OFFLINE

    def with_choice(self, choice: ModelChoice) -> "ReasoningSettings":
        """Return these settings with the chosen model at the default endpoint."""
        fields: dict[str, object] = {
            "base_url": choice.base_url,
            "model": choice.model,
            "api_key": SecretStr("none"),
            "token_limit": TokenLimit.MAX_TOKENS,
        }
        if "timeout" not in self.model_fields_set:
            fields["timeout"] = _LONGEST_TIMEOUT  # without a graphics card they are slow
        if choice.context:
            written = min(self.max_output_tokens, choice.context // _WRITTEN_SHARE)
            fields |= {"max_output_tokens": written, "max_input_tokens": choice.context - written}
        return self.model_copy(update=fields)

    def models_for(self, duty: Duty) -> tuple[str, str]:
        """Return the list of models for a duty, and its variable."""
        own = {Duty.PLAN: self.model_plan, Duty.REPLY: self.model_reply}[duty]
        return (own, f"RETINUE_MODEL_{duty.upper()}") if own else (self.model, "RETINUE_MODEL")

    def models_of(self, agent: str) -> tuple[str, str]:
        """Return the list of models of a capability's own agent, and its variable."""
        variable = f"{agent.upper().replace('-', '_')}{_SUFFIX}"
        if own := self._agent_models.get(variable):
            return own, variable
        return (self.model_agent, "RETINUE_MODEL_AGENT") if self.model_agent else (self.model, "RETINUE_MODEL")

    def agent_lists(self) -> list[tuple[str, str]]:
        """Return all lists in `<CAPABILITY>_MODEL` variables, with these variables."""
        return [(value, name) for name, value in sorted(self._agent_models.items()) if name != "RETINUE_MODEL"]
