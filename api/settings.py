"""Settings of the API process."""

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from retinue.settings import RetinueSettings


class ApiSettings(BaseSettings):
    """`API_DATABASE_URL`, `RETINUE_TIMEZONE`, `RETINUE_TEMPORAL_UI_URL`, `RETINUE_ALLOWED_HOSTS`, `RETINUE_WAIT_FOR`."""

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
