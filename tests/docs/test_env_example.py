"""`.env.example` against the code: every variable stands there once, commented out, and none that nobody reads."""

from __future__ import annotations

import inspect
import re
from importlib import import_module

import pytest
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings

import activities
from retinue.settings import ROOT

LINES = (ROOT / ".env.example").read_text(encoding="utf-8").splitlines()
NAMES = re.findall(r"^#([A-Z][A-Z0-9_]*)=", "\n".join(LINES), re.MULTILINE)
MODULES = [
    "retinue.settings",
    "accounts.oauth.settings",
    "accounts.settings",
    "api.settings",
    "api.auth.settings",
    *(f"activities.{name}.settings" for name in activities.folders()),
]
SOURCES = [
    file
    for pattern in ("[!.]*/**/*.py", "[!.]*/**/*.yaml", "[!.]*/**/*.sh", "docker-compose.yml")
    for file in ROOT.glob(pattern)
    if not file.is_relative_to(ROOT / "tests")
]
TEXT = "\n".join(file.read_text(encoding="utf-8") for file in SOURCES)
READ_BY_THE_SDK = "TEMPORAL_"


def settings_classes() -> list[type[BaseSettings]]:
    return [
        found
        for name in MODULES
        for _, found in inspect.getmembers(import_module(name), inspect.isclass)
        if issubclass(found, BaseSettings) and found.__module__ == name
    ]


def variable(settings: type[BaseSettings], name: str, field: FieldInfo) -> str:
    """The environment variable of one field: its alias, or prefix and name."""
    prefix = settings.model_config.get("env_prefix", "")
    return str(field.validation_alias or f"{prefix}{name}").upper()


FIELDS = [
    variable(settings, name, field) for settings in settings_classes() for name, field in settings.model_fields.items()
]
DIRECT = sorted(set(re.findall(r"environ(?:\.get\(|\[)\"([A-Z][A-Z0-9_]+)\"", TEXT)) - {"PYTHONPATH"})


def test_every_module_has_settings() -> None:
    assert {settings.__module__ for settings in settings_classes()} == set(MODULES)


@pytest.mark.parametrize("name", FIELDS)
def test_every_setting_is_listed(name: str) -> None:
    assert name in NAMES


@pytest.mark.parametrize("name", [name for name in DIRECT if not name.startswith(("FLOOR_", "SOURCE_DATE_"))])
def test_every_variable_read_directly_is_listed(name: str) -> None:
    """Those that the bench's bare workflow gives itself are its own, and builds give `SOURCE_DATE_EPOCH`."""
    assert name in NAMES


@pytest.mark.parametrize("name", NAMES)
def test_every_listed_variable_is_read_by_somebody(name: str) -> None:
    assert name in FIELDS or name in TEXT or name.startswith(READ_BY_THE_SDK)


def test_each_is_listed_once() -> None:
    assert sorted(NAMES) == sorted(set(NAMES))


def test_nothing_is_set_by_copying_the_file() -> None:
    assert [line for line in LINES if line and not line.startswith("#")] == []
