"""The registry: announcing, replacing, refusing, and capabilities of which nobody knew before."""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
import time
import uuid
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any, cast

import pytest
from temporalio import activity
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client, WorkflowHandle, WorkflowUpdateFailedError
from temporalio.service import RPCError
from temporalio.worker import Replayer, UnsandboxedWorkflowRunner, Worker

from retinue.capability import Annotations, Manifest, ToolOptions, ToolSpec
from retinue.errors import InvalidArguments
from retinue.temporal import registry as retinue_registry
from retinue.temporal.connection import DATA_CONVERTER
from retinue.temporal.registry import REGISTRY_ID, Directory, announce
from retinue.testing import plan_answer
from tests.conftest import Stack, pending, steps
from workers import runner
from workers.local_activities import LocalActivities
from workers.runner import announce_until_heard
from workflows import registry
from workflows.messages import RegistryState

Fresh = Callable[[str], str]
ANSWER = timedelta(seconds=10)
READ = Annotations(read_only=True, destructive=False, open_world=False)


def capability(
    name: str,
    *,
    version: str = "1",
    annotations: Annotations = READ,
    options: ToolOptions | None = None,
    **fields: Any,
) -> Manifest:
    """A capability of one tool, as a worker in any language would announce it."""
    tool = ToolSpec(
        name=f"{name}.do_it",
        title="Do it",
        description="Does what a test needs.",
        args_schema={"type": "object", "properties": {"word": {"type": "string"}}, "required": ["word"]},
        annotations=annotations,
        options=options or ToolOptions(),
    )
    return Manifest(
        **{
            "name": name,
            "version": version,
            "description": "For a test.",
            "task_queue": name,
            "tools": [tool],
            **fields,
        }
    )


def with_schema(schema: dict[str, Any]) -> ToolSpec:
    return capability("x").tools[0].model_copy(update={"args_schema": schema})


@pytest.fixture
def name() -> str:
    return f"cap{uuid.uuid4().hex[:8]}"


def worker_of(stack: Stack, name: str) -> Worker:
    """A plain Temporal worker that knows nothing of Retinue but the tool's name."""

    @activity.defn(name=f"{name}.do_it")
    async def do_it(arguments: dict[str, Any]) -> dict[str, Any]:
        return {"echo": arguments["word"]}

    return Worker(stack.temporal, task_queue=name, activities=[do_it], build_id="test")


async def test_a_new_capability_is_usable_at_once(stack: Stack, fresh: Fresh, name: str) -> None:
    """Nothing but an announcement: no list, no restart, no import."""
    message = fresh("Do it")
    stack.model.script(message, plan_answer([{"id": "s1", "tool": f"{name}.do_it", "args": {"word": "hi"}}]))
    await announce(stack.temporal, capability(name))
    async with worker_of(stack, name):
        view = await stack.start(message, wait_seconds=20)
    assert (view["status"], steps(view)["s1"]["result"]) == ("completed", {"echo": "hi"})


async def test_a_capability_of_unknown_intent_is_asked(stack: Stack, fresh: Fresh, name: str) -> None:
    """A manifest that says nothing about its tool gets the careful defaults."""
    message = fresh("Do it carefully")
    stack.model.script(message, plan_answer([{"id": "s1", "tool": f"{name}.do_it", "args": {"word": "hi"}}]))
    await announce(stack.temporal, capability(name, annotations=Annotations()))
    view = await stack.asked((await stack.start(message))["id"])
    assert pending(view)[0]["reasons"] == ["it reaches other people or systems", "it cannot be undone"]
    await stack.http.post(f"/v1/assistants/{view['id']}/cancel")


async def test_a_capability_without_workers_is_seen_and_waited_for(stack: Stack, fresh: Fresh, name: str) -> None:
    """Within ten seconds the view says `awaiting_worker`, other branches go on, and the step runs when a worker comes."""
    message = fresh("Do it some time")
    plan = [
        {"id": "s1", "tool": f"{name}.do_it", "args": {"word": "late"}},
        {"id": "s2", "tool": "contacts.list", "args": {}},
    ]
    stack.model.script(message, plan_answer(plan))
    await announce(stack.temporal, capability(name))
    started = time.monotonic()
    view = await stack.until(
        (await stack.start(message))["id"], lambda view: view["status"] == "awaiting_worker", seconds=15
    )
    assert time.monotonic() - started < 10
    assert [steps(view)[step]["status"] for step in ("s1", "s2")] == ["awaiting_worker", "completed"]
    shown = await stack.http.get("/v1/capabilities")
    [state] = [item for item in shown.json()["capabilities"] if item["name"] == name]
    assert (state["pollers"], state["healthy"]) == (0, False)
    async with worker_of(stack, name):
        done = await stack.ended(view["id"])
    assert (done["status"], steps(done)["s1"]["result"]) == ("completed", {"echo": "late"})


async def test_a_wait_for_a_worker_ends_at_the_tools_patience(stack: Stack, fresh: Fresh, name: str) -> None:
    """A day unless the tool says otherwise; the end is typed and names what is missing."""
    message = fresh("Do it, but I will not wait long")
    stack.model.script(message, plan_answer([{"id": "s1", "tool": f"{name}.do_it", "args": {"word": "x"}}]))
    await announce(stack.temporal, capability(name, options=ToolOptions(patience=2)))
    done = await stack.ended((await stack.start(message))["id"])
    assert done["status"] == "failed"
    assert steps(done)["s1"]["error"]["type"] == "NoWorker"
    assert f"no worker took {name}.do_it in time" in steps(done)["s1"]["error"]["message"]
    assert ToolOptions().patience == 24 * 3600


async def test_a_new_version_replaces_the_old_one_as_a_whole(stack: Stack, name: str) -> None:
    directory = Directory(stack.temporal)
    first = await announce(stack.temporal, capability(name, version="1"))
    again = await announce(stack.temporal, capability(name, version="1"))
    second = await announce(stack.temporal, capability(name, version="2", description="Better."))
    assert (again, second) == (first, first + 1)
    [known] = [manifest for manifest in await directory.manifests() if manifest.name == name]
    assert (known.version, known.description) == ("2", "Better.")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"task_queue": "workflows"}, "belongs to the workflows"),
        ({"name": "other"}, "must be named other.verb_object"),
        ({"name": "x", "tools": [with_schema({"type": "nonsense"})]}, "is not a valid JSON schema"),
        ({"tools": [capability("x").tools[0].model_copy(update={"name": "x.a"})] * 2, "name": "x"}, "a tool twice"),
    ],
)
async def test_a_wrong_manifest_is_refused(stack: Stack, name: str, change: dict[str, Any], reason: str) -> None:
    wrong = capability(name).model_copy(update=change)
    with pytest.raises(InvalidArguments, match=re.escape(reason)):
        await announce(stack.temporal, wrong)


async def test_the_registry_goes_on_as_new_and_forgets_nothing(
    temporal: Client, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before Temporal's limit of updates per run is near, it continues in a fresh run with all manifests."""
    monkeypatch.setattr(registry, "_ANNOUNCEMENTS_PER_RUN", 3)
    async with registry_of_its_own(temporal, name) as handle:
        for number in range(8):
            await handle.execute_update("announce", capability(f"{name}{number}"))
        known = await handle.query("capabilities", result_type=list[Manifest])
        description = await handle.describe()
    assert [manifest.name for manifest in known] == [f"{name}{number}" for number in range(8)]
    assert description.run_id != handle.first_execution_run_id
    assert await description.memo_value("revision") == 8


@contextlib.asynccontextmanager
async def registry_of_its_own(temporal: Client, name: str) -> AsyncIterator[WorkflowHandle[Any, Any]]:
    """A registry on the task queue `name`, with a worker for it."""
    async with registry_worker(temporal, name):
        handle = await temporal.start_workflow(
            "RegistryWorkflow",
            RegistryState(),
            id=f"{REGISTRY_ID}-{name}",
            task_queue=name,
        )
        try:
            yield handle
        finally:
            await handle.terminate()


def registry_worker(temporal: Client, queue: str) -> Worker:
    return Worker(
        temporal,
        task_queue=queue,
        workflows=[registry.RegistryWorkflow],
        activities=LocalActivities(temporal).all(),
        workflow_runner=UnsandboxedWorkflowRunner(),
        build_id="test",
    )


async def test_a_tool_with_a_wrong_schema_is_left_out_and_the_others_stay(stack: Stack, name: str) -> None:
    """Workers in other languages may not check what they announce, and the registry does not either."""
    wrong = with_schema({"type": "nonsense"}).model_copy(update={"name": f"{name}.do_wrong"})
    manifest = capability(name)
    await stack.temporal.get_workflow_handle(REGISTRY_ID).execute_update(
        "announce", manifest.model_copy(update={"tools": [wrong, *manifest.tools]})
    )
    [known] = [manifest for manifest in await Directory(stack.temporal).manifests() if manifest.name == name]
    assert known.tools == manifest.tools
    [why] = known.left_out
    assert why.startswith(f"a schema of {name}.do_wrong is not a valid JSON schema (draft 2020-12): ")
    shown = await stack.http.get("/v1/capabilities")
    [state] = [item for item in shown.json()["capabilities"] if item["name"] == name]
    assert ([tool["name"] for tool in state["tools"]], state["left_out"]) == ([f"{name}.do_it"], [why])


async def test_announcements_between_questions_make_a_history_that_replays(temporal: Client, name: str) -> None:
    """What a start of many workers and an impatient `/readyz` do. With a wait in the update it failed two times in three."""
    async with registry_worker(temporal, name):
        runs = [await temporal.start_workflow("RegistryWorkflow", id=f"{name}-{n}", task_queue=name) for n in range(4)]
        await asyncio.gather(*(_announced_and_asked(run, name) for run in runs))
        histories = [await run.fetch_history() for run in runs]
        await asyncio.gather(*(run.terminate() for run in runs))
    replayer = Replayer(
        workflows=[registry.RegistryWorkflow],
        data_converter=DATA_CONVERTER,
        workflow_runner=UnsandboxedWorkflowRunner(),
    )
    for history in histories:
        await replayer.replay_workflow(history)


async def _announced_and_asked(run: WorkflowHandle[Any, Any], name: str) -> None:
    async def announced(number: int) -> None:
        await asyncio.sleep(2 * random.random())
        with contextlib.suppress(RPCError, WorkflowUpdateFailedError):  # more than ten at once are refused
            await run.execute_update("announce", capability(f"{name}{number}"))

    async def asked() -> None:
        while True:
            with contextlib.suppress(RPCError):
                await run.query("revision")
            await asyncio.sleep(0.005)

    asking = [asyncio.ensure_future(asked()) for _ in range(3)]
    await asyncio.gather(*map(announced, range(45)))
    for task in asking:
        task.cancel()


async def test_a_worker_finds_its_wrong_schema_before_it_asks_the_registry(name: str) -> None:
    wrong = capability("x").model_copy(update={"tools": [with_schema({"type": "nonsense"})]})
    with pytest.raises(InvalidArguments, match="is not a valid JSON schema"):
        await announce_until_heard(cast("Client", None), wrong)


async def test_an_announcement_that_is_tried_again_is_one_update(
    temporal: Client, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While nobody answers, tries do not pile up: Temporal refuses the 11th update in flight."""
    tries: asyncio.Queue[str] = asyncio.Queue()
    announce_once = retinue_registry.announce

    async def announce_and_count(client: Client, manifest: Manifest, *update_id: str) -> int:
        tries.put_nowait("")
        return await announce_once(client, manifest, *update_id)

    monkeypatch.setattr(retinue_registry, "REGISTRY_ID", f"{REGISTRY_ID}-{name}")
    monkeypatch.setattr(retinue_registry, "WORKFLOW_QUEUE", name)
    monkeypatch.setattr(retinue_registry, "_RPC_TIMEOUT", timedelta(seconds=0.5))
    monkeypatch.setattr(runner, "announce", announce_and_count)
    monkeypatch.setattr(runner, "_ANNOUNCE_PAUSE", 0.01)
    announcing = asyncio.ensure_future(announce_until_heard(temporal, capability(name)))
    for _ in range(3):
        await tries.get()
    monkeypatch.setattr(retinue_registry, "_RPC_TIMEOUT", ANSWER)
    async with registry_worker(temporal, name):
        await announcing
        handle = temporal.get_workflow_handle(f"{REGISTRY_ID}-{name}")
        kinds = [event.event_type async for event in handle.fetch_history_events()]
        await handle.terminate()
    assert kinds.count(EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED) == 1


async def test_announcements_at_once_are_all_heard(stack: Stack, name: str) -> None:
    manifests = [capability(f"{name}{number}") for number in range(10)]
    await asyncio.gather(*[announce(stack.temporal, manifest) for manifest in manifests])
    known = {manifest.name for manifest in await Directory(stack.temporal).manifests()}
    assert {manifest.name for manifest in manifests} <= known
