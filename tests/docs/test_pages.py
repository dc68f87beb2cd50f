"""The pages' form: one screenful of subject each, and words that a reader who never saw the project knows."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from deploy.doc_tables import MARKED
from retinue.settings import ROOT
from tests.docs.test_links import name, prose

PAGES = sorted(
    page
    for pattern in ("README.md", "AGENTS.md", "CONTRIBUTING.md", "docs/**/*.md", "activities/*/README.md")
    for page in ROOT.glob(pattern)
)
MOST_LINES, MOST_LINES_OF_A_DECISION = 250, 70
IDIOM = re.compile(
    r"\banew\b|\bby (?:itself|themselves)\b|\bthe like\b|\bhouse\b|\b(?:front )?doors?\b|\bwho(?:so)?ever\b|\bfrom (?:now|then) on\b"
    r"|\b(?:take|takes|taken|took|taking) (?:\w+ )?back\b|\bbe had\b|\bfor ever\b|\bin the dark\b|\bstanding (?:permission|thing)s?\b"
    r"|\bstands in for\b|\bnobody need\b|\ball the same\b|(?<!make )\brooms?\b",
    re.IGNORECASE,
)
"""Words of the project's first days, which meant something here alone: `docs` say it in the field's terms."""


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_a_page_is_short(page: Path) -> None:
    most = MOST_LINES_OF_A_DECISION if page.parent.name == "decisions" else MOST_LINES
    assert len(page.read_text(encoding="utf-8").splitlines()) <= most


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_a_page_has_no_private_idioms(page: Path) -> None:
    text = MARKED.sub("", prose(page))
    assert [f"line {text[: found.start()].count(chr(10)) + 1}: {found[0]}" for found in IDIOM.finditer(text)] == []
