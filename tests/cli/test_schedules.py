"""The commands about schedules and the briefing, against a stand-in for the API."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response
from typer.testing import CliRunner, Result

from cli.app import app
from cli.schedules import commands
from tests.cli.conftest import LINKS, FakeApi, Run, View, done

NEXT = {"utc": "2027-03-28T06:00:00Z", "local": "2027-03-28T08:00:00+02:00"}
RAN = {
    "assistant_id": "a-s-1-2027-03-27T07:00:00Z",
    "scheduled_at": "2027-03-27T07:00:00Z",
    "started_at": "2027-03-27T07:00:00Z",
    "running": True,
    "links": LINKS,
}
SCHEDULE: View = {
    "id": "s-1",
    "name": "My \x1b[31mday",
    "message": "What is on my calendar today?",
    "plan": None,
    "cron": "0 8 * * *",
    "timezone": "Europe/Berlin",
    "paused": False,
    "note": None,
    "next_run": NEXT,
    "next_runs": [NEXT],
    "recent_runs": [RAN],
    "skipped": 2,
    "missed": 0,
    "catch_up_seconds": 3600,
    "created_at": "2027-03-01T07:00:00Z",
    "links": LINKS,
}
Sent = list[tuple[str, str, Any]]


def _application(sent: Sent) -> FastAPI:
    application = FastAPI()

    @application.api_route("/v1/schedules{rest:path}", methods=["GET", "POST", "DELETE"])
    async def answer(rest: str, request: Request) -> Response:
        body = await request.body()
        sent.append((request.method, rest, json.loads(body) if body else None))
        if rest == "/s-none":
            return JSONResponse({"detail": "there is no schedule 's-none'"}, 404)
        if request.method == "DELETE":
            return Response(status_code=204)
        return JSONResponse({"schedules": [SCHEDULE]} if request.method == "GET" and not rest else SCHEDULE)

    return application


@pytest.fixture(scope="module")
def schedules() -> Iterator[tuple[str, Sent]]:
    sent: Sent = []
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(_application(sent), log_level="error"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.01)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}", sent
        server.should_exit = True
        thread.join(5)


@pytest.fixture
def sent(schedules: tuple[str, Sent]) -> Sent:
    schedules[1].clear()
    return schedules[1]


@pytest.fixture
def run(schedules: tuple[str, Sent]) -> Callable[..., Result]:
    return lambda *arguments: CliRunner().invoke(app, ["--url", schedules[0], "schedules", *arguments])


def test_a_list_shows_when_it_is_next(run: Run, sent: Sent) -> None:
    result = run("list")
    assert result.exit_code == 0
    assert "s-1" in result.stdout
    assert "Sun 28 Mar 2027 08:00 +0200" in result.stdout
    assert "\x1b" not in result.stdout


def test_adding_says_what_was_understood(run: Run, sent: Sent) -> None:
    result = run("add", "What is on?", "--cron", "0 8 * * *", "--timezone", "Europe/Berlin")
    assert result.exit_code == 0, result.output
    body = {"message": "What is on?", "cron": "0 8 * * *", "timezone": "Europe/Berlin"}
    assert sent == [("POST", "", body)]
    assert "next  Sun 28 Mar 2027 08:00 +0200" in result.stdout
    assert "Sat 27 Mar 2027 08:00 +0100  a-s-1-2027-03-27T07:00:00Z  running" in result.stdout
    assert "2 skipped" in result.stdout


def test_a_plan_in_code_gets_its_arguments(run: Run, sent: Sent) -> None:
    run("add", "--plan", "briefing", "--arg", "place=Lisbon", "--timezone", "UTC", "--cron", "0 7 * * *")
    assert sent[0][2] == {"plan": "briefing", "plan_args": {"place": "Lisbon"}, "timezone": "UTC", "cron": "0 7 * * *"}


def test_an_argument_without_a_value_is_wrong_usage(run: Run, sent: Sent) -> None:
    result = run("add", "--plan", "briefing", "--arg", "Lisbon")
    assert (result.exit_code, sent) == (2, [])


@pytest.mark.parametrize(
    ("command", "request_line"),
    [
        (["show", "s-1"], ("GET", "/s-1", None)),
        (["pause", "s-1", "--note", "on holiday"], ("POST", "/s-1/pause", {"note": "on holiday"})),
        (["pause", "s-1"], ("POST", "/s-1/pause", {})),
        (["resume", "s-1"], ("POST", "/s-1/resume", None)),
        (["run", "s-1"], ("POST", "/s-1/run", None)),
    ],
)
def test_each_command_is_one_request(
    run: Run, sent: Sent, command: list[str], request_line: tuple[str, str, Any]
) -> None:
    result = run(*command)
    assert (result.exit_code, sent) == (0, [request_line])
    as_json = run(*command, "--json")
    assert json.loads(as_json.stdout) == SCHEDULE


def test_deleting_says_so(run: Run, sent: Sent) -> None:
    result = run("delete", "s-1")
    assert (result.exit_code, sent) == (0, [("DELETE", "/s-1", None)])
    assert "s-1 is deleted" in result.stdout


def test_a_refusal_is_a_sentence(run: Run) -> None:
    result = run("show", "s-none")
    assert result.exit_code == 1
    assert "there is no schedule 's-none'" in result.stderr


def test_every_command_has_an_example() -> None:
    for command in commands.registered_commands:
        assert "Example: bin/retinue schedules" in ((command.callback and command.callback.__doc__) or "")


def test_a_briefing_prints_its_text(retinue: Run, api: FakeApi) -> None:
    api.views = [done("Sunny, and nothing to do.")]
    result = retinue("briefing", "--place", "Lisbon", "--timezone", "Europe/Lisbon")
    assert (result.exit_code, result.stdout) == (0, "Sunny, and nothing to do.\n")
    body = {"message": "Morning briefing", "plan": "briefing", "plan_args": {"place": "Lisbon"}}
    assert api.sent == [("start", body | {"timezone": "Europe/Lisbon"})]
    assert len(set(api.keys)) == 1


def test_a_briefing_as_json_is_the_view(retinue: Run, api: FakeApi) -> None:
    result = retinue("briefing", "--json")
    assert json.loads(result.stdout) == done()
    assert api.sent[0][1]["plan_args"] == {}
