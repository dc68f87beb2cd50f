"""Replaying and taking along: what Temporal and the API keep of a run, as files."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from api.app import create_app
from api.settings import ApiSettings
from cli.app import app
from cli.replaying import NoHistory, from_file, verdict, workflow_types
from retinue.temporal.connection import DATA_CONVERTER
from retinue.testing import plan_answer, serving
from tests.cli.conftest import Run as Fake
from tests.conftest import Stack
from tests.test_main_job import forecast, mail
from workers.runner import workflow_types as served_types
from workflows.person import PersonWorkflow

APPROVED = Path(__file__).parents[1] / "replay/histories/approved.json"
Fresh = Callable[[str], str]
Run = Callable[..., Awaitable[Result]]


@pytest.fixture
async def on_stack(stack: Stack) -> AsyncIterator[Run]:
    """Runs `retinue` beside a front door of the stack."""
    door = create_app(ApiSettings(), client=stack.temporal)
    async with door.router.lifespan_context(door), serving(door) as address:

        async def run(*arguments: str) -> Result:
            return await asyncio.to_thread(CliRunner().invoke, app, ["--url", address, *arguments])

        yield run


def test_all_workflows_that_workers_serve_are_replayed() -> None:
    assert set(workflow_types()) == {*served_types(), PersonWorkflow}


def test_a_history_that_fits_says_so(retinue: Fake) -> None:
    result = retinue("replay", str(APPROVED), "--json")
    verdict = json.loads(result.stdout)
    assert (result.exit_code, verdict["fits"], verdict["why"]) == (0, True, None)
    assert verdict["workflow_type"] == "AssistantWorkflow"


def test_a_history_that_does_not_fit_says_why(retinue: Fake, tmp_path: Path) -> None:
    """The same run, but its first activity was another one."""
    changed = tmp_path / "changed.json"
    changed.write_text(APPROVED.read_text().replace('"reasoning.plan"', '"reasoning.dream"'))
    result = retinue("replay", str(changed))
    assert result.exit_code == 1
    assert "does NOT fit" in result.stdout
    assert "reasoning.dream" in result.stdout


@pytest.mark.parametrize("content", ["{}", "[]", "nonsense", '{"events": [{"eventId": "1"}]}'])
def test_what_holds_no_history_is_not_replayed(tmp_path: Path, content: str) -> None:
    file = tmp_path / "odd.json"
    file.write_text(content)
    with pytest.raises(NoHistory, match="holds no workflow history"):
        from_file(file)


def test_a_file_that_is_not_there_is_wrong_usage(retinue: Fake) -> None:
    result = retinue("replay", "nowhere.json")
    assert (result.exit_code, "nowhere.json cannot be read" in result.stderr) == (2, True)


async def test_a_run_is_replayed_exported_and_replayed_from_the_file(
    stack: Stack, fresh: Fresh, on_stack: Run, tmp_path: Path
) -> None:
    message = fresh("The weather")
    stack.model.script(message, plan_answer([forecast()]))
    run = (await stack.start(message))["id"]
    await stack.ended(run)
    live = await on_stack("replay", run)
    assert (live.exit_code, "fits" in live.stdout) == (0, True), live.output
    exported = tmp_path / "run.json"
    assert (await on_stack("export", run, "--history", "--output", str(exported))).exit_code == 0
    assert (await verdict(from_file(exported), DATA_CONVERTER))["fits"]
    assert from_file(exported).workflow_id == run


async def test_a_run_that_temporal_does_not_know_is_wrong_usage(on_stack: Run) -> None:
    unknown = await on_stack("replay", "a-none")
    assert (unknown.exit_code, "there is no assistant 'a-none'" in unknown.stderr) == (2, True)


async def test_runs_are_taken_along_whole_and_no_file_is_overwritten(
    stack: Stack, fresh: Fresh, on_stack: Run, tmp_path: Path
) -> None:
    message = fresh("The weather, to take along")
    stack.model.script(message, plan_answer([forecast()]))
    run = (await stack.start(message))["id"]
    await stack.ended(run)
    [line] = (await on_stack("export", run)).stdout.splitlines()
    whole = json.loads(line)
    assert whole["assistant"]["id"] == whole["receipt"]["assistant_id"] == run
    assert whole["messages"][0]["text"] == message
    file = tmp_path / "runs.jsonl"
    assert (await on_stack("export", run, "-o", str(file))).exit_code == 0
    again = await on_stack("export", run, "-o", str(file))
    assert (again.exit_code, "cannot be written" in again.stderr) == (1, True)
    assert len(file.read_text().splitlines()) == 1
    assert (await on_stack("export", "a-none")).exit_code == 1


async def test_a_run_is_watched_by_its_events(stack: Stack, fresh: Fresh, on_stack: Run) -> None:
    message = fresh("Watch the weather")
    stack.model.script(message, plan_answer([forecast()]))
    run = (await stack.start(message))["id"]
    told = await on_stack("watch", run, "--events")
    events = [json.loads(line) for line in told.stdout.splitlines()]
    assert (told.exit_code, events[-1]["kind"]) == (0, "end")
    assert set(events[0]) == {"id", "kind", "data"}
    watched = await on_stack("watch", run)
    assert (watched.exit_code, watched.stdout.strip()) == (0, "weather.forecast completed")
    assert json.loads((await on_stack("watch", run, "--json")).stdout)["id"] == run


async def test_decisions_print_the_run_as_json(stack: Stack, fresh: Fresh, on_stack: Run) -> None:
    message = fresh("Mail team@example.com")
    stack.model.script(message, plan_answer([mail("s1")]))
    run = (await stack.start(message, wait_seconds=20))["id"]
    edited = await on_stack("edit", run, "--set", "subject=Other", "--json")
    assert json.loads(edited.stdout)["approvals"][0]["args"]["subject"] == "Other"
    await stack.ended(run)
    late = await on_stack("approve", run, "ap-s1", "--json")
    assert (late.exit_code, late.stdout) == (1, "")
