"""Every request of the corpus becomes exactly the plan, the question or the refusal that stands beside it."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from offline.answers import complete
from offline.protocol import ChatRequest
from retinue.capability import Manifest
from retinue.plan import check, parse

from .conftest import NOW, ZONE, planning_messages


class _Loader(yaml.SafeLoader):
    """Leaves dates and times as the text that a plan holds."""


_Loader.yaml_implicit_resolvers = {
    first: [pair for pair in pairs if pair[0] != "tag:yaml.org,2002:timestamp"]
    for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
CORPUS: list[dict[str, Any]] = yaml.load(Path(__file__).with_name("corpus.yaml").read_text("utf-8"), _Loader)
PLANNED = [entry for entry in CORPUS if "plan" in entry]
ASKED = [entry for entry in CORPUS if "question" in entry]
REFUSED = [entry for entry in CORPUS if "refused" in entry]


def _name(entry: dict[str, Any]) -> str:
    return " | ".join(_said(entry))[:90]


def _said(entry: dict[str, Any]) -> list[str]:
    return [entry["say"]] if isinstance(entry["say"], str) else entry["say"]


def _plan(entry: dict[str, Any], agents: list[dict[str, Any]]) -> str:
    present = [agent for agent in agents if agent["name"] not in entry.get("without", [])]
    now, timezone = entry.get("now", NOW), entry.get("timezone", ZONE)
    messages = planning_messages(present, *_said(entry), now=now, timezone=timezone)
    request = {"model": "offline", "messages": messages}
    wanted = {"type": "json_schema", "json_schema": {"name": "plan", "schema": {}}}
    return complete(ChatRequest.model_validate({**request, "response_format": wanted})).text


def test_the_corpus_is_large_enough() -> None:
    assert len(CORPUS) >= 150
    assert len(ASKED) + len(REFUSED) >= 35
    assert len(PLANNED) + len(ASKED) + len(REFUSED) == len(CORPUS)


@pytest.mark.parametrize("entry", PLANNED, ids=_name)
def test_a_request_becomes_its_plan(
    entry: dict[str, Any], agents: list[dict[str, Any]], manifests: list[Manifest]
) -> None:
    """The plan has just these steps, and the rest of the project accepts it."""
    text = _plan(entry, agents)
    plan = json.loads(text)
    steps = [[step["tool"], step["args"], step["depends_on"]] for step in plan["steps"]]
    assert steps == [[*expected, []][:3] for expected in entry["plan"]]
    assert [step["id"] for step in plan["steps"]] == [f"s{number}" for number in range(1, len(steps) + 1)]
    assert (plan["question"], plan["reply"], plan["final"]) == (None, None, True)
    assert check(parse(text), manifests) == []


@pytest.mark.parametrize("entry", ASKED, ids=_name)
def test_what_is_open_is_asked(entry: dict[str, Any], agents: list[dict[str, Any]]) -> None:
    plan = json.loads(_plan(entry, agents))
    assert entry["question"] in (plan["question"] or "")
    assert plan["question"].endswith("?")
    assert (plan["steps"], plan["reply"]) == ([], None)


@pytest.mark.parametrize("entry", REFUSED, ids=_name)
def test_what_cannot_be_done_is_said(entry: dict[str, Any], agents: list[dict[str, Any]]) -> None:
    plan = json.loads(_plan(entry, agents))
    assert entry["refused"] in (plan["reply"] or "")
    assert (plan["steps"], plan["question"]) == ([], None)
