"""The MCP servers that the operator configured, in the form that other MCP hosts use as well.

    {"mcpServers": {"files": {"command": "...", "args": [...], "env": {...}},
                    "tracker": {"url": "https://...", "headers": {"Authorization": "Bearer ${TRACKER_TOKEN}"}}}}

What is written in the file stays in the worker: values are `SecretStr`, and no message here repeats one.
"""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator, model_validator

from retinue.errors import InvalidArguments
from retinue.settings import RetinueSettings

MAX_TIMEOUT = 120.0
"""Seconds. A step whose worker died waits for as long as a call may still go on; see `options` in `offers.py`."""
_MAX_FILE_BYTES = 256 * 1024
_MAX_SERVERS = 50
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,39}", re.ASCII)
_RESERVED = frozenset(
    {"agent", "api", "import", "mcp", "offline", "retinue", "temporal", "up", "accept", "workflows", "workflows-people"}
)
"""Words of `python -m workers`, queues, and names of other processes, files and variables of a stack."""
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}", re.ASCII)
_SECRET_WORDS = re.compile("key|token|secret|pass|auth|cred", re.IGNORECASE)
_SHORTEST_SECRET = 6
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
        """The server with `${VARIABLE}` and `${VARIABLE:-default}` replaced.

        Raises:
            InvalidArguments: A variable is not set.
        """

        def filled(value: SecretStr) -> SecretStr:
            return SecretStr(_filled(value.get_secret_value(), environment))

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
        texts = [value.get_secret_value() for value in (*written, *self.args, *self.env.values())]
        found = {environment.get(name, "") for text in texts for name, _ in _VARIABLE.findall(text)}
        whole = self.expanded(environment)
        found |= {value.get_secret_value() for value in whole.headers.values()}
        found |= {value.get_secret_value() for name, value in whole.env.items() if _SECRET_WORDS.search(name)}
        found |= {part for value in whole.headers.values() for part in value.get_secret_value().split()[1:]}
        return frozenset(secret for secret in found if len(secret) >= _SHORTEST_SECRET)


def file() -> Path | None:
    """The configuration: what `RETINUE_MCP_CONFIG` names, else `mcp.json` in the data folder if it is there."""
    settings = RetinueSettings()
    default = settings.data_dir / "mcp.json"
    return settings.mcp_config or (default if default.is_file() else None)


def names(taken: Collection[str]) -> list[str]:
    """The servers that can be served, sorted. What is wrong with others is logged, and holds nobody else up.

    Args:
        taken: Names of capabilities that have a folder.
    """
    found = []
    try:
        entries = _entries()
    except InvalidArguments as error:
        _log.warning("no MCP server is served: %s", error.message)
        return []
    for name, entry in entries.items():
        try:
            server = _server(name, entry, taken)
        except InvalidArguments as error:
            _log.warning("an MCP server is not served: %s", error.message)
        else:
            found += [] if server.disabled else [name]
    return sorted(found)


def server(name: str, taken: Collection[str]) -> Server:
    """One server, as it is written.

    Raises:
        InvalidArguments: It is not there, or something is wrong with it; the message says what.
    """
    entries = _entries()
    if name not in entries:
        raise InvalidArguments(f"there is no MCP server {name!r} in the configuration")
    unknown = sorted(set(entries[name]) - set(Server.model_fields)) if isinstance(entries[name], dict) else []
    if unknown:
        _log.warning("fields of the MCP server %s that mean nothing here: %s", name, ", ".join(unknown)[:300])
    return _server(name, entries[name], taken)


def _entries() -> dict[str, Any]:
    path = file()
    if path is None:
        return {}
    try:
        with path.open("rb") as opened:
            content = opened.read(_MAX_FILE_BYTES + 1)
    except OSError as error:
        raise InvalidArguments(f"{path} cannot be read: {error.strerror}") from None
    if len(content) > _MAX_FILE_BYTES:
        raise InvalidArguments(f"{path} is larger than {_MAX_FILE_BYTES // 1024} KiB")
    try:
        entries = json.loads(content)["mcpServers"]
    except (ValueError, RecursionError) as error:
        raise InvalidArguments(f"{path} is no JSON: {_place(error)}") from None
    except (KeyError, TypeError):
        raise InvalidArguments(f'{path} needs the form {{"mcpServers": {{"name": {{...}}}}}}') from None
    if not isinstance(entries, dict) or len(entries) > _MAX_SERVERS:
        raise InvalidArguments(f"`mcpServers` in {path} is an object of at most {_MAX_SERVERS} servers")
    return entries


def _place(error: Exception) -> str:
    """Where, and not what: a message of the parser would do, but a line of the file may be a secret."""
    return f"line {error.lineno}" if isinstance(error, json.JSONDecodeError) else "it is not text, or nested too deeply"


def _server(name: str, entry: object, taken: Collection[str]) -> Server:
    if not _NAME.fullmatch(name):
        raise InvalidArguments(
            f"{name[:60]!r} is no name: lower case letters, digits, - and _, at most 40, a letter first"
        )
    if name in taken or name in _RESERVED:
        raise InvalidArguments(f"the name {name!r} is taken; give the MCP server another one")
    try:
        return Server.model_validate(entry)
    except ValidationError as error:
        raise InvalidArguments(f"the MCP server {name}: {'; '.join(_problems(error))}") from None


def _problems(error: ValidationError) -> Iterator[str]:
    """Places and rules; never the input."""
    for found in error.errors(include_input=False, include_url=False)[:5]:
        yield f"{'/'.join(str(part)[:60] for part in found['loc']) or 'it'}: {found['msg']}"


def _filled(text: str, environment: Mapping[str, str]) -> str:
    def value(match: re.Match[str]) -> str:
        found = environment.get(match[1]) or match[2]
        if found is None:
            raise InvalidArguments(f"the variable {match[1]} is not set, which the configuration of MCP servers names")
        return found

    return _VARIABLE.sub(value, text)
