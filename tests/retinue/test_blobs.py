"""Large payloads by reference: whole for whoever reads them, a hash in the history, and never something else unnoticed."""

from __future__ import annotations

import asyncio
import hashlib
import json
import uuid
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio import activity, workflow
from temporalio.api.enums.v1 import EventType
from temporalio.client import WorkflowHistory
from temporalio.converter import StorageDriverClaim, StorageDriverRetrieveContext
from temporalio.worker import Replayer, UnsandboxedWorkflowRunner, Worker

from api.app import create_app
from api.settings import ApiSettings
from retinue.capability import Annotations, Manifest, ToolSpec
from retinue.errors import ServiceUnavailable
from retinue.temporal.blobs import BlobFiles
from retinue.temporal.connection import DATA_CONVERTER
from retinue.temporal.registry import announce
from retinue.testing import plan_answer
from tests.api.conftest import browsing
from tests.conftest import Stack, steps

Fresh = Callable[[str], str]
LARGE = "x" * 200 * 1024


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A blob folder of this test's own, set after everything was imported."""
    monkeypatch.setenv("RETINUE_BLOB_DIR", str(tmp_path / "blobs"))
    return tmp_path / "blobs"


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


async def test_a_small_payload_makes_no_file(folder: Path) -> None:
    [payload] = await DATA_CONVERTER.encode(["x" * 100 * 1024])
    assert len(payload.data) > 100 * 1024
    assert not folder.exists()


async def test_a_large_payload_is_a_file_named_by_its_content(folder: Path) -> None:
    [payload] = await DATA_CONVERTER.encode([{"text": LARGE}])
    [file] = files(folder)
    assert payload.ByteSize() < 400
    assert file.parent.name + file.name == hashlib.sha256(file.read_bytes()).hexdigest()
    assert await DATA_CONVERTER.decode([payload]) == [{"text": LARGE}]


async def test_the_same_content_is_kept_once_by_any_number_of_writers(folder: Path) -> None:
    encoded = await asyncio.gather(*(DATA_CONVERTER.encode([LARGE, LARGE]) for _ in range(10)))
    assert len({payload.SerializeToString() for pair in encoded for payload in pair}) == 1
    assert len(files(folder)) == 1


async def test_the_folder_is_looked_up_when_it_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RETINUE_BLOB_DIR", raising=False)
    monkeypatch.setenv("RETINUE_DATA_DIR", str(tmp_path))
    await DATA_CONVERTER.encode([LARGE])
    assert len(files(tmp_path / "blobs")) == 1


async def test_a_missing_file_is_named(folder: Path) -> None:
    [payload] = await DATA_CONVERTER.encode([LARGE])
    [file] = files(folder)
    file.unlink()
    with pytest.raises(ServiceUnavailable, match=f"not in the blob folder: {file.parent.name}{file.name}"):
        await DATA_CONVERTER.decode([payload])


async def test_a_changed_file_is_noticed_and_written_anew(folder: Path) -> None:
    [payload] = await DATA_CONVERTER.encode([LARGE])
    [file] = files(folder)
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(ServiceUnavailable, match="was changed"):
        await DATA_CONVERTER.decode([payload])
    await DATA_CONVERTER.encode([LARGE])
    assert await DATA_CONVERTER.decode([payload]) == [LARGE]


@pytest.mark.parametrize("claim", [{}, {"sha256": ""}, {"sha256": "../../etc/passwd"}, {"sha256": "0" * 63}])
async def test_a_reference_never_leads_out_of_the_folder(tmp_path: Path, claim: dict[str, str]) -> None:
    with pytest.raises(ServiceUnavailable, match=r"no SHA-256"):
        await BlobFiles(lambda: tmp_path).retrieve(StorageDriverRetrieveContext(), [StorageDriverClaim(claim)])


async def test_a_folder_that_cannot_be_written_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RETINUE_BLOB_DIR", "/dev/null/blobs")
    with pytest.raises(ServiceUnavailable, match="cannot be written"):
        await DATA_CONVERTER.encode([LARGE])


@workflow.defn
class Passing:
    """Takes something large in and gives it out again."""

    def __init__(self) -> None:
        self._held = ""

    @workflow.run
    async def run(self, text: str) -> str:
        self._held = await workflow.execute_activity(
            "double", text, schedule_to_close_timeout=timedelta(seconds=20), result_type=str
        )
        return self._held

    @workflow.query
    def held(self) -> str:
        return self._held


@pytest.fixture
async def large_run(temporal: Any, folder: Path) -> WorkflowHistory:
    """The history of a run with large payloads everywhere, on the real server."""

    @activity.defn(name="double")
    async def double(text: str) -> str:
        return text * 2

    queue = uuid.uuid4().hex
    worker = Worker(
        temporal,
        task_queue=queue,
        workflows=[Passing],
        activities=[double],
        workflow_runner=UnsandboxedWorkflowRunner(),
        build_id="test",
    )
    async with worker:
        handle = await temporal.start_workflow(Passing.run, LARGE, id=queue, task_queue=queue)
        assert await handle.result() == LARGE * 2
        assert await handle.query(Passing.held) == LARGE * 2
    history: WorkflowHistory = await handle.fetch_history()
    return history


async def test_everything_large_passes_through_a_run(large_run: WorkflowHistory) -> None:
    """Arguments, results, queries and a replay from the history alone."""
    sizes = [event.ByteSize() for event in large_run.events]
    assert max(sizes) < 2_000
    await Replayer(
        workflows=[Passing], data_converter=DATA_CONVERTER, workflow_runner=UnsandboxedWorkflowRunner()
    ).replay_workflow(large_run)


async def test_a_large_result_of_a_tool_costs_the_history_little_and_is_shown_whole(stack: Stack, fresh: Fresh) -> None:
    name = f"big{uuid.uuid4().hex[:8]}"
    tool = ToolSpec(
        name=f"{name}.read_it",
        title="Read it",
        description="Reads something large.",
        args_schema={"type": "object", "properties": {}},
        annotations=Annotations(read_only=True, destructive=False, open_world=False),
    )
    manifest = Manifest(name=name, version="1", description="For a test.", task_queue=name, tools=[tool])

    @activity.defn(name=tool.name)
    async def read_it(arguments: dict[str, Any]) -> dict[str, Any]:
        return {"text": name + LARGE}

    message = fresh("Read it")
    stack.model.script(message, plan_answer([{"id": "s1", "tool": tool.name, "args": {}}]))
    async with Worker(stack.temporal, task_queue=name, activities=[read_it], build_id="test"):
        await announce(stack.temporal, manifest)
        done = await stack.ended((await stack.start(message))["id"])
    assert done["status"] == "completed", done["error"]
    assert steps(done)["s1"]["result"] == {"text": name + LARGE}
    history = await stack.temporal.get_workflow_handle(done["id"]).fetch_history()
    brought = [
        event.ByteSize()
        for event in history.events
        if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED and "external-storage" in _json(event)
    ]
    assert brought
    assert max(brought) < 2_000
    for file in [file for file in files(stack.data / "blobs") if name.encode() in file.read_bytes()]:
        file.unlink()
    app = create_app(ApiSettings(), client=stack.temporal)  # another process, which has not read it before
    async with browsing(app) as http:
        lost = await http.get(f"/v1/assistants/{done['id']}")
    assert (lost.status_code, "not in the blob folder" in lost.json()["detail"]) == (503, True)


def _json(event: Any) -> str:
    """What the payloads of a completed activity say of themselves."""
    payloads = event.activity_task_completed_event_attributes.result.payloads
    return json.dumps(["external-storage" for payload in payloads if payload.external_payloads])
