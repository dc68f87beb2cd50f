"""Settings of the API process."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from api.auth.loopback_only import check_address
from api.auth.principals import HOME
from api.auth.settings import IdentitySettings
from api.http.rate_limits import Rate
from retinue.settings import RetinueSettings
from workflows.rules.policy import DEFAULT_POLICY, Policy
from workflows.rules.policy_file import parse_policies

if TYPE_CHECKING:
    from retinue.network.egress import (  # only webhooks need it, and its HTTP client costs memory
        Egress,
        HostPort,
    )

_PROTOCOLS = frozenset({"mcp", "openai", "a2a", "ag-ui"})


class ApiSettings(BaseSettings):
    """The API's environment variables; `.env.example` explains each."""

    model_config = SettingsConfigDict(env_ignore_empty=True)

    api_database_url: str = Field(default_factory=lambda: RetinueSettings().sqlite_url("api"))
    retinue_timezone: str = Field("UTC", description="default IANA time zone, also for the days of daily budgets")
    retinue_temporal_ui_url: str | None = Field(None, description="address of the Temporal Web UI, for links")
    retinue_allowed_hosts: str = Field("", description="additional host names (comma) of the API; * for any")
    retinue_wait_for: str = Field(
        "", description="capabilities (comma) that must have registered before /readyz returns 200"
    )

    retinue_policy: Path | None = Field(None, description="the policy file (TOML); default: the built-in policy")
    retinue_user_header: str | None = Field(
        None, description="the request header in which an authenticating proxy names the caller; unset: single user"
    )
    retinue_private_address: bool = Field(
        False, description="only the single user reaches the listen address, although it is not loopback"
    )
    retinue_cors_origins: str = Field(
        "",
        description="origins (comma), as in https://app.example.com, whose pages may call with their own credentials",
    )
    retinue_rate_limit: str | None = Field(None, description="requests/seconds per caller, as in 1200/60")
    retinue_failed_logins: str = Field("300/60", description="failed sign-ins/seconds per address, as in 300/60")
    retinue_codec_origin: str | None = Field(
        None,
        pattern=r"^https?://[^/?#\s]+$",
        description="the exact origin of the Web UI for the codec server; unset: no codec server",
    )
    retinue_codec_tenant: str = Field(HOME, description="the organisation whose operators may decode payloads")
    retinue_chat_turns: int = Field(100, ge=1, le=500, description="turns after which a chat continues as a new run")

    retinue_trigger_seconds: float = Field(
        60,
        ge=1,
        le=86_400,
        description="seconds between two looks of a trigger's account, where it cannot be waited for",
    )

    retinue_webhooks: bool = Field(False, description="people may register webhooks")
    retinue_webhook_allow: str = Field(
        "", description="destinations (comma, host:port) allowed for webhooks although they are private or without TLS"
    )
    retinue_webhook_retries: str = Field(
        "5,300,1800,7200,18000,36000,50400,72000,86400",
        pattern=r"^\d{1,5}(\.\d{1,3})?(,\d{1,5}(\.\d{1,3})?){0,11}$",
        description="seconds (comma) before each further delivery attempt; after the last one the message fails",
    )
    retinue_public_url: str | None = Field(
        None,
        pattern=r"^https?://[^/?#\s][^?#\s]*$",
        description="the console's public address, for links in messages",
    )

    retinue_doors: str = Field(
        "mcp,openai,a2a,ag-ui", description="protocols (comma) served besides the API; - for none"
    )

    def policies(self) -> dict[str, Policy]:
        """Return the policies by name; `default` always exists.

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
        """Return the allowed host names: this machine's own, `RETINUE_HOST`, `RETINUE_ALLOWED_HOSTS`."""
        named = {name.strip() for name in self.retinue_allowed_hosts.split(",") if name.strip()}
        return {"127.0.0.1", "localhost", "[::1]", RetinueSettings().host} | named

    def cors_origins(self) -> set[str]:
        """Return the origins in `RETINUE_CORS_ORIGINS`, exactly as browsers send them.

        Raises:
            ValueError: One of them is not an origin.
        """
        origins = {name.strip() for name in self.retinue_cors_origins.split(",") if name.strip()}
        for origin in origins:
            if not re.fullmatch(r"https?://[a-z0-9.-]+(:\d{1,5})?|http://\[[0-9a-f:]+\](:\d{1,5})?", origin):
                raise ValueError(
                    f"RETINUE_CORS_ORIGINS: {origin!r} is not an origin; write it as in https://app.example.com"
                )
        return origins

    def protocols(self) -> set[str]:
        """Return the protocols in `RETINUE_DOORS`; `-` means none, since an empty variable counts as unset.

        Raises:
            ValueError: There is no such protocol.
        """
        names = {name.strip() for name in self.retinue_doors.split(",") if name.strip()} - {"-"}
        if unknown := sorted(names - _PROTOCOLS):
            raise ValueError(
                f"RETINUE_DOORS: there is no protocol {unknown[0]!r}; there are {', '.join(sorted(_PROTOCOLS))}"
            )
        return names

    def rate_limit(self) -> Rate:
        """Return the rate limit per caller; very high for the single user of this machine.

        Raises:
            ValueError: It is not a valid rate.
        """
        return Rate.parsed(self.retinue_rate_limit or ("60000/60" if self.alone() else "1200/60"))

    def alone(self) -> bool:
        """Return whether this is a single-user installation: a caller without a credential is the user."""
        return self.retinue_user_header is None and IdentitySettings().retinue_oidc_issuer is None

    def check_address(self) -> None:
        """Check the settings before the start.

        Raises:
            InvalidArguments: Others could act as the single user.
        """
        if self.alone() and not self.retinue_private_address:
            check_address(RetinueSettings().host)

    def webhook_destinations(self) -> set[HostPort]:
        """Return the destinations in `RETINUE_WEBHOOK_ALLOW`.

        Raises:
            ValueError: One of them is none.
        """
        from retinue.network.egress import HostPort

        return {HostPort.parse(place) for place in self.retinue_webhook_allow.split(",") if place.strip()}

    def webhook_egress(self) -> Egress:
        """Return the egress rules of webhooks. Raise ValueError for a wrong `RETINUE_WEBHOOK_ALLOW`."""
        from retinue.network.egress import Egress

        return Egress(allow=self.webhook_destinations(), hint="RETINUE_WEBHOOK_ALLOW opens single places")

    def webhook_pauses(self) -> list[float]:
        """Return the seconds in `RETINUE_WEBHOOK_RETRIES`."""
        return [float(pause) for pause in self.retinue_webhook_retries.split(",")]

    def public_url(self) -> str:
        """Return the console's public address, without a trailing slash."""
        local = RetinueSettings()
        return (self.retinue_public_url or f"http://{local.host}:{local.port}").rstrip("/")

    def wait_for(self) -> set[str]:
        """Return the names in `RETINUE_WAIT_FOR`."""
        return {name.strip() for name in self.retinue_wait_for.split(",") if name.strip()}

    def temporal_ui(self) -> str:
        """Return the address of the Web UI, without a trailing slash."""
        local = RetinueSettings()
        return (self.retinue_temporal_ui_url or f"http://{local.host}:{local.temporal_ui_port}").rstrip("/")
