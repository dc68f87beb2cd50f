"""The guide to plans in code: its whole example runs as it stands, its excerpts stand in the briefing."""

from __future__ import annotations

import importlib.util
import re
import sys
import uuid
from pathlib import Path
from types import ModuleType

import pytest
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from api.services.run_views import recorded_view
from retinue.settings import ROOT
from tests.conftest import Stack
from tests.days import SOON
from workflows.code_plans import PLANS, CodePlan

GUIDE = (ROOT / "docs/plans-in-code.md").read_text()
WHOLE, *EXCERPTS = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)


@pytest.fixture
def weekend(tmp_path: Path) -> ModuleType:
    """The guide's example as a module."""
    path = tmp_path / "weekend.py"
    path.write_text(WHOLE)
    spec = importlib.util.spec_from_file_location("plan_of_the_guide", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # type hints are looked up there
    spec.loader.exec_module(module)
    return module


async def test_the_whole_example_runs_as_it_stands(stack: Stack, weekend: ModuleType) -> None:
    plan = CodePlan(
        weekend.WeekendWorkflow, title="Weekend weather", args=weekend.WeekendArgs, input=weekend.StartWeekend
    )
    args = plan.args.model_validate({"places": ["Lisbon", "Rome"], "saturday": SOON})
    queue = f"guide-{uuid.uuid4().hex}"
    worker = Worker(
        stack.temporal,
        task_queue=queue,
        workflows=[plan.workflow],
        workflow_runner=UnsandboxedWorkflowRunner(),
        build_id="guide",
    )
    async with worker:
        handle = await stack.temporal.start_workflow(
            plan.workflow_type,
            plan.start(args, timezone="Europe/Lisbon", owner="local"),
            id=f"a-{uuid.uuid4().hex}",
            task_queue=queue,
        )
        await handle.result()
    view = await recorded_view(await handle.fetch_history(), stack.temporal.data_converter)
    assert view is not None
    assert view.plan is not None
    assert (view.status, view.message) == ("completed", "Weekend weather")
    assert [step.id for step in view.plan.steps] == ["weather in Lisbon", "weather in Rome"]
    assert re.fullmatch(r"Go to (Lisbon|Rome).*\.", view.reply or "")


@pytest.mark.parametrize("excerpt", EXCERPTS)
def test_an_excerpt_stands_in_the_briefing(excerpt: str) -> None:
    assert excerpt in (ROOT / "workflows/briefing.py").read_text()


def test_the_line_of_the_catalog_names_what_a_plan_has() -> None:
    [line] = re.findall(r'^ +"weekend": CodePlan\((.*)\),$', GUIDE, re.MULTILINE)
    assert set(re.findall(r"(\w+)=", line)) | {"workflow"} == set(CodePlan.__dataclass_fields__)


@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
def test_a_plans_input_takes_its_arguments_the_zone_and_the_owner(plan: CodePlan) -> None:
    assert set(plan.args.model_fields) | {"timezone", "owner"} == set(plan.input.model_fields)
    assert plan.args.model_config.get("extra") == "forbid"
    assert hasattr(plan.workflow, "view")
