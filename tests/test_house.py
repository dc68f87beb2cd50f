"""The house rules: every capability folder is whole, contracts are light, and a new folder needs no list anywhere."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import activities
from retinue.capability import Capability, ToolSpec
from retinue.effect_status import CLOSE_EFFECT
from retinue.settings import ROOT

FOLDERS = activities.folders()
TOOLS = [spec for name in FOLDERS for spec in activities.load(name).CONTRACT.manifest().tools]
NEEDED = ["__init__.py", "contract.py", "tools.py", "settings.py", "worker.py", "compose.yaml", "README.md"]
DESIGN = {
    "calendar": {"create_event", "list_events", "find_free_time", "update_event", "delete_event"},
    "email": {"send", "search", "read", "draft", "archive", "delete"},
    "weather": {"forecast", "current"},
    "contacts": {"find", "add", "list"},
    "tasks": {"add", "list", "complete", "remind"},
    "reasoning": {"plan", "reply", "compose"},
}


def contract_of(name: str) -> type[Capability]:
    contract: type[Capability] = activities.load(name).CONTRACT
    return contract


@pytest.mark.parametrize("name", FOLDERS)
def test_a_capability_folder_is_whole(name: str) -> None:
    folder = ROOT / "activities" / name
    assert [file for file in NEEDED if not (folder / file).exists()] == []


@pytest.mark.parametrize("name", FOLDERS)
def test_a_contract_is_named_after_its_folder_and_queue(name: str) -> None:
    manifest = contract_of(name).manifest()
    assert (manifest.name, manifest.task_queue) == (name, name)
    assert manifest.instructions
    assert {tool.name.partition(".")[0] for tool in manifest.tools} == {name}


@pytest.mark.parametrize("name", FOLDERS)
def test_a_plugin_serves_exactly_the_tools_of_its_contract(name: str) -> None:
    plugin = activities.load(name).plugin()
    served = {run.__temporal_activity_definition.name for run in plugin.activities}
    assert served - {CLOSE_EFFECT} == {spec.name for spec in contract_of(name).manifest().tools}


@pytest.mark.parametrize("name", FOLDERS)
def test_a_plugin_with_effects_can_be_asked_what_became_of_one(name: str) -> None:
    """Else a step that is stopped between two attempts stays in the dark."""
    served = {run.__temporal_activity_definition.name for run in activities.load(name).plugin().activities}
    effects = any(not spec.annotations.read_only for spec in contract_of(name).manifest().tools)
    assert (CLOSE_EFFECT in served) == effects


@pytest.mark.parametrize("name", FOLDERS)
def test_a_capability_has_its_own_tests(name: str) -> None:
    assert list((ROOT / "tests" / "activities" / name).glob("test_*.py")) != []


@pytest.mark.parametrize("name", ["calendar", "contacts", "email", "memory", "tasks"])
def test_each_tool_of_a_capability_with_peoples_data_is_told_for_whom(name: str) -> None:
    assert [spec.name for spec in contract_of(name).manifest().tools if not spec.annotations.personal] == []


@pytest.mark.parametrize("name", sorted(DESIGN))
def test_binding_tool_names_are_there(name: str) -> None:
    assert {spec.name.partition(".")[2] for spec in contract_of(name).manifest().tools} >= DESIGN[name]


@pytest.mark.parametrize("spec", TOOLS, ids=lambda spec: spec.name)
def test_a_tool_says_what_planning_and_consent_need(spec: ToolSpec) -> None:
    """A description, summary fields that exist, sensitive pointers that exist, an undo tool that exists."""
    fields = set(spec.args_schema["properties"])
    assert len(spec.description) >= 20
    assert set(re.findall(r"{(\w+)}", spec.summary)) <= fields
    assert {pointer.split("/")[1] for pointer in spec.annotations.sensitive} <= fields
    assert spec.annotations.undo in {None, *(other.name for other in TOOLS)}


@pytest.mark.parametrize("spec", TOOLS, ids=lambda spec: spec.name)
def test_a_read_only_tool_is_not_called_destructive(spec: ToolSpec) -> None:
    assert not (spec.annotations.read_only and spec.annotations.destructive)


@pytest.mark.parametrize(
    "name",
    [
        *(f"activities.{name}.contract" for name in FOLDERS),
        "workflows.assistant",
        "workflows.registry",
        "workflows.reminder",
    ],
)
def test_contracts_and_workflows_pull_in_nothing_heavy(name: str) -> None:
    """In a fresh interpreter: no database, no HTTP client, no model SDK, no web framework."""
    heavy = ["sqlmodel", "sqlalchemy", "httpx", "httpx2", "openai", "fastapi", "aiosqlite", "uvicorn"]
    program = f"import sys, {name}; print([name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-P", "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": str(ROOT)},
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", FOLDERS)
def test_a_capability_loads_without_any_other(name: str) -> None:
    program = (
        f"import sys, activities; activities.load({name!r}); "
        "print(sorted({part.split('.')[1] for part in sys.modules if part.startswith('activities.')}))"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": str(ROOT)},
    )
    assert done.stdout.strip() == str([name])


def test_an_unknown_capability_is_refused_with_the_known_ones() -> None:
    with pytest.raises(LookupError, match="calendar, contacts"):
        activities.load("calender")


def test_functions_are_short() -> None:
    """The median stays near ten lines and nine in ten stay under forty: workflow and capability code reads like prose."""
    lengths = sorted(length for file in _sources() for length in _function_lengths(file))
    assert lengths[len(lengths) // 2] <= 12
    assert lengths[int(len(lengths) * 0.9)] <= 40


def _sources() -> list[Path]:
    rooms = ("retinue", "workflows", "activities", "workers", "api", "cli", "offline", "accounts")
    return [file for room in rooms for file in (ROOT / room).rglob("*.py")]


def _function_lengths(file: Path) -> list[int]:
    return [
        (node.end_lineno or node.lineno) - node.lineno + 1
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]


_FOLDERS = re.compile(r"\b(api|workflows|activities|workers|console|cli|offline)\.[a-z_]")


@pytest.mark.parametrize("file", sorted((ROOT / "retinue").rglob("*.py")), ids=lambda file: file.stem)
def test_retinue_names_no_module_above_it(file: Path) -> None:
    """An import by a string would be one that the import rules do not see. Docstrings may name examples."""
    nodes = list(ast.walk(ast.parse(file.read_text())))
    docstrings = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
    named = [node.value for node in nodes if isinstance(node, ast.Constant) and id(node) not in docstrings]
    assert [text for text in named if isinstance(text, str) and _FOLDERS.search(text)] == []
