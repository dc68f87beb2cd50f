"""The registry: announcing, replacing, refusing, and capabilities of which nobody knew before."""

from __future__ import annotations

import asyncio
import contextlib
import re
import threading
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import timedelta
from typing import Any, cast

import pytest
from jsonschema import Draft202012Validator
from temporalio import activity
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client, WorkflowHandle, WorkflowUpdateFailedError, WorkflowUpdateStage
from temporalio.exceptions import ApplicationError
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from retinue.capability import Annotations, Manifest, ToolOptions, ToolSpec
from retinue.errors import InvalidArguments
from retinue.temporal import registry as retinue_registry
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
            task_timeout=timedelta(seconds=3),  # while a check runs, its task reports after four fifths of this
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


@pytest.fixture
def slow_check(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """The check of a schema titled `slow` lasts until this is set."""
    done, check = threading.Event(), Draft202012Validator.check_schema

    def check_schema(schema: Any, *arguments: Any, **named: Any) -> None:
        if schema.get("title") == "slow":
            done.wait(30)
        check(schema, *arguments, **named)

    monkeypatch.setattr(Draft202012Validator, "check_schema", check_schema)
    yield done
    done.set()


def slow(name: str, **fields: Any) -> Manifest:
    tool = with_schema({"type": "object", "title": "slow"}).model_copy(update={"name": f"{name}.do_it"})
    return capability(name, tools=[tool], **fields)


async def test_the_registry_answers_while_schemas_are_checked(
    temporal: Client, name: str, slow_check: threading.Event
) -> None:
    """Checking takes CPU, and a workflow task that takes seconds on a busy machine counts as deadlocked."""
    async with registry_of_its_own(temporal, name) as handle:
        checking = asyncio.ensure_future(handle.execute_update("announce", slow(name)))
        await handle.execute_update("announce", capability(f"{name}b"), rpc_timeout=ANSWER)
        known = await handle.query("capabilities", result_type=list[Manifest], rpc_timeout=ANSWER)
        assert [manifest.name for manifest in known] == [f"{name}b"]
        slow_check.set()
        assert await checking == 2


async def test_the_last_announcement_stays_though_an_earlier_ones_check_ends_later(
    temporal: Client, name: str, slow_check: threading.Event
) -> None:
    async with registry_of_its_own(temporal, name) as handle:
        first = await handle.start_update(
            "announce", slow(name), wait_for_stage=WorkflowUpdateStage.ACCEPTED, result_type=int
        )
        last = await handle.start_update(
            "announce", capability(name), wait_for_stage=WorkflowUpdateStage.ACCEPTED, result_type=int
        )
        slow_check.set()
        assert (await first.result(), await last.result()) == (1, 2)
        [known] = await handle.query("capabilities", result_type=list[Manifest])
    assert known == capability(name)


async def test_what_is_being_checked_is_not_lost_when_the_registry_goes_on_as_new(
    temporal: Client, name: str, slow_check: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "_ANNOUNCEMENTS_PER_RUN", 2)
    async with registry_of_its_own(temporal, name) as handle:
        checking = asyncio.ensure_future(handle.execute_update("announce", slow(name)))
        await asyncio.gather(*[handle.execute_update("announce", capability(f"{name}{number}")) for number in range(5)])
        slow_check.set()
        await checking
        known = await handle.query("capabilities", result_type=list[Manifest])
        description = await handle.describe()
    assert [manifest.name for manifest in known] == [name, *(f"{name}{number}" for number in range(5))]
    assert description.run_id != handle.first_execution_run_id


@pytest.mark.parametrize("update", ["announce", "replace"])
async def test_the_registry_itself_refuses_a_schema_that_is_none(stack: Stack, name: str, update: str) -> None:
    """Workers in other languages may not check what they announce."""
    wrong = slow(name).model_copy(update={"tools": [with_schema({"type": "nonsense"})], "name": "x"})
    with pytest.raises(WorkflowUpdateFailedError) as refused:
        await stack.temporal.get_workflow_handle(REGISTRY_ID).execute_update(update, wrong)
    assert isinstance(refused.value.cause, ApplicationError)
    assert refused.value.cause.type == "InvalidManifest"
    assert refused.value.cause.message.startswith("a schema of x.do_it is not a valid JSON schema (draft 2020-12): ")


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
