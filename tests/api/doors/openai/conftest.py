"""The official OpenAI client as people's chat programs use it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from openai import AsyncOpenAI

from tests.api.doors.conftest import NewKey


@pytest.fixture
async def client(door: str, new_key: NewKey) -> AsyncIterator[AsyncOpenAI]:
    """With a key that may read and ask; a chat need not decide anything."""
    async with AsyncOpenAI(base_url=f"{door}/v1", api_key=await new_key("read", "ask"), max_retries=0) as made:
        yield made
