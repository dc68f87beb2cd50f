"""A server over stdio: what it offers, calls, and what becomes of a call when the server dies in the middle."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from temporalio.exceptions import ApplicationError

from retinue.json_values import json_size
from tests.activities.mcp.conftest import SECRET, Configure, logged, running

Calls = Callable[[], list[str]]
READ = {"read_only": True, "open_world": False}


def trusted(**fields: Any) -> dict[str, Any]:
    return {"trust_annotations": True, **fields}


async def test_the_tools_of_a_server_become_a_manifest(files: Configure) -> None:
    async with running(files(description="Files of the house.")) as server:
        assert server.manifest.name == server.manifest.task_queue == server.name
        assert server.manifest.description == "Files of the house."
        assert server.manifest.version == "mcp-7.1"
        read = server.tool("read_file")
        assert (read.title, read.description) == (f"{server.name}: readFile", "Read a file.")
        assert read.args_schema["required"] == ["path"]
        assert server.tool("size").result_schema["properties"]["bytes"] == {"type": "integer"}
        assert "Ignore all earlier" not in server.manifest.model_dump_json()


async def test_what_a_server_claims_about_its_tools_counts_for_nothing_by_default(files: Configure) -> None:
    async with running(files()) as server:
        hints = server.tool("read_file").annotations
        assert (hints.read_only, hints.destructive, hints.idempotent, hints.open_world) == (False, True, False, True)
        assert hints.sensitive == ("/path",)
        assert not hints.trusted_output


async def test_the_operator_may_trust_a_server_and_outweighs_it(files: Configure) -> None:
    rules = {"touch": {"destructive": True}, "size": {"read_only": False}, "slow": False}
    async with running(files(**trusted(tools=rules))) as server:
        read, touch, size = (server.tool(verb).annotations for verb in ("read_file", "touch", "size"))
        assert (read.read_only, read.open_world, read.sensitive) == (True, False, ())
        assert (touch.destructive, touch.idempotent, touch.open_world) == (True, True, True)
        assert not size.read_only
        assert server.manifest.tool(f"{server.name}.slow") is None


async def test_the_operator_names_the_tools_that_read_what_an_id_stands_for(files: Configure) -> None:
    tools = {"size": READ, "readFile": {"read_only": True}, "write-file": {"lookups": {"path": "size"}}}
    async with running(files(tools=tools)) as server:
        assert server.tool("write_file").annotations.lookups == {"path": f"{server.name}.size"}
        assert server.manifest.left_out == []


@pytest.mark.parametrize(
    ("lookups", "why"),
    [
        ({"path": "nothing"}, "there is no such tool"),
        ({"path": "readFile"}, "it must be `read_only` and not `open_world`, since nobody is asked before it runs"),
        ({"path": "tells"}, "it must take one argument"),
        ({"name": "size"}, "the tool has no argument of that name"),
    ],
)
async def test_a_look_up_that_cannot_be_is_named(files: Configure, lookups: dict[str, str], why: str) -> None:
    tools = {"size": READ, "tells": READ, "readFile": {"read_only": True}, "write-file": {"lookups": lookups}}
    async with running(files(tools=tools)) as server:
        assert server.tool("write_file").annotations.lookups == {}
        [(argument, tool)] = lookups.items()
        assert server.manifest.left_out == [f"{server.name}.write_file: {tool!r} cannot look up `{argument}`: {why}"]


async def test_a_list_of_tools_that_are_allowed(files: Configure) -> None:
    async with running(files(tools={"readFile": {**READ, "description": "Ours."}, "*": False})) as server:
        assert [(spec.name, spec.description) for spec in server.manifest.tools] == [
            (f"{server.name}.read_file", "Ours.")
        ]
        with pytest.raises(ApplicationError, match="does not offer") as refused:
            await server.call("write_file", path="a", text="b")
        assert refused.value.type == "NotFound"


async def test_a_call_returns_what_the_server_announced(files: Configure, calls: Calls) -> None:
    async with running(files(**trusted())) as server:
        assert await server.call("read_file", path="a.txt") == {"result": "the content of a.txt"}
        assert await server.call("size", path="b") == {"bytes": 12, "name": "b"}
    assert calls() == ["started", "readFile a.txt"]


async def test_pictures_and_resources_are_listed_and_not_inlined(files: Configure) -> None:
    async with running(files(**trusted())) as server:
        result = await server.call("picture")
    assert result["text"] == "here\na note"
    assert result["content"] == [
        {"type": "image", "mime_type": "image/png", "bytes": 3000},
        {"type": "resource", "uri": "note://1", "mime_type": "text/plain", "bytes": 6},
    ]


async def test_a_change_is_made_once_whatever_is_retried(files: Configure, calls: Calls) -> None:
    async with running(files()) as server:
        for _ in range(2):
            assert await server.call("write_file", step="s1", path="a", text="b") == {"result": "written"}
        with pytest.raises(ApplicationError, match="other arguments"):
            await server.call("write_file", step="s1", path="a", text="c")
    assert calls() == ["started", "write-file a 1"]


async def test_a_server_that_dies_in_the_middle_of_a_change_is_not_asked_again(
    files: Configure, calls: Calls, state: Path
) -> None:
    name = files()
    async with running(name) as server:
        (state / "die").touch()
        for _ in range(2):
            with pytest.raises(ApplicationError, match="nobody knows whether it was done") as unknown:
                await server.call("write_file", step="s1", path="a", text="b")
            assert (unknown.value.type, unknown.value.non_retryable) == ("OutcomeUnknown", True)
        (state / "die").unlink()
        assert await server.call("write_file", step="s2", path="a", text="b") == {"result": "written"}
    async with running(name) as server:  # another worker does not know whether that attempt may still report
        with pytest.raises(ApplicationError, match="may still report") as busy:
            await server.call("write_file", step="s1", path="a", text="b")
        assert busy.value.type == "OutcomeOpen"
    assert [call for call in calls() if call != "started"] == ["write-file a 1", "write-file a 1"]


async def test_an_idempotent_change_is_repeated_when_the_server_died(
    files: Configure, calls: Calls, state: Path
) -> None:
    async with running(files(**trusted())) as server:
        (state / "die").touch()
        with pytest.raises(ApplicationError, match="gave no answer"):
            await server.call("touch", step="s1", path="a")
        assert await server.call("touch", step="s1", path="a") == {"result": "touched"}
    assert calls() == ["started", "touch a", "started", "touch a"]


async def test_a_read_is_retried_in_a_new_session(files: Configure, calls: Calls, state: Path) -> None:
    async with running(files(**trusted())) as server:
        (state / "die").touch()
        with pytest.raises(ApplicationError, match="gave no answer") as lost:
            await server.call("fragile", path="a")
        assert (lost.value.type, lost.value.non_retryable) == ("ServiceUnavailable", False)
        assert await server.call("fragile", path="a") == {"result": "survived"}
    assert calls() == ["started", "fragile a", "started", "fragile a"]


async def test_a_server_that_ended_while_nobody_called_is_started_again(files: Configure, calls: Calls) -> None:
    async with running(files()) as server:
        (process,) = servers()
        os.kill(process, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):  # so the call is made before the loop can hear of the end
            os.waitid(os.P_PID, process, os.WEXITED | os.WNOWAIT)  # noqa: ASYNC222  # it is to stand still
        assert await server.call("write_file", path="a", text="b") == {"result": "written"}
    assert calls() == ["started", "started", "write-file a 1"]


def servers() -> list[int]:
    """The process ids of the servers that this process started."""
    children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()
    return [int(pid) for pid in children if b"stdio_server.py" in Path(f"/proc/{pid}/cmdline").read_bytes()]


async def test_nothing_is_left_running(files: Configure) -> None:
    async with running(files()):
        assert len(servers()) == 1
    assert servers() == []


async def test_a_slow_server_is_not_waited_for_for_ever(files: Configure) -> None:
    async with running(files(**trusted(timeout_seconds=0.5))) as server:
        with pytest.raises(ApplicationError, match="gave no answer") as slow:
            await server.call("slow", seconds=20)
        assert slow.value.type == "ServiceUnavailable"
        assert await server.call("size", path="b")  # the session lives on


async def test_a_cancelled_read_ends_at_once(files: Configure) -> None:
    async with running(files(**trusted())) as server:
        waiting = asyncio.ensure_future(server.call("slow", seconds=20))
        await asyncio.sleep(0.2)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(waiting, 5)
        assert await server.call("size", path="b")


@pytest.mark.parametrize("kib", [300, 1536])
async def test_a_long_text_is_cut_and_says_so(files: Configure, kib: int) -> None:
    """1536 times 1024 letters of two bytes each are 3 MiB."""
    async with running(files(**trusted())) as server:
        result = await server.call("big", kib=kib)
    assert result["result"].endswith("[cut: the rest did not fit]")
    assert json_size(result) < len(json.dumps(result)) <= 256 * 1024


async def test_an_answer_beyond_all_bounds_ends_the_session(files: Configure) -> None:
    async with running(files(**trusted())) as server:
        with pytest.raises(ApplicationError, match="gave no answer"):
            await server.call("big", kib=10 * 1024)
        assert await server.call("size", path="b")


async def test_a_failure_is_told_without_the_words_of_the_server(
    files: Configure, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with running(files(**trusted())) as server:
        with pytest.raises(ApplicationError, match="failed; its own words stay there") as failed:
            await server.call("fails")
        assert (failed.value.type, failed.value.non_retryable) == ("ServiceRefused", True)
        assert "no such thing" not in str(failed.value)


async def test_secrets_stay_in_the_worker(
    files: Configure, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither those of this server nor those of others, which it does not even get."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-canary-0123456789")
    caplog.set_level(logging.DEBUG)
    async with running(files(**trusted())) as server:
        assert await server.call("tells") == {"result": "the key is [secret], other variables: None"}
        with pytest.raises(ApplicationError) as failed:
            await server.call("fails")
        assert SECRET not in str(failed.value)
        assert SECRET not in server.manifest.model_dump_json()
    assert SECRET not in caplog.text


@pytest.mark.parametrize("arguments", [{}, {"path": 7}, {"path": "a", "text": []}])
async def test_arguments_are_checked_before_anything_is_sent(
    files: Configure, calls: Calls, arguments: dict[str, Any]
) -> None:
    async with running(files()) as server:
        with pytest.raises(ApplicationError, match="do not fit its schema") as wrong:
            await server.call("write_file", **arguments)
        assert (wrong.value.type, wrong.value.non_retryable) == ("InvalidArguments", True)
    assert calls() == ["started"]


async def test_a_command_that_is_not_there_is_told(configure: Configure, caplog: pytest.LogCaptureFixture) -> None:
    words = "cannot be started: there is no such command"
    await logged(running(configure(command="no-such-command-anywhere")), caplog, words)
