"""The A2A agents that the operator configured.

    {"agents": {"travel": {"url": "https://agents.example/travel", "headers": {"Authorization": "Bearer ${TRAVEL_KEY}"}}}}

What is written in the file stays in the worker: values are `SecretStr`, and no message here repeats one.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Collection, Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

from retinue import operator_config
from retinue.errors import InvalidArguments
from retinue.settings import RetinueSettings

_KIND = "A2A agent"
_log = logging.getLogger("retinue.a2a")


class Agent(BaseModel):
    """One agent. What its tool does to the world is said here, and never by the agent."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: SecretStr = Field(description="where it lives; its card is at /.well-known/agent-card.json below, or is this")
    headers: dict[str, SecretStr] = Field(default_factory=dict)
    disabled: bool = False
    description: str = Field("", max_length=400)
    instructions: str = Field("", max_length=6000)
    read_only: bool = Field(False, description="asking it changes nothing anywhere")
    destructive: bool = Field(True, description="it may overwrite or remove data irreversibly")
    open_world: bool = Field(True, description="what is sent to it reaches other people or systems")
    idempotent: bool = Field(
        False,
        description="it takes a message of the same messageId once, so that one whose answer was lost is sent again",
    )
    timeout_seconds: float = Field(30, gt=0, le=120, description="of one request")
    wait_seconds: float = Field(300, gt=0, le=3600, description="how long one call waits for a task that goes on")

    @field_validator("url")
    @classmethod
    def _http(cls, url: SecretStr) -> SecretStr:
        if not url.get_secret_value().startswith(("https://", "http://", "${")):
            raise ValueError("an address begins with https:// or http://")
        return url

    def expanded(self, environment: Mapping[str, str] = os.environ) -> Agent:
        """Return the agent with `${VARIABLE}` and `${VARIABLE:-default}` replaced.

        Raises:
            InvalidArguments: A variable is not set.
        """
        headers = {name: operator_config.filled(value, environment) for name, value in self.headers.items()}
        return self.model_copy(update={"url": operator_config.filled(self.url, environment), "headers": headers})

    def secrets(self, environment: Mapping[str, str] = os.environ) -> frozenset[str]:
        """What must not be repeated, if the agent says it: what came from variables, and headers."""
        found = operator_config.from_variables([self.url, *self.headers.values()], environment)
        return operator_config.worth_hiding(found | operator_config.of_headers(self.expanded(environment).headers))


def file() -> Path | None:
    """Return the configuration: what `RETINUE_A2A_CONFIG` names, else `a2a.json` in the data folder if it is there."""
    settings = RetinueSettings()
    default = settings.data_dir / "a2a.json"
    return settings.a2a_config or (default if default.is_file() else None)


def names(taken: Collection[str]) -> list[str]:
    """Return the agents that can be served, sorted; problems with others are logged.

    Args:
        taken: Names of other capabilities.
    """
    found = []
    try:
        entries = operator_config.entries(file(), "agents")
    except InvalidArguments as error:
        _log.warning("no A2A agent is served: %s", error.message)
        return []
    for name, entry in entries.items():
        try:
            one = operator_config.checked(name, entry, Agent, taken=taken, kind=_KIND)
        except InvalidArguments as error:
            _log.warning("an A2A agent is not served: %s", error.message)
        else:
            found += [] if one.disabled else [name]
    return sorted(found)


def agent(name: str, taken: Collection[str]) -> Agent:
    """Return one agent, as it is written.

    Raises:
        InvalidArguments: It is not there, or something is wrong with it; the message says what.
    """
    entries = operator_config.entries(file(), "agents")
    if name not in entries:
        raise InvalidArguments(f"there is no A2A agent {name!r} in the configuration")
    return operator_config.checked(name, entries[name], Agent, taken=taken, kind=_KIND)
