"""Races through the front door: whatever comes at the same moment, one thing happens, and the view says which.

The judges are the capabilities' own stores: what was answered, what the view says and what stands in the store must fit.
"""

from __future__ import annotations

import asyncio
import random
import sqlite3
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from temporalio.client import WorkflowFailureError
from temporalio.worker import Worker

from retinue.temporal.tenant_header import OrganisationOfWorkers
from retinue.testing import Answer, plan_answer
from tests.conftest import Stack, View, pending, steps
from tests.scenarios.test_people import QUORUM, Opened, rule
from tests.scenarios.test_plans import event
from tests.test_main_job import mail, sent_mails
from workers.local_activities import LocalActivities
from workers.runner import SANDBOX
from workflows.assistant import AssistantWorkflow
from workflows.messages import StartAssistant

Fresh = Callable[[str], str]
AT_ONCE = 20
CERTAIN = 3.0
"""Seconds between what comes first and last; on a busy machine that alone makes no order certain."""
BATCHES = [0, *(pytest.param(batch, marks=pytest.mark.long) for batch in range(1, 5))]


async def asking(stack: Stack, message: str, *plan: dict[str, Any], **body: Any) -> View:
    """A run that waits for a decision; looked for gently, since twenty do it at once."""
    stack.model.script(message, plan_answer(plan))
    view = await stack.start(message, **body)
    while not pending(view):
        await asyncio.sleep(0.25)
        view = await stack.view(view["id"])
    return view


async def crowd(stack: Stack, message: str, *plan: dict[str, Any], count: int = AT_ONCE, **body: Any) -> list[View]:
    """Runs that wait for a decision, all at once."""
    return await asyncio.gather(*[asking(stack, f"{message} {n}", *plan, **body) for n in range(count)])


Answers = tuple[int, ...]


async def both(first: Awaitable[int], second: Awaitable[int]) -> Answers:
    """Two answers that were asked for at once."""
    return tuple(await asyncio.gather(first, second))


async def after(seconds: float, answer: Awaitable[httpx.Response]) -> int:
    """The status of an answer that is asked for a little later."""
    await asyncio.sleep(seconds)
    return int((await answer).status_code)


def offsets(seconds: float, count: int = AT_ONCE) -> list[float]:
    """From clearly before to clearly after, most of them close to the edge."""
    close = [seconds * (2 * n / (count - 3) - 1) ** 3 for n in range(count - 2)]
    return [-CERTAIN, *close, CERTAIN]


async def apart(stack: Stack, view: View, *, approve_first: bool) -> int:
    """The answer to an approval before or after a cancel, where the first of them has had all its consequences."""
    if not approve_first:
        await cancel(stack, view)
        await ends(stack, [view])
        return (await stack.decide(view)).status_code
    answer = await stack.decide(view)
    await ends(stack, [view])
    await cancel(stack, view)
    return answer.status_code


async def cancel(stack: Stack, view: View) -> httpx.Response:
    return await stack.http.post(f"/v1/assistants/{view['id']}/cancel")


def effects(stack: Stack, capability: str, assistant_id: str) -> int:
    """How often a capability acted for a run, by its own ledger."""
    with sqlite3.connect(f"file:{stack.data}/{capability}.db?mode=ro", uri=True) as database:
        query = "SELECT count(*) FROM ledger WHERE key LIKE ? AND state = 'done'"
        [(count,)] = database.execute(query, (f"{assistant_id}/%",)).fetchall()
    return int(count)


async def ends(stack: Stack, views: Sequence[View]) -> list[View]:
    """The final views."""

    async def end(view: View) -> View:
        await stack.http.get(f"/v1/assistants/{view['id']}?wait_seconds=30")  # gentler than to poll, and mostly enough
        async with asyncio.timeout(60):
            final = await stack.ended(view["id"])
            while final["plan"] is None:  # a cancelled run is queried, and a crowd may keep it waiting
                final = await stack.view(view["id"])
        return final

    return await asyncio.gather(*map(end, views))


async def test_of_twenty_approvals_at_once_one_counts(stack: Stack, fresh: Fresh) -> None:
    view = await asking(stack, fresh("Mail team@example.com"), mail("s1"))
    answers = await asyncio.gather(*[stack.decide(view) for _ in range(20)])
    assert Counter(answer.status_code for answer in answers) == {200: 1, 409: 19}
    [done] = await ends(stack, [view])
    assert len(done["approvals"][0]["votes"]) == 1
    assert len(sent_mails(stack, view["id"])) == 1


@pytest.mark.timeout(180)
@pytest.mark.parametrize("batch", BATCHES)
async def test_approve_and_cancel_have_one_outcome(stack: Stack, fresh: Fresh, batch: int) -> None:
    """A hundred races. Answered with 200 and never done is a lie unless the view says that it was cancelled."""
    views = await crowd(stack, fresh(f"Mail team@example.com, race {batch}"), mail("s1"))

    async def race(view: View, offset: float) -> int:
        if abs(offset) == CERTAIN:
            return await apart(stack, view, approve_first=offset < 0)
        answers = await both(after(max(0, offset), stack.decide(view)), after(max(0, -offset), cancel(stack, view)))
        return answers[0]

    answers = await asyncio.gather(*map(race, views, offsets(0.3)))
    found = Counter(
        (answer, steps(view)["s1"]["status"], len(sent_mails(stack, view["id"])))
        for answer, view in zip(answers, await ends(stack, views), strict=True)
    )
    assert set(found) <= {(200, "completed", 1), (200, "cancelled", 0), (409, "cancelled", 0)}
    assert found[200, "completed", 1] > 0
    assert found[409, "cancelled", 0] > 0


@pytest.mark.timeout(180)  # a hundred runs at once on two cores
@pytest.mark.parametrize("batch", BATCHES)
async def test_a_decision_at_the_edge_of_its_expiry_has_one_outcome(
    stack: Stack, fresh: Fresh, people: Opened, batch: int
) -> None:
    """A hundred decisions within 30 ms of the expiry, some early and some late."""
    seed = random.Random(batch)
    anna = (await people(rule('tools = ["email.send"]\ndecide = "ask"\nexpires_after = 20')))("anna")
    views = await crowd(anna, fresh(f"Mail team@example.com, edge {batch}"), mail("s1"))

    async def at_the_edge(view: View, jitter: float) -> int:
        left = datetime.fromisoformat(pending(view)[0]["expires_at"]) - datetime.now(UTC)
        return await after(max(0, left.total_seconds() + jitter), anna.decide(view))

    jitters = [seed.uniform(-0.03, 0.03) for _ in views[2:]]
    answers = await asyncio.gather(*map(at_the_edge, views, [-2.5, 0.5, *jitters]))
    found = Counter(
        (answer, steps(view)["s1"]["status"], view["approvals"][0]["status"], len(sent_mails(stack, view["id"])))
        for answer, view in zip(answers, await ends(anna, views), strict=True)
    )
    assert set(found) == {(200, "completed", "approved", 1), (409, "rejected", "expired", 0)}


async def test_of_an_edit_and_an_approval_at_once_one_counts_and_runs(stack: Stack, fresh: Fresh) -> None:
    views = await crowd(stack, fresh("Mail team@example.com"), mail("s1"))
    edited = {"to": ["team@example.com"], "subject": "Lisbon", "body": "Edited"}

    async def race(view: View, offset: float) -> Answers:
        return await both(
            after(max(0, offset), stack.decide(view)),
            after(max(0, -offset), stack.decide(view, "edit", args=edited)),
        )

    answers = await asyncio.gather(*map(race, views, offsets(0.05)))
    await ends(stack, views)
    found = {
        (answer, *[text for _, text in sent_mails(stack, view["id"])])
        for answer, view in zip(answers, views, strict=True)
    }
    assert found == {((200, 409), "Hello"), ((409, 200), "Edited")}


async def test_of_a_rejection_and_an_approval_at_once_one_counts(stack: Stack, fresh: Fresh) -> None:
    views = await crowd(stack, fresh("Mail team@example.com"), mail("s1"))

    async def race(view: View, offset: float) -> Answers:
        return await both(
            after(max(0, offset), stack.decide(view)), after(max(0, -offset), stack.decide(view, "reject"))
        )

    answers = await asyncio.gather(*map(race, views, offsets(0.05)))
    found = {
        (answer, steps(view)["s1"]["status"], len(sent_mails(stack, view["id"])))
        for answer, view in zip(answers, await ends(stack, views), strict=True)
    }
    assert found == {((200, 409), "completed", 1), ((409, 200), "rejected", 0)}


async def test_two_votes_at_once_are_two_votes(stack: Stack, fresh: Fresh, people: Opened) -> None:
    person = await people(QUORUM)
    cleo, anna, ben = person("cleo"), person("anna"), person("ben")
    views = await crowd(cleo, fresh("Mail team@example.com"), mail("s1"))

    async def race(view: View) -> Answers:
        return await both(after(0, anna.decide(view)), after(0, ben.decide(view)))

    assert set(await asyncio.gather(*map(race, views))) == {(200, 200)}
    found = Counter(
        (*sorted(vote["by"] for vote in view["approvals"][0]["votes"]), len(sent_mails(stack, view["id"])))
        for view in await ends(cleo, views)
    )
    assert found == {("anna", "ben", 1): AT_ONCE}


async def test_of_one_persons_two_votes_at_once_one_counts(stack: Stack, fresh: Fresh, people: Opened) -> None:
    person = await people(QUORUM)
    cleo, anna = person("cleo"), person("anna")
    view = await asking(cleo, fresh("Mail team@example.com"), mail("s1"))
    answers = await asyncio.gather(*[anna.decide(view) for _ in range(10)])
    assert Counter(answer.status_code for answer in answers) == {200: 1, 409: 9}
    assert [vote["by"] for vote in pending(await cleo.view(view["id"]))[0]["votes"]] == ["anna"]
    await cancel(cleo, view)
    assert sent_mails(stack, view["id"]) == []


async def test_topping_up_and_cancelling_at_once_have_one_outcome(stack: Stack, fresh: Fresh) -> None:
    plan = [event("s1", fresh("One")), event("s2", fresh("Two"))]
    views = await crowd(stack, fresh("Two events"), *plan, budget={"steps": 1})

    async def race(view: View, offset: float) -> int:
        answers = await both(after(max(0, offset), stack.decide(view)), after(max(0, -offset), cancel(stack, view)))
        return answers[0]

    answers = await asyncio.gather(*map(race, views, offsets(0.3)))
    found = Counter(
        (
            answer,
            view["approvals"][0]["status"],
            [step["status"] for step in view["plan"]["steps"]].count("completed"),
            effects(stack, "calendar", view["id"]),
        )
        for answer, view in zip(answers, await ends(stack, views), strict=True)
    )
    assert {outcome[:2] for outcome in found} <= {(200, "approved"), (409, "cancelled")}
    assert [
        outcome for outcome in found if outcome[2] != outcome[3]
    ] == []  # what is said to be done is, and nothing else
    assert max(done for answer, _, done, _ in found if answer == 409) <= 1
    assert found[200, "approved", 2, 2] > 0
    assert found[409, "cancelled", 1, 1] > 0


@asynccontextmanager
async def own_worker(stack: Stack, queue: str) -> AsyncIterator[None]:
    """A workflow worker that a test can take away."""
    async with Worker(
        stack.temporal,
        task_queue=queue,
        interceptors=[OrganisationOfWorkers()],
        workflows=[AssistantWorkflow],
        activities=LocalActivities(stack.temporal).all(),
        workflow_runner=SANDBOX,
        build_id="test-races",
    ):
        yield


@contextmanager
def locked(stack: Stack, capability: str) -> Iterator[None]:
    """Nobody can write to a capability's store."""
    database = sqlite3.connect(stack.data / f"{capability}.db", isolation_level=None)
    database.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        database.execute("ROLLBACK")
        database.close()


async def model_is_asked(stack: Stack, words: str, *, with_field: str = "messages") -> None:
    """Return when a request in which these words stand, and which has such a field, has reached the model."""
    for _ in range(600):
        if any(with_field in asked for asked in stack.model.requests_for(words)):
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"the model was not asked about {words}")


@pytest.mark.parametrize("status", [200, 400])
@pytest.mark.parametrize("mode", ["task", "chat"])
async def test_a_cancel_that_comes_shortly_before_the_plan_is_not_forgotten(
    stack: Stack, fresh: Fresh, mode: str, status: int
) -> None:
    """The model answers, or fails, before its activity hears of the cancel; nothing of the plan is done."""
    message = fresh("a stand-up")
    stack.model.script(message, Answer(plan_answer([event("s1", message)]).text, status=status, delay=2))
    run_id = (await stack.start(message, mode=mode))["id"]
    await model_is_asked(stack, message)
    await stack.temporal.get_workflow_handle(run_id).cancel()
    done = await stack.ended(run_id)
    assert (done["status"], done["plan"], len(done["messages"])) == ("cancelled", None, 1)


async def test_an_agent_that_is_cancelled_while_it_thinks_does_nothing_more(stack: Stack, fresh: Fresh) -> None:
    message, goal, title = fresh("delegate"), fresh("make an event"), fresh("Stand-up")
    stack.model.script(message, plan_answer([{"id": "s1", "agent": "calendar", "goal": goal}]))
    wish = {"tool": "calendar.create_event", "args": event("", title)["args"]}
    stack.model.agent(goal, Answer(calls=[wish], finish_reason="tool_calls", delay=2), "Done.")
    run_id = (await stack.start(message))["id"]
    await model_is_asked(stack, goal, with_field="tools")
    await stack.temporal.get_workflow_handle(run_id).cancel()
    done = await stack.ended(run_id)
    assert done["status"] == "cancelled"
    assert [step["id"] for step in done["plan"]["steps"]] == ["s1"]


@pytest.mark.parametrize("undo", [False, True])
async def test_an_effect_whose_result_comes_together_with_the_cancel_is_not_forgotten(
    stack: Stack, fresh: Fresh, undo: bool
) -> None:
    """No workflow worker is there while the effect is done and the run is cancelled: one task then brings both."""
    message, queue = fresh("Dentist"), f"races-{uuid.uuid4().hex}"
    stack.model.script(message, plan_answer([event(title=message)]))
    start = StartAssistant(message=message)
    with locked(stack, "calendar"):
        async with own_worker(stack, queue):
            handle = await stack.temporal.start_workflow(
                "AssistantWorkflow", start, id=f"a-{uuid.uuid4().hex}", task_queue=queue
            )
            while "calendar.create_event" not in await activities_under_way(stack, handle.id):  # noqa: ASYNC110  # it has no event
                await asyncio.sleep(0.1)
    while not effects(stack, "calendar", handle.id):  # noqa: ASYNC110  # a row in another's database
        await asyncio.sleep(0.1)
    while await activities_under_way(stack, handle.id):  # noqa: ASYNC110  # it has no event
        await asyncio.sleep(0.1)
    await handle.cancel(reason="undo" if undo else "")
    async with own_worker(stack, queue):
        with pytest.raises(WorkflowFailureError):
            await handle.result()
        view = await handle.query("view", result_type=dict[str, Any])
    assert view["status"] == "cancelled"
    assert steps(view)["s1"]["status"] == {False: "completed", True: "undone"}[undo]
    assert [step["status"] for step in view["undo"]] == ["undone"] * undo


async def activities_under_way(stack: Stack, assistant_id: str) -> list[str]:
    """The activities of a run that have not ended, as the server knows them."""
    description = await stack.temporal.get_workflow_handle(assistant_id).describe()
    return [activity.activity_type.name for activity in description.raw_description.pending_activities]
