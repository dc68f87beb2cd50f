"""A server over streamable HTTP: calls, refusals, lost sessions and lost answers."""

from __future__ import annotations

import asyncio
import itertools
import logging
from typing import Any

import pytest
from temporalio.exceptions import ApplicationError

from tests.activities.mcp.conftest import Configure, Web, logged, running
from tests.activities.mcp.web_server import TOKEN

TRUSTED = {"trust_annotations": True}


@pytest.fixture(params=["auto", "legacy"])
def protocol(request: pytest.FixtureRequest) -> dict[str, Any]:
    return {**TRUSTED, "protocol": request.param}


async def test_tools_are_found_and_called(web: Web, protocol: dict[str, Any]) -> None:
    async with running(web.configured(**protocol)) as server:
        assert [spec.name.partition(".")[2] for spec in server.manifest.tools] == [
            "list_issues",
            "create_issue",
            "big",
            "grow",
        ]
        assert await server.call("create_issue", title="Mend it") == {"result": "Mend it"}
        assert await server.call("list_issues") == {"result": ["Mend it"]}
    assert {headers["authorization"] for headers in web.door.seen} == {f"Bearer {TOKEN}"}


async def test_a_forgotten_session_is_opened_anew_within_the_call(web: Web) -> None:
    async with running(web.configured(**TRUSTED, protocol="legacy")) as server:
        web.door.misbehave(404, headers={"content-type": "application/json"}, body=b"{}")
        assert await server.call("create_issue", title="Mend it") == {"result": "Mend it"}
    assert web.state.issues == ["Mend it"]


@pytest.mark.parametrize(
    ("status", "headers", "kind", "retried"),
    [
        (401, {}, "ServiceRefused", False),
        (403, {}, "ServiceRefused", False),
        (413, {}, "ServiceRefused", False),
        (429, {"retry-after": "7"}, "ServiceBusy", True),
        (503, {"retry-after": "7"}, "ServiceBusy", True),
        (302, {"location": "http://evil.example/"}, "ServiceRefused", False),
    ],
)
async def test_a_refused_change_did_not_happen(
    web: Web, protocol: dict[str, Any], status: int, headers: dict[str, str], kind: str, retried: bool
) -> None:
    async with running(web.configured(**protocol)) as server:
        web.door.misbehave(status, headers=headers, body=TOKEN.encode())
        with pytest.raises(ApplicationError) as refused:
            await server.call("create_issue", step="s1", title="Mend it")
        assert (refused.value.type, refused.value.non_retryable) == (kind, not retried)
        assert TOKEN not in str(refused.value)
        assert await server.call("create_issue", step="s1", title="Mend it") == {"result": "Mend it"}
    assert web.state.issues == ["Mend it"]


@pytest.mark.parametrize("how", [{"status": 500}, {"status": 502}, {"swallow": True}], ids=str)
async def test_a_change_without_an_answer_stays_unknown_and_is_not_repeated(
    web: Web, protocol: dict[str, Any], how: dict[str, Any]
) -> None:
    async with running(web.configured(**protocol)) as server:
        web.door.misbehave(**how)
        for _ in range(2):
            with pytest.raises(ApplicationError) as unknown:
                await server.call("create_issue", step="s1", title="Mend it")
            assert unknown.value.type == "OutcomeUnknown"
    assert web.state.issues == ["Mend it"] * bool(how.get("swallow"))


async def test_a_change_whose_answer_comes_too_late_is_not_repeated(web: Web, protocol: dict[str, Any]) -> None:
    async with running(web.configured(**protocol, timeout_seconds=0.5)) as server:
        web.door.misbehave(late=1.5)
        for _ in range(2):
            with pytest.raises(ApplicationError) as unknown:
                await server.call("create_issue", step="s1", title="Mend it")
            assert (unknown.value.type, unknown.value.non_retryable) == ("OutcomeUnknown", True)
    assert web.state.issues == ["Mend it"]


@pytest.mark.parametrize("how", [{"status": 500}, {"swallow": True}], ids=str)
async def test_one_lost_answer_does_not_end_the_calls_beside_it(
    web: Web, protocol: dict[str, Any], how: dict[str, Any]
) -> None:
    async with running(web.configured(**protocol)) as server:
        web.door.misbehave(**how)
        found = await asyncio.gather(
            *(server.call("create_issue", title=f"{n}") for n in range(8)), return_exceptions=True
        )
    assert sum(isinstance(answer, ApplicationError) for answer in found) == 1


async def test_a_read_without_an_answer_may_be_retried(web: Web, protocol: dict[str, Any]) -> None:
    async with running(web.configured(**protocol)) as server:
        web.door.misbehave(swallow=True)
        with pytest.raises(ApplicationError, match="gave no answer") as lost:
            await server.call("list_issues")
        assert (lost.value.type, lost.value.non_retryable) == ("ServiceUnavailable", False)
        assert await server.call("list_issues") == {"result": []}


async def test_three_mebibytes_are_cut(web: Web, protocol: dict[str, Any]) -> None:
    async with running(web.configured(**protocol)) as server:
        result = await server.call("big", kib=3 * 1024)
    assert len(result["result"]) < 64 * 1024
    assert result["result"].endswith("[cut: the rest did not fit]")


async def test_an_answer_beyond_all_bounds_is_no_answer(web: Web, protocol: dict[str, Any]) -> None:
    async with running(web.configured(**protocol)) as server:
        with pytest.raises(ApplicationError, match="gave no answer"):
            await server.call("big", kib=10 * 1024)
        assert await server.call("list_issues") == {"result": []}


async def test_a_new_tool_is_announced_while_the_worker_runs(web: Web, protocol: dict[str, Any]) -> None:
    async with running(web.configured(**protocol)) as server:
        announced = asyncio.ensure_future(anext(server.manifests))
        for number in itertools.takewhile(lambda _: not announced.done(), itertools.count()):
            await server.call("grow", name=f"archiveIssue{number}")  # until the stream of notifications stands
            await asyncio.wait([announced], timeout=1)
        assert announced.result().tool(f"{server.name}.archive_issue0") is not None


async def test_a_wrong_token_is_told_without_repeating_it(web: Web, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    name = web.configured(headers={"Authorization": "Bearer wr0ng-canary-token"})
    await logged(running(name), caplog, "not announced: the MCP server")
    assert "wr0ng-canary" not in caplog.text
    assert TOKEN not in caplog.text


async def test_a_server_that_is_away_is_told(configure: Configure, caplog: pytest.LogCaptureFixture) -> None:
    await logged(running(configure(url="http://127.0.0.1:9/mcp?key=canary-in-url")), caplog, "not announced")
    assert "canary-in-url" not in caplog.text


async def test_what_is_said_is_not_logged(web: Web, protocol: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    """The SDK would repeat every message."""
    caplog.set_level(logging.DEBUG)
    async with running(web.configured(**protocol)) as server:
        await server.call("create_issue", title="canary-words")
    said = [record.getMessage() for record in caplog.records if record.name.partition(".")[0] in ("mcp", "client")]
    assert [message for message in said if "canary-words" in message] == []
