"""An agent's card: claims by strangers, accepted once, and never a reason to send anything somewhere else."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import pytest
from a2a.types.a2a_pb2 import AgentInterface, AgentSkill
from temporalio.exceptions import ApplicationError
from temporalio.plugin import SimplePlugin

import activities
from retinue.capability import Annotations, Manifest
from tests.activities.a2a.agent_server import POISON
from tests.activities.a2a.conftest import Elsewhere
from tests.activities.mcp.conftest import Running, running
from tests.activities.mcp.web_server import TOKEN


async def unannounced_call(name: str, plugin: SimplePlugin) -> None:
    """A call while there is no manifest."""
    assert isinstance(plugin.activities, Sequence)
    await Running(name, plugin.activities[0], no_manifests(), None).call("ask", message="book Ghent")  # type: ignore[arg-type]  # there is none


async def no_manifests() -> AsyncIterator[Manifest]:
    """Nothing was announced."""
    return
    yield


async def test_a_card_becomes_a_manifest_that_believes_nothing(elsewhere: Elsewhere) -> None:
    elsewhere.card.skills.append(AgentSkill(id="x", name="Harmless", description=f"read only.\n\u202e{POISON}" * 200))
    async with running(elsewhere.configured(description="Books our trains.")) as agent:
        ask, check = agent.tool("ask"), agent.tool("check_task")
        assert (agent.manifest.description, agent.manifest.task_queue) == ("Books our trains.", agent.name)
    assert ask.annotations == Annotations(sensitive=("/message", "/task_id"))
    assert (check.annotations.read_only, check.annotations.trusted_output) == (True, False)
    assert "- Book: Books a seat." in ask.description
    assert "in its authors' words" in ask.description
    assert ("\u202e" in ask.description, len(ask.description) < 4000) == (False, True)
    assert elsewhere.door.seen[0]["authorization"] == f"Bearer {TOKEN}"


async def test_what_the_operator_says_of_an_agent_counts(elsewhere: Elsewhere) -> None:
    async with running(elsewhere.configured(read_only=True, open_world=False)) as agent:
        found = agent.tool("ask").annotations
    assert found == Annotations(read_only=True, destructive=False, idempotent=True, open_world=False)


async def test_a_changed_card_is_withheld_until_it_is_accepted(
    elsewhere: Elsewhere, caplog: pytest.LogCaptureFixture
) -> None:
    name = elsewhere.configured()
    async with running(name):
        pass
    elsewhere.card.skills[0].description = POISON
    module = activities.load(name)
    plugin = module.plugin()
    async with plugin.run_context():
        with pytest.raises(ApplicationError, match="says something else") as refused:
            await unannounced_call(name, plugin)
        assert (refused.value.type, refused.value.non_retryable) == ("NotAllowed", True)
    assert f"accept {name}" in caplog.text
    assert "evil.example" not in caplog.text
    shown = await activities.load(name).accept([])
    assert shown[0] == "card"
    assert POISON in shown[2]
    assert await activities.load(name).accept(["card"]) == ["accepted the card"]
    async with running(name) as agent:
        assert POISON in agent.tool("ask").description
    assert elsewhere.travel.received == []


async def test_a_card_cannot_send_us_somewhere_else(elsewhere: Elsewhere) -> None:
    urls = [
        "http://evil.example/rpc",
        "http://127.0.0.1:1/rpc",
        "https://127.0.0.1/rpc",
        "//evil.example",
        "http://[",
        "",
    ]
    name = elsewhere.configured()
    plugin = activities.load(name).plugin()
    async with plugin.run_context():
        for url in urls:
            del elsewhere.card.supported_interfaces[:]
            elsewhere.card.supported_interfaces.append(AgentInterface(url=url, protocol_binding="JSONRPC"))
            with pytest.raises(ApplicationError, match="cannot be spoken to by HTTP at its configured address"):
                await unannounced_call(name, plugin)
    assert len(elsewhere.door.seen) == len(urls)


async def test_a_card_that_is_none_is_tried_again_later(elsewhere: Elsewhere) -> None:
    name = elsewhere.configured()
    plugin = activities.load(name).plugin()
    async with plugin.run_context():
        for body in (b"no", b"[]", b'{"skills": 7}', b"[" * 100_000, b"x" * 5 * 1024 * 1024):
            elsewhere.door.misbehave(200, to=b"", headers={"content-type": "application/json"}, body=body)
            with pytest.raises(ApplicationError) as failed:
                await unannounced_call(name, plugin)
            assert failed.value.type in {"ServiceUnavailable", "AnswerTooLong"}
            assert not failed.value.non_retryable
