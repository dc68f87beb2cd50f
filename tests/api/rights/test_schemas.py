"""A key that asks may say in which schema it wants the answer. A schema makes no worker fetch anything, or hang."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from retinue.schemas.answers import misfit, problem
from retinue.testing import Answer, plan_answer
from tests.api.conftest import Fresh, Json
from tests.api.rights.conftest import Door

SLOW = {"type": "string", "pattern": "^(a+)+$"}
DRAFT = "https://json-schema.org/draft/2020-12/schema"


def outside(form: str, address: str) -> tuple[Json, Json]:
    """A schema that refers to an address, and an answer for which that would be followed."""
    forms: dict[str, tuple[Json, Json]] = {
        "a property that is called like definitions": ({"$defs": {"$ref": address}}, {"$defs": 1}),
        "a dynamic reference": ({"a": {"$dynamicRef": address}}, {"a": 1}),
    }
    properties, answer = forms[form]
    return {"type": "object", "properties": properties}, answer


@pytest.fixture
def site() -> Iterator[tuple[str, list[str]]]:
    """A site in a thread of its own, since whoever fetches from it may block: its address, and what was asked for."""
    asked: list[str] = []

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

    server = HTTPServer(("127.0.0.1", 0), Page)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("form", ["a property that is called like definitions", "a dynamic reference"])
async def test_nothing_is_fetched_for_a_schema(
    door: Door, fresh: Fresh, site: tuple[str, list[str]], form: str
) -> None:
    message, (address, asked) = fresh("Say something"), site
    schema, answer = outside(form, address)
    door.asks.model.script(message, plan_answer(reply="Something."))
    door.asks.model.structured(message, *[Answer(json.dumps(answer))] * 5)
    body = {
        "model": "retinue",
        "messages": [{"role": "user", "content": message}],
        "response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}},
        "metadata": {"wait_seconds": 20},
    }
    refused = await door.asks.http.post("/v1/chat/completions", json=body)
    assert asked == []
    assert (refused.status_code, "which is not in it" in refused.text) == (422, True)


@pytest.mark.parametrize(
    "part",
    [
        {"$ref": "#anchor"},
        {"$ref": "#/properties/%61"},
        {"$id": "https://example.com/other", **SLOW},
        {"$schema": DRAFT, **SLOW},
        {"$anchor": "here"},
        {"$dynamicAnchor": "here"},
        {"$ref": "file:///etc/hostname"},
    ],
    ids=lambda part: next(iter(part.items()))[0],
)
def test_a_schema_stays_what_it_was_seen_to_be(part: Json) -> None:
    """Names and references of these kinds change what an answer is checked against, or by what."""
    assert problem({"type": "object", "properties": {"a": part}}) is not None


def test_what_client_libraries_write_is_taken() -> None:
    schema = {
        "$schema": DRAFT,
        "$id": "https://example.com/mine",
        "type": "object",
        "properties": {"a": {"$ref": "#/$defs/A"}, "$id": {"type": "string"}, "$defs": {"type": "integer"}},
        "$defs": {"A": {"type": "array", "items": {"$ref": "#/$defs/A"}}},
    }
    assert problem(schema) is None
    assert misfit({"a": [[]], "$id": "x", "$defs": 1}, schema) is None
    assert misfit({"a": [[1]]}, schema) == "/a/0/0: 1 is not of type 'array'"
