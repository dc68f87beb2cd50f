"""Names in searches: nothing of a name becomes a part of the question, and old installations learn to search anew."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
from temporalio import workflow
from temporalio.api.operatorservice.v1 import ListSearchAttributesRequest
from temporalio.client import Client
from temporalio.common import SearchAttributePair, TypedSearchAttributes
from temporalio.service import RPCError
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from retinue.temporal.connection import BUILD_ID, ensure_search_attributes
from retinue.temporal.search_attributes import SEARCH_ATTRIBUTES, is_exactly
from retinue.temporal.search_keys import OWNER
from tests.api.conftest import eventually
from workers import temporal_server

QUEUE = "old"
NEW = ("RetinueTenant=Keyword", *temporal_server.DYNAMIC_CONFIG[1:])
"""What servers of earlier versions are started without."""


@pytest.mark.parametrize(
    "name",
    [
        "x' OR '1'='1",
        'x" OR "1"="1',
        "x\\",
        "x\\' OR RetinueOwner != '",
        "",
        "a b",
        "a\n",
        "a\0",
        "a" * 256,
        "ä",
        "(a)",
        "a;b",
    ],
)
def test_a_name_that_could_be_more_than_a_value_is_never_searched_for(name: str) -> None:
    with pytest.raises(ValueError, match="RetinueOwner takes letters"):
        is_exactly("RetinueOwner", name)


@pytest.mark.parametrize("name", ["anna", "acme:anna", "acme:*", "auth0~7C1", "anna+x@example.com", "a" * 255])
async def test_a_name_is_found_as_it_is(temporal: Client, name: str) -> None:
    handle = await temporal.start_workflow(
        "Nothing",
        id=uuid.uuid4().hex,
        task_queue="nobody",
        search_attributes=TypedSearchAttributes([SearchAttributePair(OWNER, name)]),
    )

    async def found() -> list[str]:
        kind = "WorkflowType = 'Nothing'"
        return [run.id async for run in temporal.list_workflows(f"{kind} AND {is_exactly('RetinueOwner', name)}")]

    assert await eventually(found, lambda ids: ids == [handle.id])
    await handle.terminate()


@workflow.defn(name="Old")
class Old:
    @workflow.run
    async def run(self) -> str:
        return "done"


@contextmanager
def serving(arguments: list[str], log: Path) -> Iterator[None]:
    process = temporal_server.start(arguments, log=log)
    try:
        yield
    finally:
        process.terminate()
        process.wait(timeout=20)


async def connected(port: int) -> Client:
    for _ in range(100):
        try:
            return await Client.connect(f"127.0.0.1:{port}")
        except RuntimeError:
            await asyncio.sleep(0.1)
    raise AssertionError("the server did not come up")


def without(arguments: list[str], values: tuple[str, ...]) -> list[str]:
    """A command line without these values and the options before them."""
    dropped = {at for at, part in enumerate(arguments) if part in values}
    assert len(dropped) == len(values)
    return [part for at, part in enumerate(arguments) if at not in dropped and at + 1 not in dropped]


async def listed(client: Client) -> list[str]:
    """The runs that a list finds; none while the server has not read which attributes there are."""
    mine = f"WorkflowType = 'Old' AND RetinueTenant IS NULL AND {is_exactly('RetinueOwner', 'anna')}"
    with contextlib.suppress(RPCError):
        return [run.id async for run in client.list_workflows(mine)]
    return []


async def test_an_installation_of_an_earlier_version_goes_on_with_its_work(tmp_path: Path) -> None:
    """What an older server had queued is taken, and what it did not know can be searched for."""
    port, ui, http = (temporal_server.free_port() for _ in range(3))
    command = temporal_server.command(
        host="127.0.0.1", port=port, ui_port=ui, http_port=http, database=tmp_path / "temporal.db"
    )
    with serving(without(command, NEW), tmp_path / "log"):
        client = await connected(port)
        attributes = TypedSearchAttributes([SearchAttributePair(OWNER, "anna")])
        for number in range(20):
            await client.start_workflow(Old.run, id=f"o{number}", task_queue=QUEUE, search_attributes=attributes)
    with serving(command, tmp_path / "log"):
        client = await connected(port)
        await ensure_search_attributes(client)  # as the first worker of workflows does
        known = await client.operator_service.list_search_attributes(ListSearchAttributesRequest(namespace="default"))
        assert known.custom_attributes.keys() >= SEARCH_ATTRIBUTES.keys()
        found = await eventually(partial(listed, client), lambda ids: len(ids) == 20)
        worker = Worker(
            client, task_queue=QUEUE, workflows=[Old], workflow_runner=UnsandboxedWorkflowRunner(), build_id=BUILD_ID
        )
        async with worker:
            results = await asyncio.gather(*[client.get_workflow_handle(run).result() for run in found])
        assert results == ["done"] * 20
