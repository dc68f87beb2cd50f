"""What code writes into the docs (tables, lines of functions) is what it would write now."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.doc_tables import MARKED, SYMBOL, TABLES, line_of, pages, refreshed
from retinue.settings import ROOT

REFRESHED = [page for page in pages() if MARKED.search(text := page.read_text(encoding="utf-8")) or SYMBOL.search(text)]


@pytest.mark.parametrize("page", REFRESHED, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_is_fresh(page: Path) -> None:
    """If this fails, run `make format`, or `PYTHONPATH=. python -P -m deploy.doc_tables`."""
    assert page.read_text(encoding="utf-8") == refreshed(page)


def test_every_kind_of_table_is_used() -> None:
    used = {found[2] for page in REFRESHED for found in MARKED.finditer(page.read_text(encoding="utf-8"))}
    assert used == set(TABLES)


def test_the_tour_leads_through_twelve_files_and_more() -> None:
    assert len({found[3] for found in SYMBOL.finditer((ROOT / "docs/tour.md").read_text(encoding="utf-8"))}) >= 12


def test_what_differs_is_written_again(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    file = ROOT / "retinue/ledger.py"
    two = "<!-- table: options -->\n<!-- end -->\n\nBetween.\n\n<!-- table: limits -->\n| old |\n<!-- end -->\n"
    page.write_text(f"{two}[`Ledger.once`]({file}#L1)", encoding="utf-8")
    new = refreshed(page)
    assert "old" not in new
    assert "\nBetween.\n" in new
    assert "| `patience` | 86,400 |" in new
    assert "| steps in a plan | 100 |" in new
    line = line_of("Ledger.once", file)
    assert new.endswith(f"ledger.py#L{line})")
    assert file.read_text(encoding="utf-8").splitlines()[line - 1].lstrip().startswith("async def once(")


def test_a_function_that_is_gone_is_named() -> None:
    with pytest.raises(ValueError, match=r"retinue/ledger.py has no Ledger.twice"):
        line_of("Ledger.twice", ROOT / "retinue/ledger.py")
