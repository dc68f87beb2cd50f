"""The stage: one Temporal server, one model, and both sides with the same number of processes doing their work."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol

import httpx
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter

from bench import seeds
from bench.floor import messages
from bench.floor.activities import seed
from bench.processes import HOST, Processes, StartFailed, environment, module_command
from retinue.temporal.connection import DATA_CONVERTER
from workers import temporal_server

CAPABILITIES = ("reasoning", "calendar", "contacts", "email")
"""`email` has nothing to do in the job; with it both sides have five worker processes."""
_READY_WAIT = 300.0
_JOB = "Find Ana Sousa, see what stands on 1 March 2027, and enter a meeting with her on 3 May 2028 at 10."


class Side(Protocol):
    """One of the two ways to do the job."""

    name: str

    async def run(self) -> str:
        """Do the job once, wait for its outcome, check it; returns the workflow's id."""


@dataclass
class Floor:
    """The bare workflow, started and awaited by the plain Temporal client."""

    client: Client
    name: str = "floor"
    _count: int = 0

    async def run(self) -> str:
        """Start the workflow and wait for its result."""
        self._count += 1
        workflow_id = f"floor-{self._count}"
        result = await self.client.execute_workflow(
            "FloorWorkflow", _JOB, id=workflow_id, task_queue=messages.WORKFLOWS, result_type=str
        )
        if "Ana Sousa" not in result:
            raise AssertionError(f"the bare workflow answered {result!r}")
        return workflow_id


@dataclass
class Product:
    """The whole product: an HTTP request to the front door that waits for the final view."""

    http: httpx.AsyncClient
    name: str = "product"

    async def run(self) -> str:
        """POST the request and check the final view."""
        response = await self.http.post("/v1/assistants", json={"message": _JOB, "wait_seconds": 30})
        view = response.raise_for_status().json()
        steps = [step["status"] for step in view["plan"]["steps"]] if view.get("plan") else []
        if view["status"] != "completed" or steps != ["completed"] * 3:
            raise AssertionError(f"the product ended so: {view}")
        workflow_id: str = view["id"]
        return workflow_id


@dataclass
class Stage:
    """Both sides, ready."""

    processes: Processes
    client: Client
    floor: Floor
    product: Product


@contextlib.asynccontextmanager
async def stage(processes: Processes) -> AsyncIterator[Stage]:
    """Start everything and wait until both sides do their job."""
    address, model = await start_servers(processes)
    await _start_floor(processes, address=address, model=model)
    url = start_product(processes, address=address, model=model)
    async with httpx.AsyncClient(base_url=url, timeout=60, limits=httpx.Limits(max_connections=64)) as http:
        await ready(processes, http)
        floor_client = await Client.connect(address, data_converter=pydantic_data_converter)
        reader = await Client.connect(address, data_converter=DATA_CONVERTER)
        yield Stage(processes, reader, Floor(floor_client), Product(http))


async def start_servers(processes: Processes) -> tuple[str, str]:
    """Start Temporal and the model; returns the address of each."""
    port, ui_port, http_port, model_port = (temporal_server.free_port() for _ in range(4))
    command = temporal_server.command(
        host=HOST, port=port, ui_port=ui_port, http_port=http_port, database=processes.folder / "temporal.db"
    )
    processes.start("server", command, name="temporal")
    processes.python("model", "bench.model", str(model_port), name="model")
    for each in (port, model_port):
        await _listens(processes, each)
    return f"{HOST}:{port}", f"http://{HOST}:{model_port}/v1"


async def _start_floor(processes: Processes, *, address: str, model: str) -> None:
    contacts, events = (processes.folder / f"floor-{name}.db" for name in ("contacts", "events"))
    await seed(contacts)
    await seed(events)
    for queue in messages.QUEUES:
        database = contacts if queue == messages.CONTACTS else events
        variables = {"TEMPORAL_ADDRESS": address, **_model(model), "FLOOR_DATABASE": str(database)}
        processes.python("floor workers", "bench.floor", queue, name=queue, variables=variables)


def start_product(processes: Processes, *, address: str, model: str, workflows: int = 1, each: int = 1) -> str:
    """Start the product's processes: so many workers of the workflows, and of each capability; returns the API's address."""
    port = temporal_server.free_port()
    data = processes.folder / "data"
    variables = {
        "TEMPORAL_ADDRESS": address,
        "RETINUE_DATA_DIR": str(data),
        "RETINUE_PORT": str(port),
        "RETINUE_WAIT_FOR": ",".join(CAPABILITIES),
        **_model(model),
    }
    _import(processes, "contacts", "people.vcf", seeds.vcards(), variables)
    _import(processes, "calendar", "events.ics", seeds.icalendar(), variables)
    for name in (*["workflows"] * workflows, *CAPABILITIES * each):
        processes.python("product workers", "workers", name, name=name, variables=variables)
    processes.python("api", "api", name="api", variables=variables)
    return f"http://{HOST}:{port}"


def _import(processes: Processes, capability: str, name: str, text: str, variables: dict[str, str]) -> None:
    file = processes.folder / name
    file.write_text(text, encoding="utf-8", newline="")
    command = module_command("workers", "import", capability, str(file))
    done = subprocess.run(command, env={**environment(), **variables}, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise StartFailed(f"the import into {capability} failed:\n{done.stdout}{done.stderr}")


def _model(url: str) -> dict[str, str]:
    model = {"OPENAI_BASE_URL": url, "OPENAI_API_KEY": "none", "RETINUE_MODEL": "bench"}
    return {**model, "REASONING_STRUCTURED": "json_schema"}


async def _listens(processes: Processes, port: int) -> None:
    deadline = time.monotonic() + _READY_WAIT
    while not temporal_server.answers(HOST, port):
        processes.check()
        if time.monotonic() > deadline:
            raise StartFailed(f"nothing listens on port {port}\n{processes.end_of_logs()}")
        await asyncio.sleep(0.05)


async def ready(processes: Processes, http: httpx.AsyncClient) -> None:
    """Wait until the product takes requests.

    Raises:
        StartFailed: A process ended, or it takes too long.
    """
    deadline = time.monotonic() + _READY_WAIT
    while not await _answers_200(http):
        processes.check()
        if time.monotonic() > deadline:
            raise StartFailed(f"the product did not get ready\n{processes.end_of_logs()}")
        await asyncio.sleep(0.1)


async def _answers_200(http: httpx.AsyncClient) -> bool:
    try:
        return (await http.get("/readyz")).status_code == 200
    except httpx.TransportError:
        return False
