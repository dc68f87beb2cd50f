"""Which models there are, and which of them are asked, in which order.

The variables name models of the default endpoint (`OPENAI_*`), and those of further endpoints, which a small TOML file
describes. All of it is read and checked once, when the worker starts: what is wrong is said there and not in a run.
"""

from __future__ import annotations

import logging
import os
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator

from activities.reasoning.settings import OFFLINE, Duty, ReasoningSettings, Structured, TokenLimit
from retinue.errors import ServiceRefused
from retinue.network import model_choice
from retinue.network.model_choice import ModelChoice

MAX_MODELS = 4
"""In one list, since one step makes at most that many requests."""
_MAX_FILE_BYTES = 64 * 1024
_SECTION = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,39}")
_VARIABLE = re.compile(r"[A-Z][A-Z0-9_]*")
_log = logging.getLogger("retinue.reasoning")


@dataclass(frozen=True)
class ModelSpec:
    """One model behind one endpoint, with everything that a request to it needs.

    Args:
        label: What people call it: as it stands in the variable.
        model: As the endpoint names it.
        settings: Where its settings stand, for hints in errors.
        key_name: The variable of its key.
        max_input_tokens: What it can read; None where that is not known.
    """

    label: str
    model: str
    base_url: str
    key: SecretStr
    key_name: str
    settings: str
    timeout: float
    max_output_tokens: int
    max_input_tokens: int | None
    structured: Structured
    token_limit: TokenLimit
    price_input: float
    price_cached: float
    price_output: float

    @property
    def host(self) -> str:
        """Where it is, as far as errors may say."""
        return urlsplit(self.base_url).hostname or "its endpoint"

    @property
    def identity(self) -> str:
        """The same for all workers that ask the same model at the same place; holds no secret."""
        place = urlsplit(self.base_url)
        return f"{self.model}@{place.netloc.rpartition('@')[2]}{place.path}"[:500]

    def cost(self, input_tokens: int, cached_tokens: int, output_tokens: int) -> float:
        """What tokens cost by the configured prices, which are per million."""
        read = (input_tokens - cached_tokens) * self.price_input + cached_tokens * self.price_cached
        return round((read + output_tokens * self.price_output) / 1_000_000, 6)


class _Section(BaseModel):
    """`[models.NAME]` of the file. What it leaves out is as the `REASONING_*` settings say, but prices and keys are not."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    base_url: str
    model: str | None = Field(None, min_length=1, max_length=200)
    api_key_env: str | None = None
    timeout: float | None = Field(None, gt=0, le=70)
    max_output_tokens: int | None = Field(None, gt=0)
    max_input_tokens: int | None = Field(None, gt=0)
    structured: Structured | None = None
    token_limit: TokenLimit | None = None
    price_input: float = Field(0, ge=0, allow_inf_nan=False)
    price_cached: float | None = Field(None, ge=0, allow_inf_nan=False)
    price_output: float = Field(0, ge=0, allow_inf_nan=False)

    @field_validator("base_url")
    @classmethod
    def _address(cls, value: str) -> str:
        place = urlsplit(value)
        if place.scheme not in ("http", "https") or not place.hostname:
            raise ValueError("write an address such as http://localhost:11434/v1")
        if place.username or place.password:
            raise ValueError("an address holds no password; name the key's variable in api_key_env")
        return value

    @field_validator("api_key_env")
    @classmethod
    def _variable(cls, value: str | None) -> str | None:
        if value is not None and not _VARIABLE.fullmatch(value):
            raise ValueError("name the environment variable that holds the key; the key itself does not belong here")
        return value


class ModelRouting:
    """The models of an installation.

    Raises:
        ValueError: A variable or the file is wrong; the message says where, and what would be right.
    """

    def __init__(self, settings: ReasoningSettings) -> None:
        self._settings = settings
        self._file = settings.models
        self._sections = _sections(settings.models) if settings.models else {}
        self._duties = {duty: self._read(*settings.models_for(duty)) for duty in Duty}
        self._read(*settings.models_of(""))
        for listed, variable in settings.agent_lists():
            self._warn(listed, variable)

    def models_for(self, duty: Duty) -> tuple[ModelSpec, ...]:
        """Return the models that plan, or that write texts: the first choice, then those that step in."""
        return self._duties[duty]

    def models_of(self, agent: str) -> tuple[ModelSpec, ...]:
        """Return the models of a capability's own agent.

        Raises:
            ServiceRefused: Its variable is wrong.
        """
        try:
            return self._read(*self._settings.models_of(agent))
        except ValueError as error:
            raise ServiceRefused(f"no language model for this agent: {error}") from None

    def _warn(self, listed: str, variable: str) -> None:
        """Nobody knows which capabilities there are, and other programs have variables of such names: no reason to stop."""
        try:
            self._read(listed, variable)
        except ValueError as error:
            _log.warning("an agent of this name would have no model: %s", error)

    def _read(self, listed: str, variable: str) -> tuple[ModelSpec, ...]:
        entries = [entry for part in listed.split(",") if (entry := part.strip())]
        if not entries:
            raise ValueError(f"{variable} names no model")
        if len(entries) > MAX_MODELS:
            raise ValueError(
                f"{variable} names {len(entries)} models; at most {MAX_MODELS} can stand in for each other"
            )
        if repeated := sorted({entry for entry in entries if entries.count(entry) > 1}):
            raise ValueError(f"{variable} names {repeated[0]!r} twice")
        return tuple(self._spec(entry, variable) for entry in entries)

    def _spec(self, entry: str, variable: str) -> ModelSpec:
        if entry in self._sections:
            if self._sections[entry].model is None:
                raise ValueError(
                    f"{variable} names {entry!r}, but [models.{entry}] in {self._file} says no `model`; "
                    f"add one, or write MODEL@{entry}"
                )
            return self._of_section(entry, entry, None)
        model, at, place = entry.rpartition("@")
        if at and model and _SECTION.fullmatch(place):
            return self._of_section(entry, place, model)
        return self._default(entry)

    def _default(self, model: str) -> ModelSpec:
        said = self._settings
        return ModelSpec(
            label=model,
            model=model,
            base_url=said.base_url,
            key=said.api_key,
            key_name="OPENAI_API_KEY",
            settings="RETINUE_MODEL, <CAPABILITY>_MODEL and OPENAI_BASE_URL (it usually ends in /v1)",
            timeout=said.timeout,
            max_output_tokens=said.max_output_tokens,
            max_input_tokens=said.max_input_tokens,
            structured=said.structured if model != OFFLINE else Structured.JSON_SCHEMA,
            token_limit=said.token_limit,
            price_input=said.price_input,
            price_cached=said.price_input if said.price_cached is None else said.price_cached,
            price_output=said.price_output,
        )

    def _of_section(self, label: str, name: str, model: str | None) -> ModelSpec:
        if name not in self._sections:
            there = ", ".join(sorted(self._sections)) or "none"
            where = f"in {self._file}" if self._file else "without RETINUE_MODELS, the file of endpoints"
            raise ValueError(f"{label!r} needs an endpoint [models.{name}]; {where} there are: {there}")
        found, said = self._sections[name], self._settings
        return ModelSpec(
            label=label,
            model=model or found.model or "",
            base_url=found.base_url,
            key=_key(found.api_key_env, name, self._file),
            key_name=found.api_key_env or f"[models.{name}] in RETINUE_MODELS, which names no api_key_env",
            settings=f"[models.{name}] in RETINUE_MODELS (base_url usually ends in /v1)",
            timeout=found.timeout or said.timeout,
            max_output_tokens=found.max_output_tokens or said.max_output_tokens,
            max_input_tokens=found.max_input_tokens,
            structured=found.structured or said.structured,
            token_limit=found.token_limit or said.token_limit,
            price_input=found.price_input,
            price_cached=found.price_input if found.price_cached is None else found.price_cached,
            price_output=found.price_output,
        )


class CurrentRouting:
    """The models of the environment, or the one that a person chose. The choice is read again when its file changes.

    Raises:
        ValueError: As for `ModelRouting`.
    """

    def __init__(self, settings: ReasoningSettings) -> None:
        self.settings = settings
        self._own = self._now = ModelRouting(settings)
        self._chosen: ModelChoice | None = None
        self._read_at: tuple[int, int] | None = None

    def now(self) -> ModelRouting:
        """Return the models in use."""
        self._look()
        return self._now

    def chosen(self) -> ModelChoice | None:
        """Return the choice that is in use."""
        self._look()
        return self._chosen

    def _look(self) -> None:
        """Read the choice if its file changed. One that cannot be read changes nothing."""
        if not self.settings.may_choose or (stamp := _stamp(self.settings.choice)) == self._read_at:
            return
        self._read_at = stamp
        try:
            chosen = model_choice.read(self.settings.choice)
            self._now = ModelRouting(self.settings.with_choice(chosen)) if chosen else self._own
        except ValueError as error:
            _log.warning("the choice of a model is not used: %s", error)
        else:
            self._chosen = chosen


def _stamp(file: Path) -> tuple[int, int] | None:
    """Return what changes whenever the file is replaced; None without a file."""
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino


def _key(variable: str | None, name: str, file: Path | None) -> SecretStr:
    if variable is None:
        return SecretStr("none")
    if not (value := os.environ.get(variable, "").strip()):
        raise ValueError(f"[models.{name}] in {file} takes its key from {variable}, which is not set")
    return SecretStr(value)


def _sections(file: Path) -> dict[str, _Section]:
    try:
        read = _toml(file)
        if unknown := sorted(read.keys() - {"models"}):
            raise ValueError(f"{unknown[0]!r} stands at its top; write [models.NAME] above it")
        tables = read.get("models", {})
        if not isinstance(tables, dict) or not all(isinstance(table, dict) for table in tables.values()):
            raise ValueError("write one [models.NAME] for each endpoint")
        return {name: _section(name, table) for name, table in tables.items()}
    except ValueError as error:
        raise ValueError(f"RETINUE_MODELS={file}: {error}") from None


def _toml(file: Path) -> dict[str, Any]:
    try:
        with file.open("rb") as opened:
            content = opened.read(_MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ValueError(f"it cannot be read: {error.strerror}") from None
    if len(content) > _MAX_FILE_BYTES:
        raise ValueError(f"it is longer than {_MAX_FILE_BYTES // 1024} KiB")
    try:
        return tomllib.loads(content.decode())
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"it is no TOML: {error}") from None
    except UnicodeDecodeError:
        raise ValueError("it is no TOML: not UTF-8") from None


def _section(name: str, table: dict[str, Any]) -> _Section:
    if not _SECTION.fullmatch(name):
        raise ValueError(f"[models.{name}]: a name begins with a letter and has letters, digits, - and _ only")
    try:
        return _Section.model_validate(table)
    except ValidationError as error:
        wrong = error.errors(include_input=False, include_context=False, include_url=False)[0]
        field = ".".join(map(str, wrong["loc"]))
        if wrong["type"] == "extra_forbidden":
            known = ", ".join(_Section.model_fields)
            raise ValueError(f"[models.{name}] has a field {field!r}; there are {known}") from None
        raise ValueError(f"[models.{name}] field {field!r}: {wrong['msg'].removeprefix('Value error, ')}") from None
