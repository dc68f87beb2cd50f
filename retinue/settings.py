"""Settings that several packages read. Capabilities and the API have their own classes.

Every entry point calls `load_environment()` once, builds its settings and passes them down. Secrets are `SecretStr`, so
that no log and no traceback shows them.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from dotenv import load_dotenv
from pydantic import AwareDatetime, Field, SecretStr, TypeAdapter
from pydantic_settings import BaseSettings, SettingsConfigDict

ROOT = Path(__file__).resolve().parent.parent
RESTORED_AT = "restored-at"
"""The file in the data folder that says when a backup of it was restored."""
_A_TIME = TypeAdapter(AwareDatetime)
LOCAL_PERSON = "local"
"""The person of an installation that does not tell people apart."""
_LOOPBACK = ("127.0.0.1", "localhost", "::1", "[::1]")


def load_environment() -> None:
    """Read `.env` in the repository's root, if there is one. Variables that are already set win."""
    load_dotenv(ROOT / ".env", override=False)


class RetinueSettings(BaseSettings):
    """`RETINUE_*`: where state is stored and which addresses the local stack uses."""

    model_config = SettingsConfigDict(env_prefix="RETINUE_", env_ignore_empty=True)

    data_dir: Path = Field(ROOT / ".retinue", description="databases, logs and the Temporal state of a local stack")
    blob_dir: Path | None = Field(None, description="large payloads of runs; by default `blobs` in the data folder")
    blob_bucket: str = Field(
        "",
        pattern=r"^([a-z0-9][a-z0-9.-]{1,61}[a-z0-9](,|$)){0,9}$",
        description="S3 buckets (comma) for large payloads instead of the folder; the first one is written, all are read",
    )
    host: str = "127.0.0.1"
    port: int = Field(8000, ge=1, le=65535)
    temporal_port: int = Field(7233, ge=1, le=65535)
    temporal_ui_port: int = Field(8233, ge=1, le=65535)
    temporal_http_port: int | None = Field(
        None, ge=1, le=65535, description="of the embedded Temporal's HTTP API; by default a free one, never the same"
    )
    radicale_port: int = Field(
        5232, ge=1, le=65535, description="of the calendar server that `up --with radicale` starts"
    )
    prometheus_port: int = Field(
        9090, ge=1, le=65535, description="of the Prometheus that `up --with observability` starts"
    )
    worker_concurrency: int = Field(50, ge=1, le=1000, description="activities that one worker process runs at a time")
    worker_resources: bool = Field(
        False,
        description="a worker takes fewer activities than that while memory is above 80 % or CPU above 90 % of the machine's "
        "or container's",
    )
    build_id: str = Field(
        "",
        pattern=r"^[A-Za-z0-9_.-]{0,100}$",
        description="names this build of the workflows; with it every worker is a version that Temporal routes work to",
    )
    make_current: bool = Field(
        False, description="workers make their version the current one when they start, as those of `up` do"
    )
    log_level: str = "INFO"
    log_format: Literal["text", "json"] = Field("text", description="of log lines: for people, or one JSON object each")
    longest_pause: float = Field(
        900, ge=1, le=86_400, description="the longest pause in seconds that a service may ask for"
    )
    liveness_file: Path | None = Field(
        None, description="file that is touched every few seconds while this process is not stuck"
    )
    model_servers: str = Field(
        "",
        description="addresses on this machine (comma) that are asked for language models; by default the usual ports of "
        "Ollama, llama.cpp, LM Studio, vLLM and Jan; `off` asks none",
    )
    restored_at: AwareDatetime | None = Field(
        None, description="when the installation started again after a backup was restored (docs/backup.md)"
    )
    mcp_config: Path | None = Field(None, description="MCP servers; by default `mcp.json` in the data folder, if any")
    a2a_config: Path | None = Field(None, description="A2A agents; by default `a2a.json` in the data folder, if any")

    def blobs(self) -> Path:
        """Return the folder of large payloads, the same for all processes of an installation."""
        return (self.blob_dir or self.data_dir / "blobs").resolve()

    def buckets(self) -> list[str]:
        """Return the S3 buckets of large payloads; none: they are files."""
        return [name for name in self.blob_bucket.split(",") if name]

    def restored(self) -> datetime | None:
        """Return when a backup was restored: as the variable says, else a file in the data folder; None without both.

        Raises:
            ValueError: The file holds no time.
        """
        if self.restored_at is not None:
            return self.restored_at
        try:
            said = (self.data_dir / RESTORED_AT).read_text(encoding="ascii").strip()
        except FileNotFoundError:
            return None
        return _A_TIME.validate_python(said) if said else datetime.now(UTC)  # empty until the next start

    def sqlite_url(self, name: str) -> str:
        """Return the address of the SQLite file `name`.db in the data folder."""
        return f"sqlite+aiosqlite:///{self.data_dir.resolve() / name}.db"


def encrypts() -> bool:
    """Whether encryption keys are set, without the cost of reading them (see `retinue.temporal.codec`)."""
    return any(os.environ.get(f"RETINUE_ENCRYPTION_{name}") for name in ("KEYS", "KEY_FILE", "REQUIRED"))


def in_the_clear(scheme: str, host: str | None, password: SecretStr) -> bool:
    """Whether a password would cross the network without encryption; this machine itself does not count."""
    return scheme == "http" and bool(password.get_secret_value()) and host not in _LOOPBACK


ONLY_PERSON = "RETINUE_ONLY_PERSON"


def only_person() -> str:
    """Return the one person of an installation that does not tell people apart; empty if it does, or nobody said."""
    told_apart = any(os.environ.get(name) for name in ("RETINUE_OIDC_ISSUER", "RETINUE_USER_HEADER"))
    return "" if told_apart else os.environ.get(ONLY_PERSON, "")


def name_only_person() -> None:
    """Set `RETINUE_ONLY_PERSON` for this process and its children, unless it is set.

    Only processes that see the front door's settings may call this: in containers, the variable itself says it.
    """
    os.environ.setdefault(ONLY_PERSON, LOCAL_PERSON)


def temporal_address() -> str | None:
    """Return `TEMPORAL_ADDRESS`, or None to use the embedded server."""
    return os.environ.get("TEMPORAL_ADDRESS") or None
