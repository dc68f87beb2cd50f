"""What the tests of the reasoning activities share: the tools on a scripted model, fixed manifests, a store of their own."""

from __future__ import annotations

import sqlite3
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from activities.calendar.contract import Calendar
from activities.email.contract import Email
from activities.reasoning.contract import PlanRequest
from activities.reasoning.model import LanguageModel
from activities.reasoning.models import ReasoningBase
from activities.reasoning.settings import ReasoningSettings
from activities.reasoning.store import TranscriptStore
from activities.reasoning.tools import ReadManifests, ReasoningTools
from retinue.capability import Manifest
from retinue.conversation import Message, Role
from retinue.store import Store
from retinue.testing import ScriptedModel

NOW = datetime(2026, 11, 22, 13, tzinfo=UTC)


@dataclass
class Bench:
    """The reasoning tools, and what they use."""

    tools: ReasoningTools
    model: ScriptedModel
    transcripts: TranscriptStore
    file: Path

    def kept(self) -> list[tuple[str, int, str]]:
        """All rows of the store, read from outside."""
        with sqlite3.connect(f"file:{self.file}?mode=ro", uri=True) as database:
            return database.execute("SELECT key, position, message FROM transcripts ORDER BY key, position").fetchall()


async def fixed_manifests(max_age: float) -> list[Manifest]:
    return [Calendar.manifest(), Email.manifest()]


def store_at(file: Path) -> TranscriptStore:
    return TranscriptStore(
        Store(f"sqlite+aiosqlite:///{file}", ReasoningBase.metadata, owner="reasoning", with_ledger=False)
    )


Make = Callable[..., Bench]


@pytest.fixture
async def make(model: ScriptedModel, tmp_path: Path) -> AsyncIterator[Make]:
    """Makes reasoning tools with settings of their own; several share the store's file, as workers do."""
    made: list[tuple[LanguageModel, TranscriptStore]] = []
    file = tmp_path / "reasoning.db"

    def one(manifests: ReadManifests = fixed_manifests, **options: Any) -> Bench:
        said = {"api_key": "k", "base_url": model.url, "model": "scripted", "timeout": 5, **options}
        settings = ReasoningSettings(**said)
        language_model, transcripts = LanguageModel(settings), store_at(file)
        made.append((language_model, transcripts))
        tools = ReasoningTools(language_model, manifests, transcripts, tool_tokens=settings.tool_tokens)
        return Bench(tools, model, transcripts, file)

    yield one
    for language_model, transcripts in made:
        await language_model.close()
        await transcripts.close()


@pytest.fixture
def bench(make: Make) -> Bench:
    """The reasoning tools as they are by default."""
    return make()


@pytest.fixture
def word() -> str:
    """A text that no other test says."""
    return f"word-{uuid.uuid4().hex[:8]}"


def planning(*said: str, **fields: Any) -> PlanRequest:
    """A planning request; what is said alternates between the person and the assistant."""
    messages = [Message(role=(Role.USER, Role.ASSISTANT)[at % 2], text=text) for at, text in enumerate(said)]
    return PlanRequest(messages=messages, timezone="Europe/Lisbon", now=NOW, **fields)
