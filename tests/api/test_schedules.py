"""Schedules on a real Temporal: made once, run on the person's clock, seen by their owner only, stopped when deleted."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleIntervalSpec,
    ScheduleOverlapPolicy,
    ScheduleSpec,
    ScheduleUpdate,
    ScheduleUpdateInput,
)
from temporalio.common import SearchAttributePair, TypedSearchAttributes

from api.app import create_app
from api.services import schedules as module
from api.services.cron import checked
from api.settings import ApiSettings
from retinue.temporal.connection import DATA_CONVERTER
from retinue.temporal.search_keys import OWNER
from retinue.testing import plan_answer
from tests.api.conftest import JSON, Fresh, Json, browsing, eventually, refused
from tests.conftest import ENDED, Stack
from workers.temporal_server import free_port

SCHEDULES = "/v1/schedules"
YEARLY = "0 8 1 1 *"


@pytest.fixture
async def made(stack: Stack) -> AsyncIterator[Any]:
    """Makes schedules, and deletes them afterwards."""
    ids: list[str] = []

    async def make(**body: Any) -> Json:
        response = await stack.http.post(SCHEDULES, json={"cron": YEARLY, **body})
        assert response.status_code == 201, response.text
        view: Json = response.json()
        assert response.headers["Location"] == f"{SCHEDULES}/{view['id']}"
        ids.append(view["id"])
        return view

    yield make
    for schedule_id in ids:
        await stack.http.delete(f"{SCHEDULES}/{schedule_id}")


async def read(stack: Stack, schedule_id: str) -> Json:
    response = await stack.http.get(f"{SCHEDULES}/{schedule_id}")
    assert response.status_code == 200, response.text
    view: Json = response.json()
    return view


async def post(stack: Stack, path: str, **body: Any) -> Json:
    response = await stack.http.post(f"{SCHEDULES}/{path}", json=body or None)
    assert response.is_success, response.text
    view: Json = response.json()
    return view


async def listed(stack: Stack) -> dict[str, Json]:
    schedules = (await stack.http.get(SCHEDULES, params={"limit": 200})).json()["schedules"]
    return {schedule["id"]: schedule for schedule in schedules}


async def test_a_schedule_shows_what_it_was_made_from(stack: Stack, made: Any, fresh: Fresh) -> None:
    message = fresh("What is on my calendar today?")
    body = {"message": message, "name": "Today", "timezone": "Europe/Lisbon", "budget": {"steps": 3}}
    view = await made(**body, catch_up_seconds=60, ends_at="2100-01-01T00:00:00+01:00")
    assert view == await read(stack, view["id"])
    assert body.items() <= view.items()
    assert (view["cron"], view["catch_up_seconds"], view["paused"]) == (YEARLY, 60, False)
    assert datetime.fromisoformat(view["ends_at"]) == datetime(2099, 12, 31, 23, tzinfo=UTC)
    assert view["next_run"] == view["next_runs"][0]
    assert len(view["next_runs"]) == 5
    assert (view["recent_runs"], view["skipped"], view["missed"]) == ([], 0, 0)
    assert view["links"]["self"] == f"{SCHEDULES}/{view['id']}"
    line = (await eventually(lambda: listed(stack), lambda found: view["id"] in found))[view["id"]]
    assert line.items() <= view.items()


async def in_spring(stack: Stack, cron: str, *, day: datetime) -> list[str]:
    """The local times of the three runs after a moment, as Temporal computes them."""
    schedule_id = f"s-{uuid.uuid4().hex}"
    action = ScheduleActionStartWorkflow("AssistantWorkflow", id=f"a-{schedule_id}", task_queue="nobody")
    spec = ScheduleSpec(cron_expressions=[cron], time_zone_name="Europe/Berlin", start_at=day)
    handle = await stack.temporal.create_schedule(
        schedule_id,
        Schedule(action=action, spec=spec),
        memo={"schedule": {"message": "x", "cron": cron, "timezone": "Europe/Berlin"}},
        search_attributes=TypedSearchAttributes([SearchAttributePair(OWNER, "local")]),
    )
    times = (await read(stack, schedule_id))["next_runs"][:3]
    await handle.delete()
    assert all(datetime.fromisoformat(time["utc"]) == datetime.fromisoformat(time["local"]) for time in times)
    return [time["local"] for time in times]


def next_change(month: int) -> date:
    """The next last Sunday of a month, when clocks change in Berlin, not within the next three days."""
    today = datetime.now(UTC).date()
    days = (date(today.year + year, month, 31) for year in (0, 1))
    sundays = (day - timedelta(days=(day.weekday() + 1) % 7) for day in days)
    return next(day for day in sundays if day > today + timedelta(days=3))


def noon_before(day: date) -> datetime:
    return datetime.combine(day - timedelta(days=2), time(12), UTC)


def around(day: date, at: str, *offsets: str) -> list[str]:
    """The times of the days from the one before on; an empty offset leaves a day out."""
    dated = ((day + timedelta(days=number - 1), offset) for number, offset in enumerate(offsets))
    return [f"{when.isoformat()}T{at}:00{offset}" for when, offset in dated if offset]


MARCH, OCTOBER = next_change(3), next_change(10)


async def test_wall_clock_times_hold_when_clocks_change(stack: Stack) -> None:
    """07:00 UTC before, 06:00 UTC after; and back in autumn."""
    spring = await in_spring(stack, "0 8 * * *", day=noon_before(MARCH))
    assert spring == around(MARCH, "08:00", "+01:00", "+02:00", "+02:00")
    autumn = await in_spring(stack, "0 8 * * *", day=noon_before(OCTOBER))
    assert autumn == around(OCTOBER, "08:00", "+02:00", "+01:00", "+01:00")


async def test_a_time_that_does_not_exist_is_left_out(stack: Stack) -> None:
    """Clocks in Berlin go from 02:00 to 03:00 in March."""
    found = await in_spring(stack, "30 2 * * *", day=noon_before(MARCH))
    assert found == around(MARCH, "02:30", "+01:00", "", "+02:00", "+02:00")


async def test_a_time_that_exists_twice_counts_once(stack: Stack) -> None:
    """In October it is 02:30 twice; a daily run comes the second time."""
    found = await in_spring(stack, "30 2 * * *", day=noon_before(OCTOBER))
    assert found == around(OCTOBER, "02:30", "+02:00", "+01:00", "+01:00")


async def test_the_request_of_the_brief_keeps_eight_o_clock(stack: Stack, made: Any) -> None:
    view = await made(message="x", cron=f"0 8 {MARCH.day - 1}-{MARCH.day} 3 *", timezone="Europe/Berlin")
    by_day = {time["local"][:10]: time for time in view["next_runs"]}
    assert {time["local"][11:16] for time in view["next_runs"]} == {"08:00"}
    before = MARCH - timedelta(days=1)
    assert by_day[before.isoformat()]["utc"] == f"{before.isoformat()}T07:00:00Z"
    assert by_day[MARCH.isoformat()]["utc"] == f"{MARCH.isoformat()}T06:00:00Z"


async def test_a_run_now_is_an_assistant_like_any_other(stack: Stack, made: Any, fresh: Fresh) -> None:
    message = fresh("Hello")
    stack.model.script(message, plan_answer(reply="Hello!"))
    schedule = await made(message=message, timezone="Europe/Lisbon")
    started = await post(stack, f"{schedule['id']}/run")
    [run] = started["recent_runs"]
    assert run["assistant_id"].startswith(f"a-{schedule['id']}-")
    done = await stack.ended(run["assistant_id"])
    assert (done["status"], done["message"], done["reply"]) == ("completed", message, "Hello!")
    assert run["links"]["self"] == f"/v1/assistants/{run['assistant_id']}"
    [shown] = (await eventually(lambda: read(stack, schedule["id"]), _rests))["recent_runs"]
    assert shown == run | {"running": False}


def _rests(view: Json) -> bool:
    return not any(run["running"] for run in view["recent_runs"])


async def test_a_scheduled_plan_in_code_runs(stack: Stack, made: Any) -> None:
    schedule = await made(plan="briefing", plan_args={"place": "Lisbon"}, timezone="Europe/Lisbon")
    assert (schedule["message"], schedule["name"]) == ("Morning briefing", "Morning briefing")
    started = await post(stack, f"{schedule['id']}/run")
    done = await stack.ended(started["recent_runs"][0]["assistant_id"])
    assert (done["status"], done["message"]) == ("completed", "Morning briefing")
    assert done["plan"]["steps"][0]["tool"] == "weather.forecast"


async def test_a_paused_schedule_has_no_next_run_and_can_be_run_by_hand(stack: Stack, made: Any, fresh: Fresh) -> None:
    message = fresh("Hello")
    stack.model.script(message, plan_answer(reply="Hello!"))
    schedule = await made(message=message)
    paused = await post(stack, f"{schedule['id']}/pause", note="on holiday")
    assert (paused["paused"], paused["note"], paused["next_run"]) == (True, "on holiday", None)
    started = await post(stack, f"{schedule['id']}/run")
    assert (await stack.ended(started["recent_runs"][0]["assistant_id"]))["status"] == "completed"
    resumed = await post(stack, f"{schedule['id']}/resume")
    assert (resumed["paused"], resumed["note"], resumed["next_run"]) == (False, None, schedule["next_run"])


async def every_second(stack: Stack, schedule_id: str) -> None:
    """Change a schedule behind the API's back, since cron knows no seconds."""

    def change(found: ScheduleUpdateInput) -> ScheduleUpdate:
        schedule = found.description.schedule
        schedule.spec = ScheduleSpec(intervals=[ScheduleIntervalSpec(every=timedelta(seconds=1))])
        schedule.policy.overlap = ScheduleOverlapPolicy.SKIP
        return ScheduleUpdate(schedule=schedule)

    await stack.temporal.get_schedule_handle(schedule_id).update(change)


async def test_it_fires_by_itself_until_it_is_paused_or_deleted(stack: Stack, made: Any, fresh: Fresh) -> None:
    message = fresh("Hello")
    stack.model.script(message, *[plan_answer(reply="Hello!")] * 60)
    schedule = await made(message=message)
    await every_second(stack, schedule["id"])
    await eventually(lambda: read(stack, schedule["id"]), lambda view: len(view["recent_runs"]) >= 2)
    paused = await eventually(lambda: post(stack, f"{schedule['id']}/pause"), _rests)
    await asyncio.sleep(2.5)
    assert (await read(stack, schedule["id"]))["recent_runs"] == paused["recent_runs"]
    await post(stack, f"{schedule['id']}/resume")
    await eventually(
        lambda: read(stack, schedule["id"]), lambda view: len(view["recent_runs"]) > len(paused["recent_runs"])
    )
    assert (await stack.http.delete(f"{SCHEDULES}/{schedule['id']}")).status_code == 204
    await asyncio.sleep(1)
    count = await runs_of(stack, schedule["id"])
    await asyncio.sleep(2.5)
    assert await runs_of(stack, schedule["id"]) == count


async def runs_of(stack: Stack, schedule_id: str) -> int:
    counted = await stack.temporal.count_workflows(f"WorkflowId STARTS_WITH 'a-{schedule_id}'")
    return counted.count


async def test_a_run_that_waits_for_a_person_is_never_doubled(stack: Stack, made: Any, fresh: Fresh) -> None:
    message = fresh("Where?")
    stack.model.script(message, plan_answer(question="Where?"))
    schedule = await made(message=message)
    started = await post(stack, f"{schedule['id']}/run")
    assistant_id = started["recent_runs"][0]["assistant_id"]
    await stack.until(assistant_id, lambda view: view["status"] == "awaiting_input")
    refused(await stack.http.post(f"{SCHEDULES}/{schedule['id']}/run"), 409, assistant_id)
    await every_second(stack, schedule["id"])
    view = await eventually(lambda: read(stack, schedule["id"]), lambda view: view["skipped"] >= 1)
    assert [(run["assistant_id"], run["running"]) for run in view["recent_runs"]] == [(assistant_id, True)]
    await stack.http.post(f"/v1/assistants/{assistant_id}/cancel")


async def test_a_deleted_schedule_is_gone_and_its_run_goes_on(stack: Stack, made: Any, fresh: Fresh) -> None:
    message = fresh("Where?")
    stack.model.script(message, plan_answer(question="Where?"))
    schedule = await made(message=message)
    assistant_id = (await post(stack, f"{schedule['id']}/run"))["recent_runs"][0]["assistant_id"]
    assert (await stack.http.delete(f"{SCHEDULES}/{schedule['id']}")).status_code == 204
    refused(await stack.http.get(f"{SCHEDULES}/{schedule['id']}"), 404, "there is no schedule")
    await eventually(lambda: listed(stack), lambda found: schedule["id"] not in found)
    assert (await stack.view(assistant_id))["status"] not in ENDED
    await stack.http.post(f"/v1/assistants/{assistant_id}/cancel")


async def test_one_key_makes_one_schedule(stack: Stack, made: Any, fresh: Fresh) -> None:
    key, body = {"Idempotency-Key": str(uuid.uuid4())}, {"message": fresh("Hello"), "cron": YEARLY}
    responses = await asyncio.gather(*[stack.http.post(SCHEDULES, json=body, headers=key) for _ in range(10)])
    assert {response.status_code for response in responses} == {201}
    [schedule_id] = {response.json()["id"] for response in responses}
    refused(await stack.http.post(SCHEDULES, json=body | {"cron": "0 9 1 1 *"}, headers=key), 422, "another request")
    refused(await stack.http.post("/v1/assistants", json={"message": body["message"]}, headers=key), 422, "another")
    await eventually(lambda: listed(stack), lambda found: schedule_id in found)
    assert [line["message"] for line in (await listed(stack)).values()].count(body["message"]) == 1
    await stack.http.delete(f"{SCHEDULES}/{schedule_id}")


async def test_a_repeated_request_does_not_bring_back_what_was_deleted(stack: Stack, fresh: Fresh) -> None:
    key, body = {"Idempotency-Key": str(uuid.uuid4())}, {"message": fresh("Hello"), "cron": YEARLY}
    first = await stack.http.post(SCHEDULES, json=body, headers=key)
    await stack.http.delete(f"{SCHEDULES}/{first.json()['id']}")
    again = await stack.http.post(SCHEDULES, json=body, headers=key)
    assert (again.status_code, again.content, again.headers["Idempotency-Replayed"]) == (201, first.content, "true")
    refused(await stack.http.get(f"{SCHEDULES}/{first.json()['id']}"), 404)


ACTS = [("GET", ""), ("POST", "/pause"), ("POST", "/resume"), ("POST", "/run"), ("DELETE", "")]


@pytest.mark.parametrize(("method", "path"), ACTS)
async def test_what_is_not_mine_does_not_exist(stack: Stack, method: str, path: str) -> None:
    schedule_id = f"s-{uuid.uuid4().hex}"
    refused(await stack.http.request(method, f"{SCHEDULES}/{schedule_id}{path}"), 404, "there is no schedule")
    action = ScheduleActionStartWorkflow("AssistantWorkflow", id=f"a-{schedule_id}", task_queue="nobody")
    handle = await stack.temporal.create_schedule(
        schedule_id,
        Schedule(action=action, spec=ScheduleSpec(cron_expressions=[YEARLY])),
        search_attributes=TypedSearchAttributes([SearchAttributePair(OWNER, "somebody-else")]),
    )
    refused(await stack.http.request(method, f"{SCHEDULES}/{schedule_id}{path}"), 404, "there is no schedule")
    found = await handle.describe()
    assert (found.schedule.state.paused, list(found.info.recent_actions)) == (False, [])
    assert schedule_id not in await listed(stack)
    await handle.delete()


async def test_there_are_never_more_than_the_limit(stack: Stack, made: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    view = await made(message="one")
    known = await eventually(lambda: listed(stack), lambda found: view["id"] in found)
    monkeypatch.setattr(module, "MAX_SCHEDULES", len(known))
    refused(await stack.http.post(SCHEDULES, json={"message": "two", "cron": YEARLY}), 409, "delete one")


WRONG: dict[str, tuple[Json, str]] = {
    "nothing to do": ({}, "either `message` or `plan`"),
    "two things to do": ({"message": "x", "plan": "briefing"}, "either `message` or `plan`"),
    "no such plan": ({"plan": "world-domination"}, "there are briefing"),
    "wrong argument of a plan": ({"plan": "briefing", "plan_args": {"town": "x"}}, "plan_args/town"),
    "arguments without a plan": ({"message": "x", "plan_args": {"place": "x"}}, "belong to `plan`"),
    "no such zone": ({"message": "x", "timezone": "Mars/Olympus"}, "not an IANA time zone"),
    "no such policy": ({"message": "x", "policy": "none-such"}, "there is no policy"),
    "over already": ({"message": "x", "ends_at": "2020-01-01T00:00:00Z"}, "has passed"),
    "over before time began": ({"message": "x", "ends_at": "0001-01-01T00:00:00+14:00"}, "has passed"),
    "over after time ended": ({"message": "x", "ends_at": "9999-12-31T23:59:59-12:00"}, "before the year 2200"),
    "half a character": ({"message": "x", "name": "\ud800"}, "/name"),
    "not a number": ({"plan": "briefing", "plan_args": {"place": float("nan")}}, "NaN"),
    "end without offset": ({"message": "x", "ends_at": "2100-01-01T00:00:00"}, "offset"),
    "a mode": ({"message": "x", "mode": "chat"}, "Extra inputs"),
}


@pytest.mark.parametrize(("body", "says"), WRONG.values(), ids=WRONG)
async def test_wrong_input_is_named(stack: Stack, body: Json, says: str) -> None:
    content = json.dumps({"cron": YEARLY, **body})
    refused(await stack.http.post(SCHEDULES, content=content, headers=JSON), 422, says)


@pytest.mark.parametrize("schedule_id", ["%00", "%20", "..%2F..", "s-1'%20OR%20'a'='a", "%F0%9F%90%8C", "temporal-sys"])
async def test_an_odd_id_is_unknown(stack: Stack, schedule_id: str) -> None:
    refused(await stack.http.get(f"{SCHEDULES}/{schedule_id}"), 404)


CRONS = {
    "* * *": "has 5 fields, not 3",
    "@daily": "has 5 fields, not 1",
    "*/10 * * * * *": "has 5 fields, not 6",
    "CRON_TZ=UTC 0 8 * * *": "has 5 fields, not 6",
    "0 8 * * * # x": "has 5 fields, not 7",
    "60 * * * *": "the minute '60' cannot be read: it goes from 0 to 59",
    "0 24 * * *": "hour",
    "0 8 0 * *": "day of the month",
    "0 8 * 13 *": "or a name such as jan",
    "0 8 * * monday": "or a name such as sun",
    "0 8 * * fri-mon": "the end is before the beginning",
    "0 8 * * 8": "weekday",
    "*/0 * * * *": "a step is between 1 and 59",
    "*/90 * * * *": "a step is between 1 and 59",
    "5/10 * * * *": "write 5-59/10",
    "*-5 * * * *": "write a number",
    "0 8 1, * *": "write a number",
    "0 8 L * *": "it goes from 1 to 31",
    "0 8 ? * *": "write a number",
    "\N{ARABIC-INDIC DIGIT FIVE} 8 * * *": "write a number",
    "0 8 13 * fri": "not both",
    "0 8 31 2,4 *": "no such day",
    "0 0 30 2 *": "no such day",
}


@pytest.mark.parametrize("cron", CRONS)
async def test_a_wrong_time_is_refused_with_a_reason(stack: Stack, cron: str) -> None:
    refused(await stack.http.post(SCHEDULES, json={"message": "x", "cron": cron}), 422, CRONS[cron])


@pytest.mark.parametrize(
    "cron", ["* * * * *", "*/5 8-18 * * MON-FRI", "0,30 8 1-7 jan,jul *", "0 0 29 2 *", "10-50/20 */2 * * 0,7"]
)
async def test_what_is_accepted_temporal_takes(stack: Stack, made: Any, cron: str) -> None:
    view = await made(message="x", cron=f" {cron}  ", timezone="Europe/Lisbon")
    assert view["cron"] == checked(cron) == cron.lower()
    assert view["next_run"]


AWAY = [
    ("GET", "", None),
    ("POST", "", {"message": "x", "cron": YEARLY}),
    ("GET", "/s-1", None),
    ("POST", "/s-1/pause", None),
    ("POST", "/s-1/run", None),
    ("DELETE", "/s-1", None),
]


@pytest.fixture
async def shut_off(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """A front door whose Temporal is not there."""
    client = await Client.connect(f"127.0.0.1:{free_port()}", lazy=True, data_converter=DATA_CONVERTER)
    settings = ApiSettings(api_database_url=f"sqlite+aiosqlite:///{tmp_path}/api.db")
    async with browsing(create_app(settings, client=client)) as http:
        yield http


@pytest.mark.parametrize(("method", "path", "body"), AWAY)
async def test_while_temporal_is_away_that_is_said(
    shut_off: httpx.AsyncClient, method: str, path: str, body: Json | None
) -> None:
    response = await shut_off.request(method, f"{SCHEDULES}{path}", json=body)
    refused(response, 503, "try again in a few seconds")
    assert int(response.headers["Retry-After"]) >= 1
