"""Conversations on PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from activities.reasoning.model import LanguageModel
from activities.reasoning.models import ReasoningBase
from activities.reasoning.settings import ReasoningSettings
from activities.reasoning.store import TranscriptStore
from activities.reasoning.tools import ReasoningTools
from retinue.store import Store
from retinue.testing import ScriptedModel
from tests.activities.reasoning import test_transcripts
from tests.activities.reasoning.conftest import Bench, Make, bench, fixed_manifests, word
from tests.databases.borrowed import borrowed, rows

__all__ = ["bench", "word"]

globals().update(borrowed(test_transcripts, "bench", "make", "word", at_least=9))


@dataclass
class PostgresqlBench(Bench):
    """The same on PostgreSQL."""

    url: str = ""

    def kept(self) -> list[tuple[str, int, str]]:
        found = rows(self.url, "SELECT key, position, message FROM transcripts ORDER BY key, position")
        return [(row["key"], row["position"], row["message"]) for row in found]


@pytest.fixture
async def make(model: ScriptedModel, postgresql_url: str, tmp_path: Path) -> AsyncIterator[Make]:
    """Makes reasoning tools over stores of their own on one database, as workers do."""
    made: list[tuple[LanguageModel, TranscriptStore]] = []

    def one(**settings: Any) -> Bench:
        said = {"api_key": "k", "base_url": model.url, "model": "scripted", "timeout": 5, **settings}
        store = Store(postgresql_url, ReasoningBase.metadata, owner="reasoning", with_ledger=False)
        language_model, transcripts = LanguageModel(ReasoningSettings(**said)), TranscriptStore(store)
        made.append((language_model, transcripts))
        tools = ReasoningTools(language_model, fixed_manifests, transcripts)
        return PostgresqlBench(tools, model, transcripts, file=tmp_path / "none", url=postgresql_url)

    yield one
    for language_model, transcripts in made:
        await language_model.close()
        await transcripts.close()
