"""The pages that walk through a change, followed from their first line to their last in a copy of the checkout."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from retinue.settings import ROOT
from tests.checkout import Checkout, copied

CAPABILITY = (ROOT / "docs/adding-a-capability.md").read_text(encoding="utf-8")
ARGUMENT = (ROOT / "docs/first-change.md").read_text(encoding="utf-8")
STEP = re.compile(
    r"Before `(?P<anchor>[^`\n]+)` in `(?P<into>[^`\n]+)`:\n\n```python\n(?P<before>.*?)```"
    r"|[Aa]t the end of `(?P<file>[^`\n]+)`:\n\n```python\n(?P<end>.*?)```"
    r"|[Ii]n `(?P<of>[^`\n]+)`, replace `(?P<old>[^`\n]+)` by `(?P<new>[^`\n]+)`"
    r"|```console\n(?P<console>.*?)```",
    re.DOTALL,
)

pytestmark = [pytest.mark.xdist_group("checkout"), pytest.mark.timeout(400)]


def follow(checkout: Checkout, step: re.Match[str]) -> None:
    """Do what one step of the page says."""
    match step.lastgroup:
        case "before":
            _replace(checkout.root / step["into"], step["anchor"], step["before"] + step["anchor"])
        case "end":
            file = checkout.root / step["file"]
            file.write_text(file.read_text(encoding="utf-8") + step["end"], encoding="utf-8")
        case "new":
            _replace(checkout.root / step["of"], step["old"], step["new"])
        case "console":
            _run(checkout, step["console"])


def _replace(file: Path, old: str, new: str) -> None:
    text = file.read_text(encoding="utf-8")
    assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in {file.name}"
    file.write_text(text.replace(old, new), encoding="utf-8")


def _run(checkout: Checkout, block: str) -> None:
    """Run each command of a block; what the page shows below it must be in what it prints."""
    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        command, *shown = part.strip().splitlines()
        done = checkout.run(command)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        assert [line for line in shown if line not in done.stdout] == [], done.stdout


@pytest.mark.parametrize(("page", "skipped"), [(CAPABILITY, 1), (ARGUMENT, 0)], ids=["capability", "argument"])
def test_every_code_block_of_a_page_is_followed(page: str, skipped: int) -> None:
    """All but the conversation with a real model, which is marked as plain text."""
    blocks = re.findall(r"^```(\w+)$", page, re.MULTILINE)
    followed = [step for step in STEP.finditer(page) if step.lastgroup != "new"]
    assert len(followed) == len(blocks) - blocks.count("text")
    assert blocks.count("text") == skipped


@pytest.mark.long
def test_who_adds_a_capability_gets_what_the_page_promises(tmp_path: Path) -> None:
    checkout = copied(tmp_path)
    for step in STEP.finditer(CAPABILITY):
        follow(checkout, step)
    house = checkout.pytest("tests/test_house.py", "-k", "reading_list")
    assert house.returncode == 0, house.stdout


def test_an_argument_more_takes_four_files(tmp_path: Path) -> None:
    checkout = copied(tmp_path)
    for step in STEP.finditer(ARGUMENT):
        follow(checkout, step)
    assert checkout.changed() == [
        "activities/tasks/contract.py",
        "activities/tasks/store.py",
        "activities/tasks/tools.py",
        "tests/activities/tasks/test_tools.py",
    ]
    docs = checkout.pytest("tests/docs/test_generated_tables.py")
    assert docs.returncode == 0, docs.stdout
