"""Which language model is used, and how."""

import os

from pydantic import Field, PrivateAttr, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from retinue.settings import RetinueSettings

_SUFFIX = "_MODEL"


def _agent_models() -> dict[str, str]:
    """`<CAPABILITY>_MODEL`, such as `CALENDAR_MODEL`: capabilities join without a line here, so no field can name them."""
    return {name: value for name, value in os.environ.items() if name.endswith(_SUFFIX) and value}


class ReasoningSettings(BaseSettings):
    """`OPENAI_API_KEY`, `OPENAI_BASE_URL`, `RETINUE_MODEL`, `<CAPABILITY>_MODEL`, `REASONING_*`."""

    model_config = SettingsConfigDict(env_prefix="REASONING_", env_ignore_empty=True, populate_by_name=True)

    api_key: SecretStr = Field(SecretStr("none"), validation_alias="OPENAI_API_KEY")
    base_url: str = Field("https://api.openai.com/v1", validation_alias="OPENAI_BASE_URL")
    model: str = Field("gpt-5-mini", validation_alias="RETINUE_MODEL", description="as the endpoint names it")
    timeout: float = Field(60, gt=0, le=70, description="seconds per request")
    max_output_tokens: int = Field(8000, gt=0)
    price_input: float = Field(0, ge=0, allow_inf_nan=False, description="per million tokens")
    price_output: float = Field(0, ge=0, allow_inf_nan=False, description="per million tokens")
    database_url: str = Field(
        default_factory=lambda: RetinueSettings().sqlite_url("reasoning"),
        description="an SQLAlchemy asyncio address; opened for conversations only",
    )
    _agent_models: dict[str, str] = PrivateAttr(default_factory=_agent_models)

    def model_of(self, agent: str) -> str:
        """The model of a capability's own agent."""
        return self._agent_models.get(f"{agent.upper().replace('-', '_')}{_SUFFIX}", self.model)

    def cost(self, input_tokens: int, output_tokens: int) -> float:
        """What tokens cost by the configured prices."""
        return round((input_tokens * self.price_input + output_tokens * self.price_output) / 1_000_000, 6)
