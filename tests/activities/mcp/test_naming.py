"""Names: ours for theirs, once and for ever."""

from __future__ import annotations

import re

import pytest

from activities.mcp.naming import name_all
from retinue.capability import ToolSpec

NAME = re.compile(r"^[a-z][a-z0-9_-]*\.[a-z][a-z0-9_]*$")


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("read_file", "read_file"),
        ("readFile", "read_file"),
        ("read-file", "read_file"),
        ("repo/list.branches", "repo_list_branches"),
        ("getHTTPStatus", "get_http_status"),
        ("ReadFile2", "read_file2"),
        ("2fa", "tool_2fa"),
        ("__x__", "x"),
        ("日本", "tool"),
        ("gh_createIssue", "create_issue"),
        ("gh_", "gh"),
    ],
)
def test_spellings(theirs: str, ours: str) -> None:
    assert name_all("files", [theirs], {}, prefix="gh_") == {theirs: f"files.{ours}"}


def test_collisions_get_a_mark_that_does_not_depend_on_the_order() -> None:
    tools = ["readFile", "read_file", "read-file"]
    named = name_all("files", tools, {})
    assert named == name_all("files", reversed(tools), {})
    assert named["read_file"] == "files.read_file"
    assert len(set(named.values())) == 3
    assert all(NAME.fullmatch(name) for name in named.values())


def test_a_name_is_never_given_to_another_tool() -> None:
    first = name_all("files", ["readFile"], {})
    later = name_all("files", ["read_file"], first)
    assert later["readFile"] == "files.read_file"
    assert later["read_file"] != "files.read_file"


def test_no_tool_takes_the_name_of_the_agent() -> None:
    assert name_all("files", ["agent"], {})["agent"].startswith("files.agent_")


def test_long_names_fit_into_what_models_take() -> None:
    tools = ["a" * 128, "a" * 127 + "b"]
    named = name_all("c" * 40, tools, {})
    assert len(set(named.values())) == 2
    assert {len(name.replace(".", "__")) for name in named.values()} == {64}
    spec = ToolSpec.model_fields["name"]
    assert spec.is_required()
    assert all(NAME.fullmatch(name) for name in named.values())
