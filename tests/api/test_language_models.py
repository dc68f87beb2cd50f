"""`/v1/language-model`: who may change which model is used, and what it says."""

from __future__ import annotations

from typing import Any

import pytest

from api.auth.principals import Role
from tests.api.conftest import refused
from tests.api.rights.conftest import Door, door, made
from tests.api.tenancy.conftest import As, people
from tests.conftest import Stack

__all__ = ["door", "people"]

MODEL = "/v1/language-model"
CHANGES: list[tuple[str, str, dict[str, Any] | None]] = [
    ("POST", MODEL, {"server": "http://127.0.0.1:11434/v1", "model": "qwen3"}),
    ("DELETE", MODEL, None),
    ("POST", f"{MODEL}/test", None),
]


@pytest.mark.parametrize(("method", "path", "body"), CHANGES)
async def test_a_key_without_the_right_to_operate_changes_no_model(
    door: Door,  # the fixture
    method: str,
    path: str,
    body: dict[str, Any] | None,
) -> None:
    for scopes in (("read", "ask"), ("read", "ask", "decide")):
        key = await made(door.person, "asks", *scopes)
        answer = await door.person.http.request(method, path, json=body, headers={"Authorization": f"Bearer {key}"})
        refused(answer, 403, "this needs the permission 'operate'")


@pytest.mark.parametrize(("method", "path", "body"), CHANGES)
async def test_owners_and_operators_of_one_organisation_change_no_model(
    people: As,  # the fixture
    method: str,
    path: str,
    body: dict[str, Any] | None,
) -> None:
    owner = people("ana", "acme")
    refused(await owner.http.request(method, path, json=body), 403, "this needs the permission 'operate'")
    operator = people("olga", "acme", frozenset({Role.OPERATOR}))
    refused(await operator.http.request(method, path, json=body), 403, "organisations share the language model")


async def test_what_the_environment_says_is_shown_and_not_changed(stack: Stack) -> None:
    shown = (await stack.http.get(MODEL)).json()
    assert shown["source"] == "environment"
    assert all(one["models"][0].startswith("scripted@127.0.0.1:") for one in shown["roles"])
    body = {"server": "http://127.0.0.1:11434/v1", "model": "qwen3"}
    refused(await stack.http.post(MODEL, json=body), 409, "the environment names the model")
    refused(await stack.http.delete(MODEL), 409, "the environment names the model")


async def test_no_key_is_shown(stack: Stack) -> None:
    assert "sk-canary" not in (await stack.http.get(MODEL)).text


async def test_an_owner_reads_what_is_used(people: As) -> None:  # the fixture
    assert (await people("ana", "acme").http.get(MODEL)).status_code == 200
