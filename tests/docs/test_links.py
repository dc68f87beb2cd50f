"""The documentation against the checkout: links, `make` targets and commands that it names exist."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import typer.main

from cli.app import app
from retinue.settings import ROOT

PAGES = sorted(
    page
    for pattern in (
        "README.md",
        "AGENTS.md",
        "CONTRIBUTING.md",
        "docs/**/*.md",
        "[!.]*/README.md",
        "activities/*/README.md",
    )
    for page in ROOT.glob(pattern)
)
FENCED = re.compile(r"^ *(```|~~~).*?^ *\1", re.DOTALL | re.MULTILINE)
INLINE = re.compile(r"`[^`\n]+`")
LINK = re.compile(r"\]\((?!https?:|mailto:)([^)\s]+)\)")


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def prose(page: Path) -> str:
    return INLINE.sub("", FENCED.sub("", page.read_text(encoding="utf-8")))


def code(page: Path) -> str:
    text = page.read_text(encoding="utf-8")
    return "\n".join([*(found.group() for found in FENCED.finditer(text)), *INLINE.findall(FENCED.sub("", text))])


def links(page: Path) -> Iterator[tuple[Path, str]]:
    """Where a page's relative links and images lead: the file, and the heading in it or nothing."""
    for target in LINK.findall(prose(page)):
        path, _, heading = target.partition("#")
        yield page.parent / (path or page.name), heading


def anchors(page: Path) -> set[str]:
    """What GitHub makes of a page's headings."""
    titles = re.findall(r"^#+ (.+)$", FENCED.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def known_commands() -> set[str]:
    """Every command of `bin/retinue`, those of groups with the group's name: `calendar import`."""
    top: Mapping[str, Any] = getattr(typer.main.get_command(app), "commands")  # noqa: B009  # the type is a plain command
    single = {word for word, command in top.items() if not hasattr(command, "commands")}
    grouped = {f"{word} {inner}" for word, command in top.items() for inner in getattr(command, "commands", {})}
    return single | grouped


LINKS = [
    pytest.param(path, heading, id=f"{name(page)}-{path.name}#{heading}")
    for page in PAGES
    for path, heading in links(page)
]
TARGETS = sorted({(name(page), word) for page in PAGES for word in re.findall(r"\bmake ([a-z]+)", code(page))})
COMMANDS = sorted(
    {(name(page), *found) for page in PAGES for found in re.findall(r"bin/retinue ([a-z]+)(?: ([a-z]+))?", code(page))}
)


def test_there_is_something_to_check() -> None:
    assert {"README.md", "AGENTS.md", "docs/architecture.md"} <= {name(page) for page in PAGES}
    assert min(len(LINKS), len(TARGETS), len(COMMANDS)) > 5


@pytest.mark.parametrize(("path", "heading"), LINKS)
def test_a_link_leads_somewhere(path: Path, heading: str) -> None:
    assert path.exists()
    assert not heading or path.suffix == ".py" or heading in anchors(path)


@pytest.mark.parametrize(("page", "target"), TARGETS)
def test_a_named_make_target_exists(page: str, target: str) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)


@pytest.mark.parametrize(("page", "word", "inner"), COMMANDS)
def test_a_named_command_exists(page: str, word: str, inner: str) -> None:
    assert {word, f"{word} {inner}"} & known_commands()
