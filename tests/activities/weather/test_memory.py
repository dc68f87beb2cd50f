from datetime import UTC, datetime, timedelta

from activities.weather.memory import Memory


async def test_the_answer_that_was_not_used_for_longest_leaves_first() -> None:
    memory: Memory[str] = Memory(size=2, lifetime=timedelta(days=1), clock=lambda: datetime(2026, 11, 2, tzinfo=UTC))
    asked: list[str] = []

    async def recall(key: str) -> str:
        async def ask() -> str:
            asked.append(key)
            return key.upper()

        return await memory.recall(key, ask)

    answers = [await recall(key) for key in ("a", "b", "a", "c", "a", "b")]

    assert answers == ["A", "B", "A", "C", "A", "B"]
    assert asked == ["a", "b", "c", "b"]
