"""A worker in a process of its own that asks the model for two seconds, as often as it can, and says what came of it."""

from __future__ import annotations

import asyncio
import sys
import time

from activities.reasoning.model import LanguageModel
from activities.reasoning.models import ReasoningBase
from activities.reasoning.pauses import Pauses
from activities.reasoning.settings import ReasoningSettings
from activities.reasoning.store import OnDemand
from retinue.errors import RetinueError
from retinue.store import Store


async def main(url: str, file: str) -> None:
    """Ask until the time is over."""
    store = OnDemand(Store(f"sqlite+aiosqlite:///{file}", ReasoningBase.metadata, owner="reasoning", with_ledger=False))
    settings = ReasoningSettings(api_key="k", base_url=url, model="m", timeout=5)
    model = LanguageModel(settings, Pauses(store))
    kinds, count, until = set[str](), 0, time.monotonic() + 2
    while time.monotonic() < until:
        try:
            await model.complete([{"role": "user", "content": "hello"}])
            kinds.add("answered")
        except RetinueError as error:
            kinds.add(type(error).__name__)
        count += 1
    sys.stdout.write(f"{'+'.join(sorted(kinds))} {count}\n")
    await model.close()
    await store.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
