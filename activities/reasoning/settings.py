"""Which language model is used, and how."""

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class ReasoningSettings(BaseSettings):
    """`OPENAI_API_KEY`, `OPENAI_BASE_URL`, `RETINUE_MODEL`, `REASONING_TIMEOUT`."""

    model_config = SettingsConfigDict(env_ignore_empty=True, populate_by_name=True)

    api_key: SecretStr = Field(SecretStr("none"), validation_alias="OPENAI_API_KEY")
    base_url: str = Field("https://api.openai.com/v1", validation_alias="OPENAI_BASE_URL")
    model: str = Field("gpt-5-mini", validation_alias="RETINUE_MODEL", description="as the endpoint names it")
    timeout: float = Field(60, gt=0, le=70, validation_alias="REASONING_TIMEOUT", description="seconds per request")
    max_output_tokens: int = Field(8000, gt=0, validation_alias="REASONING_MAX_OUTPUT_TOKENS")
