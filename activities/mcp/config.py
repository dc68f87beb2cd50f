"""The MCP servers that the operator configured, in the form that other MCP hosts use as well.

    {"mcpServers": {"files": {"command": "...", "args": [...], "env": {...}},
                    "tracker": {"url": "https://...", "headers": {"Authorization": "Bearer ${TRACKER_TOKEN}"}}}}

What is written in the file stays in the worker: values are `SecretStr`, and no message here repeats one.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from retinue import operator_config
from retinue.errors import InvalidArguments
from retinue.settings import RetinueSettings

MAX_TIMEOUT = 120.0
"""Seconds. A step whose worker died waits for as long as a call may still go on; see `options` in `offers.py`."""
_KIND = "MCP server"
_SECRET_WORDS = re.compile("key|token|secret|pass|auth|cred", re.IGNORECASE)
_log = logging.getLogger("retinue.mcp")

Argument = Annotated[str, Field(pattern=r"^[^/~]{1,64}$")]


class ToolRules(BaseModel):
    """What the operator says about one tool. It outweighs whatever the server says."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    read_only: bool | None = None
    destructive: bool | None = None
    idempotent: bool | None = None
    open_world: bool | None = None
    sensitive: tuple[Argument, ...] | None = Field(
        None, max_length=50, description="names of the arguments that decide where data goes"
    )
    lookups: dict[Argument, str] = Field(
        default_factory=dict,
        max_length=20,
        description="by an argument that holds an id: the server's tool that reads what it stands for, for the card",
    )
    title: str | None = Field(None, min_length=1, max_length=60)
    description: str | None = Field(None, min_length=1, max_length=2000, description="instead of the server's own")


class Server(BaseModel):
    """One server. Fields of other hosts that mean nothing here are passed over."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    type: Literal["stdio", "http", "streamable-http", "streamableHttp", "streamable_http"] | None = None
    command: SecretStr | None = None
    args: tuple[SecretStr, ...] = ()
    env: dict[str, SecretStr] = Field(default_factory=dict)
    cwd: SecretStr | None = None
    url: SecretStr | None = None
    headers: dict[str, SecretStr] = Field(default_factory=dict)

    disabled: bool = False
    description: str = Field("", max_length=400)
    instructions: str = Field("", max_length=6000)
    tools: dict[str, ToolRules | Literal[False]] = Field(
        default_factory=dict,
        max_length=1000,
        description="by the server's own names; '*' stands for all others, and false leaves a tool out",
    )
    trust_annotations: bool = Field(False, description="whether the server's word on what its tools do is taken")
    prefix: str = Field("", max_length=60, description="what the server's names begin with and ours need not")
    timeout_seconds: float = Field(60, gt=0, le=MAX_TIMEOUT)
    protocol: Literal["auto", "legacy"] = Field("auto", description="'legacy' skips the probe for the newest protocol")
    stderr_file: Path | None = Field(None, description="where a command's standard error goes; else nowhere")

    @field_validator("url")
    @classmethod
    def _http(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None and not url.get_secret_value().startswith(("https://", "http://", "${")):
            raise ValueError("an address begins with https:// or http://")
        return url

    @model_validator(mode="after")
    def _one_transport(self) -> Server:
        if (self.command is None) == (self.url is None):
            raise ValueError("give either `command` or `url`")
        if self.type is not None and (self.type == "stdio") != (self.command is not None):
            raise ValueError("`type` does not fit: 'stdio' is for `command`, 'http' for `url`")
        return self

    def rules(self, tool: str) -> ToolRules | None:
        """What holds for one of the server's tools; None leaves it out."""
        return self.tools.get(tool, self.tools.get("*", ToolRules())) or None

    def expanded(self, environment: Mapping[str, str] = os.environ) -> Server:
        """Return the server with `${VARIABLE}` and `${VARIABLE:-default}` replaced.

        Raises:
            InvalidArguments: A variable is not set.
        """

        def filled(value: SecretStr) -> SecretStr:
            return operator_config.filled(value, environment)

        return self.model_copy(
            update={
                "command": self.command and filled(self.command),
                "args": tuple(filled(value) for value in self.args),
                "env": {name: filled(value) for name, value in self.env.items()},
                "cwd": self.cwd and filled(self.cwd),
                "url": self.url and filled(self.url),
                "headers": {name: filled(value) for name, value in self.headers.items()},
            }
        )

    def secrets(self, environment: Mapping[str, str] = os.environ) -> frozenset[str]:
        """What must not be repeated, if the server says it: variables, headers, and what is called a key or a token."""
        written = [value for value in (self.command, self.cwd, self.url) if value is not None]
        found = operator_config.from_variables(
            [*written, *self.args, *self.env.values(), *self.headers.values()], environment
        )
        whole = self.expanded(environment)
        found |= {value.get_secret_value() for name, value in whole.env.items() if _SECRET_WORDS.search(name)}
        return operator_config.worth_hiding(found | operator_config.of_headers(whole.headers))


def file() -> Path | None:
    """Return the configuration: what `RETINUE_MCP_CONFIG` names, else `mcp.json` in the data folder if it is there."""
    settings = RetinueSettings()
    default = settings.data_dir / "mcp.json"
    return settings.mcp_config or (default if default.is_file() else None)


def names(taken: Collection[str]) -> list[str]:
    """Return the servers that can be served, sorted; problems with others are logged.

    Args:
        taken: Names of capabilities that have a folder.
    """
    found = []
    try:
        entries = operator_config.entries(file(), "mcpServers")
    except InvalidArguments as error:
        _log.warning("no MCP server is served: %s", error.message)
        return []
    for name, entry in entries.items():
        try:
            server = operator_config.checked(name, entry, Server, taken=taken, kind=_KIND)
        except InvalidArguments as error:
            _log.warning("an MCP server is not served: %s", error.message)
        else:
            found += [] if server.disabled else [name]
    return sorted(found)


def server(name: str, taken: Collection[str]) -> Server:
    """Return one server, as it is written.

    Raises:
        InvalidArguments: It is not there, or something is wrong with it; the message says what.
    """
    entries = operator_config.entries(file(), "mcpServers")
    if name not in entries:
        raise InvalidArguments(f"there is no MCP server {name!r} in the configuration")
    unknown = sorted(set(entries[name]) - set(Server.model_fields)) if isinstance(entries[name], dict) else []
    if unknown:
        _log.warning("fields of the MCP server %s that mean nothing here: %s", name, ", ".join(unknown)[:300])
    return operator_config.checked(name, entries[name], Server, taken=taken, kind=_KIND)
