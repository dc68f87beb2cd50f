"""The source of a fact in words."""

from datetime import datetime

from activities.memory.contract import Source
from retinue.provenance.asked_by import How

_HOW = {
    How.TYPED: "typed by you",
    How.APPROVED: "proposed, and approved by you",
    How.ALLOWED: "proposed, and allowed by your policy",
}


def source_words(source: Source, noted_at: datetime) -> str:
    """Return where a fact comes from, as in "typed by you on 2026-11-30"."""
    through = f" through {source.through}" if source.through else ""
    return f"{_HOW[source.how]}{through} on {noted_at:%Y-%m-%d}"
