"""`bin/retinue new capability`: what it writes works and keeps the rules of the house, shown in a copy of the checkout."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from cli.scaffold import new_capability
from retinue.settings import ROOT
from tests.checkout import Checkout, copied

NAME = "reading_list"

pytestmark = [pytest.mark.xdist_group("checkout"), pytest.mark.timeout(400)]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A copy with a new capability in it."""
    copy = copied(tmp_path_factory.mktemp("checkout"))
    done = copy.run(f"bin/retinue new capability {NAME}")
    assert done.returncode == 0, done.stderr
    assert "It works as generated" in done.stdout
    return copy


@pytest.mark.parametrize(
    "command",
    [
        "ruff format --check {files}",
        "ruff check {files}",
        pytest.param("mypy --cache-dir {cache} {files}", marks=pytest.mark.long),
        "lint-imports --no-logo",
    ],
    ids=lambda command: command.split()[0],
)
def test_it_passes_the_checks(checkout: Checkout, command: str) -> None:
    files = f"activities/{NAME} tests/activities/{NAME}"
    done = checkout.run(".venv/bin/" + command.format(files=files, cache=ROOT / ".mypy_cache"))
    assert done.returncode == 0, done.stdout + done.stderr


def test_its_own_tests_pass_and_a_plan_uses_it(checkout: Checkout) -> None:
    done = checkout.pytest(f"tests/activities/{NAME}")
    assert done.returncode == 0, done.stdout
    assert re.search(r"^11 passed", done.stdout, re.MULTILINE)


@pytest.mark.long
def test_it_keeps_the_rules_of_the_house(checkout: Checkout) -> None:
    """Those tests that are about this capability, and there are some in each of these files."""
    files = (
        "tests/test_house.py",
        "tests/deploy/test_compose.py",
        "tests/test_independence.py",
        "tests/docs/test_env_example.py",
        "tests/retinue/test_migrations.py",
    )
    done = checkout.pytest(*files, "-rp", "-k", f"{NAME} or {NAME.upper()}")
    assert done.returncode == 0, done.stdout
    assert [name for name in files if f"PASSED {name}::" not in done.stdout] == []


def test_it_stands_in_the_composition_once_and_in_order(checkout: Checkout) -> None:
    included = yaml.safe_load((checkout.root / "docker-compose.yml").read_text())["include"]
    assert included == sorted(set(included))
    assert f"activities/{NAME}/compose.yaml" in included


def test_nothing_else_was_touched(checkout: Checkout) -> None:
    """A line each in two files; every other file that was there is as it was."""
    assert checkout.changed() == [".env.example", "docker-compose.yml"]
    lines = (checkout.root / ".env.example").read_text(encoding="utf-8").splitlines()
    assert len(lines) == len(checkout.files[checkout.root / ".env.example"].decode().splitlines()) + 1


@pytest.mark.parametrize(
    ("name", "words", "code"),
    [
        (NAME, "exists already; nothing was written", 1),
        ("calendar", "activities/calendar exists already", 1),
        ("class", "is a reserved name", 2),
        ("workflows", "is a reserved name", 2),
        ("openai", "is a reserved name", 2),
        ("entry", "is a reserved name", 2),
        ("Reading", "cannot be a capability's name", 2),
        ("reading-list", "cannot be a capability's name", 2),
        ("reading__list", "cannot be a capability's name", 2),
        ("../evil", "cannot be a capability's name", 2),
        ("listé", "cannot be a capability's name", 2),
        ("a" * 31, "cannot be a capability's name", 2),
    ],
)
def test_a_name_that_cannot_be_used_is_refused(checkout: Checkout, name: str, words: str, code: int) -> None:
    before = checkout.listing()
    done = checkout.run(f"bin/retinue new capability {name}")
    assert (done.returncode, words in done.stderr, checkout.listing()) == (code, True, before)


@pytest.mark.parametrize("name", ["x", "zebra_crossings_of_the_world9", "mcp2"])
def test_any_name_gives_formatted_code(tmp_path: Path, name: str) -> None:
    """Lines break elsewhere and imports sort otherwise."""
    for file in ("docker-compose.yml", ".env.example", "pyproject.toml", "deploy/locks/workflows.lock"):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_bytes((ROOT / file).read_bytes())
    (tmp_path / "retinue").mkdir()
    new_capability(name, tmp_path)
    ruff = [str(ROOT / ".venv/bin/ruff")]
    for arguments in (["format", "--check"], ["check"]):
        done = subprocess.run([*ruff, *arguments, "."], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout
