"""What a schedule was allowed when it was made may be so no longer: its runs follow the policy file and its maker's rights."""

from __future__ import annotations

from pathlib import Path

import pytest
from temporalio.client import ScheduleActionStartWorkflow

from retinue.temporal.connection import of_workflow
from retinue.testing import Answer, plan_answer
from tests.api.conftest import Fresh, eventually
from tests.api.rights.conftest import POLICIES, Door, made
from tests.api.rights.test_policies import schedule
from tests.api.rights.test_taken_up_again import other_front
from tests.conftest import Stack, View, pending
from tests.test_main_job import mail, sent_mails
from workflows.messages import StartAssistant

NOTICE = "the schedule's own policy or budget holds no longer"
LAX_DEFAULT = '[policies.default]\n[[policies.default.rules]]\nname = "anything"\ndecide = "auto"\n'
NO_LAX = POLICIES.replace("policies.lax", "policies.other")


async def start_of(stack: Stack, schedule_id: str) -> StartAssistant:
    """What Temporal would start the schedule's next run with."""
    described = await stack.temporal.get_schedule_handle(schedule_id).describe()
    action = described.schedule.action
    assert isinstance(action, ScheduleActionStartWorkflow)
    [start] = await of_workflow(stack.temporal, action.id).decode(action.args, [StartAssistant])
    found: StartAssistant = start
    return found


async def until_its_policy_is(stack: Stack, schedule_id: str, *, lax: bool) -> StartAssistant:
    def is_so(start: StartAssistant) -> bool:
        return (start.policy is not None and [rule.name for rule in start.policy.rules] == ["anything"]) is lax

    found: StartAssistant = await eventually(lambda: start_of(stack, schedule_id), is_so)
    return found


async def runs_now(door: Door, schedule_id: str) -> str:
    started = await door.person.http.post(f"/v1/schedules/{schedule_id}/run")
    assert started.status_code == 202, started.text
    run: str = started.json()["recent_runs"][0]["assistant_id"]
    return run


async def asks(door: Door, schedule_id: str) -> View:
    """The schedule's next run, which sends nothing without a question."""
    view = await door.person.asked(await runs_now(door, schedule_id))
    assert [approval["kind"] for approval in pending(view)] == ["action"]
    assert sent_mails(door.person, view["id"]) == []
    await door.person.http.delete(f"/v1/schedules/{schedule_id}")
    return view


async def test_of_a_default_policy_that_became_stricter(
    door: Door, stack: Stack, tmp_path: Path, fresh: Fresh, address: str
) -> None:
    message = fresh(f"Mail {address}")
    stack.model.script(message, plan_answer([mail("s1", to=address)]))
    async with other_front(stack, tmp_path / "policy.toml", LAX_DEFAULT) as before:
        created = await before.post("/v1/schedules", json={"message": message, "cron": "0 4 1 1 *"})
    async with other_front(stack, tmp_path / "policy.toml", POLICIES):
        await until_its_policy_is(stack, created.json()["id"], lax=False)
    assert (await asks(door, created.json()["id"]))["notices"] == []


async def test_of_a_policy_that_is_there_no_longer_and_then_again(
    door: Door, stack: Stack, tmp_path: Path, fresh: Fresh, address: str
) -> None:
    message = fresh(f"Mail {address}")
    again = [plan_answer([mail("s1", to=address)]) for _ in range(2)]
    stack.model.script(message, *again, replies=[Answer("It is sent.")])
    schedule_id = (await schedule(door.person, message, policy="lax")).json()["id"]
    async with other_front(stack, tmp_path / "policy.toml", POLICIES):
        await until_its_policy_is(stack, schedule_id, lax=True)
    done = await door.person.ended(await runs_now(door, schedule_id))
    assert (done["notices"], len(sent_mails(door.person, done["id"]))) == ([], 1)
    async with other_front(stack, tmp_path / "policy.toml", NO_LAX):
        await until_its_policy_is(stack, schedule_id, lax=False)
    async with other_front(stack, tmp_path / "policy.toml", POLICIES):
        assert (await until_its_policy_is(stack, schedule_id, lax=True)).notice == ""
    async with other_front(stack, tmp_path / "policy.toml", NO_LAX):
        await until_its_policy_is(stack, schedule_id, lax=False)
    [notice] = (await asks(door, schedule_id))["notices"]
    assert NOTICE in notice
    assert "there is no policy 'lax'" in notice


@pytest.mark.parametrize("fields", [{"policy": "lax"}, {"budget": {"requests": 40}}], ids=["policy", "budget"])
async def test_of_a_key_that_was_revoked(
    door: Door, stack: Stack, fresh: Fresh, address: str, fields: dict[str, object]
) -> None:
    message = fresh(f"Mail {address}")
    stack.model.script(message, plan_answer([mail("s1", to=address)]))
    bearer = {"Authorization": f"Bearer {await made(door.person, 'stolen')}"}
    body = {"message": message, "cron": "0 4 1 1 *", **fields}
    created = await door.person.http.post("/v1/schedules", json=body, headers=bearer)
    schedule_id = created.json()["id"]
    [key] = [key for key in (await door.person.http.get("/v1/keys")).json()["keys"] if key["name"] == "stolen"]
    assert (await door.person.http.delete(f"/v1/keys/{key['id']}")).status_code == 204
    await eventually(lambda: start_of(stack, schedule_id), lambda start: NOTICE in start.notice)
    view = await asks(door, schedule_id)
    assert "this key may not decide" in view["notices"][0]
    [origin] = [origin for origin in pending(view)[0]["origins"] if origin["path"] == "/to/0"]
    assert (origin["source"], origin["through"]) == ("key", "key 'stolen'")
