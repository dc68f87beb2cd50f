"""`ETag` and `If-None-Match`: who has the view as it is gets none, and the run is not asked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from temporalio.client import WorkflowHandle

from retinue.testing import Answer, plan_answer
from tests.api.conftest import eventually
from tests.conftest import Stack
from tests.days import SOON
from tests.test_main_job import forecast, mail

Fresh = Callable[[str], str]


@pytest.fixture
def queries(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The ids of the runs that were queried, as the client sends it."""
    asked: list[str] = []
    query = WorkflowHandle.query

    async def noted(self: WorkflowHandle[Any, Any], *args: Any, **options: Any) -> Any:
        asked.append(self.id)
        return await query(self, *args, **options)

    monkeypatch.setattr(WorkflowHandle, "query", noted)
    return asked


async def get(stack: Stack, assistant_id: str, known: str | None = None) -> tuple[int, str, bytes]:
    """The status, the tag and the body."""
    headers = {"If-None-Match": known} if known else {}
    response = await stack.http.get(f"/v1/assistants/{assistant_id}", headers=headers)
    return response.status_code, response.headers.get("etag", ""), response.content


async def test_an_unchanged_run_is_not_asked(stack: Stack, fresh: Fresh, queries: list[str]) -> None:
    message = fresh("Mail it")
    stack.model.script(message, plan_answer([mail("s1")]))
    assistant_id = (await stack.start(message))["id"]
    await stack.asked(assistant_id)
    status, tag, _ = await get(stack, assistant_id)
    assert status == 200
    assert tag
    queries.clear()
    for known in (tag, f'W/"other", {tag}'):
        assert await get(stack, assistant_id, known) == (304, tag, b"")
    assert assistant_id not in queries
    status, again, body = await get(stack, assistant_id, 'W/"other"')
    assert (status, again) == (200, tag)
    assert body


async def test_each_change_of_the_view_changes_the_tag(stack: Stack, fresh: Fresh) -> None:
    """Through planning, an approval, its decision, the end, and an undoing after it: one tag, one view."""
    message = fresh("Plan it and mail it")
    times = {"start": f"{SOON}T10:00:00Z", "end": f"{SOON}T11:00:00Z"}
    picnic = {"id": "s1", "tool": "calendar.create_event", "args": {"title": message, **times}}
    stack.model.script(message, plan_answer([picnic, mail("s2", depends_on=["s1"])]))
    assistant_id = (await stack.start(message))["id"]
    seen: dict[str, set[bytes]] = {}

    async def look() -> None:
        _, tag, body = await get(stack, assistant_id)
        seen.setdefault(tag, set()).add(body)

    for _ in range(5):
        await look()
    view = await stack.asked(assistant_id)
    await look()
    waiting = len(seen)
    await stack.decide(view)
    for _ in range(5):
        await look()
    await stack.ended(assistant_id)
    await look()
    ended = len(seen)
    await stack.http.post(f"/v1/assistants/{assistant_id}/undo", json={"wait_seconds": 20})
    await look()
    assert 1 <= waiting < ended < len(seen)
    # what came in between the tag and the view may show with the earlier tag; what comes last is one and the same
    latest = next(reversed(seen))
    assert len(seen[latest]) == 1
    assert await get(stack, assistant_id, latest) == (304, latest, b"")


async def test_a_retry_changes_the_tag_though_the_history_stands_still(stack: Stack, fresh: Fresh) -> None:
    message = fresh("Weather in Lisbon?")
    stack.model.script(message, Answer(status=500), Answer(status=500), plan_answer([forecast()]))
    assistant_id = (await stack.start(message))["id"]

    async def tag_and_view() -> tuple[str, dict[str, Any]]:
        response = await stack.http.get(f"/v1/assistants/{assistant_id}")
        return response.headers.get("etag", ""), response.json()

    first, _ = await eventually(tag_and_view, lambda found: "failed 1 times" in str(found[1]["notices"]))
    second, _ = await eventually(tag_and_view, lambda found: "failed 2 times" in str(found[1]["notices"]))
    assert first != second
    await stack.ended(assistant_id)


async def test_another_persons_tag_opens_nothing(stack: Stack, fresh: Fresh) -> None:
    message = fresh("Weather in Lisbon?")
    stack.model.script(message, plan_answer([forecast()]))
    assistant_id = (await stack.start(message))["id"]
    await stack.ended(assistant_id)
    _, tag, _ = await get(stack, assistant_id)
    status, other, _ = await get(stack, f"{assistant_id}0", tag)
    assert (status, other) == (404, "")
