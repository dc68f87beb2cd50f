"""Settings of the API process."""

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from retinue.settings import RetinueSettings
from workflows.policy import DEFAULT_POLICY, Policy, parse_policies


class ApiSettings(BaseSettings):
    """What the front door reads from the environment; `.env.example` explains each."""

    model_config = SettingsConfigDict(env_ignore_empty=True)

    api_database_url: str = Field(default_factory=lambda: RetinueSettings().sqlite_url("api"))
    retinue_timezone: str = Field("UTC", description="IANA zone of a person who names none")
    retinue_temporal_ui_url: str | None = Field(None, description="address of the Temporal Web UI, for links")
    retinue_allowed_hosts: str = Field(
        "", description="further host names (comma) by which people reach the API; * for any"
    )
    retinue_wait_for: str = Field(
        "", description="capabilities (comma) that must have been seen before /readyz says 200"
    )

    retinue_policy: Path | None = Field(None, description="the policy file (TOML); without it the default policy holds")
    retinue_user_header: str | None = Field(
        None, description="the request header in which an authenticating proxy names the caller; unset: one person"
    )
    retinue_chat_turns: int = Field(100, ge=1, le=500, description="turns after which a chat continues as a new run")

    def policies(self) -> dict[str, Policy]:
        """The policies by name; `default` is always there.

        Raises:
            ValueError: The file cannot be read, or a rule in it is wrong.
        """
        if self.retinue_policy is None:
            return {DEFAULT_POLICY.name: DEFAULT_POLICY}
        try:
            text = self.retinue_policy.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ValueError(f"RETINUE_POLICY={self.retinue_policy} cannot be read: {error}") from None
        return parse_policies(text)

    def hosts(self) -> set[str]:
        """Host names under which we may be asked: this machine's own, `RETINUE_HOST`, `RETINUE_ALLOWED_HOSTS`."""
        named = {name.strip() for name in self.retinue_allowed_hosts.split(",") if name.strip()}
        return {"127.0.0.1", "localhost", "[::1]", RetinueSettings().host} | named

    def wait_for(self) -> set[str]:
        """The names in `RETINUE_WAIT_FOR`."""
        return {name.strip() for name in self.retinue_wait_for.split(",") if name.strip()}

    def temporal_ui(self) -> str:
        """Address of the Web UI without a trailing slash."""
        local = RetinueSettings()
        return (self.retinue_temporal_ui_url or f"http://{local.host}:{local.temporal_ui_port}").rstrip("/")
