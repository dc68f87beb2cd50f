"""Servers of language models on this machine: which are recognised, and what they are sent."""

from __future__ import annotations

import asyncio
import time
from contextlib import ExitStack
from typing import Any

import pytest

from offline.app import create_app
from retinue.network.model_servers import USUAL, FoundModel, addresses, find, in_words
from retinue.testing import serving
from tests.model_servers import OLLAMA, answering, silent

LONG = 20.0
"""Seconds for a server that answers: the machine may be busy."""


def _listed(*models: Any) -> dict[str, Any]:
    return {"object": "list", "data": list(models)}


def test_a_server_is_named_with_its_models() -> None:
    with answering(OLLAMA) as server:
        [found] = find(addresses(server.url), within=LONG)
    assert found.name == "Ollama"
    assert found.base_url == f"{server.url}/v1"
    assert [model.name for model in found.models] == ["qwen3:4b", "llama3.2", "gemma3", "phi4"]
    place = server.url.removeprefix("http://")
    assert in_words([found]) == f"Ollama at {place} has qwen3:4b, llama3.2, gemma3 and 1 more"


def test_the_context_is_known_where_the_server_says_it() -> None:
    with answering(_listed({"id": "m", "owned_by": "vllm", "max_model_len": 4096})) as server:
        [found] = find(addresses(server.url), within=LONG)
    assert (found.name, found.models) == ("vLLM", (FoundModel("m", 4096),))


def test_it_only_asks_and_sends_nothing_of_the_person(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-canary-42")
    with answering(OLLAMA) as server:
        find(addresses(server.url), within=LONG)
    [(method, path, headers)] = server.requests
    assert (method, path) == ("GET", "/v1/models")
    assert {name.lower() for name in headers} == {"host", "accept-encoding", "accept"}


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"<html>a web page</html>", 200),
        (b"", 200),
        (b"[" * 100_000, 200),
        (OLLAMA, 404),
        ({"error": "a key is needed"}, 401),
        ({"data": "models"}, 200),
        ([OLLAMA], 200),
        (_listed(), 200),
        (_listed("m", {"id": 3}, {"id": ""}, {"id": "a\x1bb"}, {"id": "x" * 201}), 200),
        (_listed({"id": "all-minilm-embed"}), 200),
        (_listed({"id": "m", "pad": "x" * 300_000}), 200),
    ],
)
def test_what_lists_no_models_is_not_named(content: Any, status: int) -> None:
    with answering(content, status) as server:
        assert find(addresses(server.url), within=LONG) == []
    assert server.requests


def test_a_redirect_is_not_followed() -> None:
    with answering(OLLAMA) as elsewhere, answering(b"", 302, Location=f"{elsewhere.url}/v1/models") as server:
        assert find(addresses(server.url), within=LONG) == []
    assert not elsewhere.requests


async def test_retinue_itself_is_not_a_model() -> None:
    """Neither its front door, which speaks this protocol on vLLM's port, nor the built-in model."""
    with answering(_listed({"id": "retinue", "object": "model", "owned_by": "retinue"})) as server:
        assert find(addresses(server.url), within=LONG) == []
    async with serving(create_app()) as address:
        assert await asyncio.to_thread(find, addresses(address), within=LONG) == []


def test_all_are_asked_at_once_and_none_is_waited_for_long() -> None:
    with ExitStack() as opened:
        listed = ",".join(opened.enter_context(silent()) for _ in range(40))
        began = time.monotonic()
        assert find(addresses(listed)) == []
        assert time.monotonic() - began < 15  # one after the other they would take 20 s


def test_a_closed_port_is_no_server() -> None:
    assert find(["http://127.0.0.1:1/v1"], within=LONG) == []


def test_the_usual_ports_are_asked_unless_others_are_named() -> None:
    assert addresses("") == list(USUAL)
    assert addresses("off") == []
    assert addresses("http://localhost:1/, http://[::1]:2/api/v1") == ["http://localhost:1/v1", "http://[::1]:2/api/v1"]


@pytest.mark.parametrize(
    "listed",
    ["http://example.com", "https://127.0.0.1:1", "127.0.0.1:1", "http://a@127.0.0.1", "http://127.0.0.1:x", "http://"],
)
def test_only_this_machine_is_asked(listed: str) -> None:
    with pytest.raises(ValueError, match="no address on this machine"):
        addresses(listed)
