"""Checking arguments is bounded: it is done in workflow code, where what takes seconds counts as a deadlock."""

from __future__ import annotations

from typing import Any

import pytest

from activities.email.contract import Email
from retinue.plan import check_args

TOO_MANY = "args: there are too many values to check; use fewer"
WIDE: dict[str, Any] = {
    "anyOf": [
        {"type": "object", "properties": {f"f{number}": {"type": "integer"}}, "required": [f"f{number}"]}
        for number in range(100)
    ]
}
"""A schema of the size that a stranger's server may have."""


def of_items(items: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": "object", "properties": {"items": {"type": "array", "items": items, **more}}}


@pytest.mark.parametrize(
    ("schema", "items"),
    [
        (of_items(WIDE), list(range(2000))),
        (of_items({"type": "object"}, uniqueItems=True), [{"n": number} for number in range(6000)]),
    ],
)
def test_arguments_that_would_take_too_long_are_refused_in_words(schema: dict[str, Any], items: list[Any]) -> None:
    assert TOO_MANY in check_args({"items": items}, schema)


def test_many_recipients_are_not_too_many() -> None:
    send = next(spec for spec in Email.manifest().tools if spec.name == "email.send")
    recipients = [f"somebody{number}@example.com" for number in range(50)]
    assert list(check_args({"to": recipients, "subject": "Hi", "body": "x" * 60_000}, send.args_schema)) == []


def test_a_small_wrong_item_in_a_wide_schema_is_told_as_before() -> None:
    [problem] = check_args({"items": [1]}, of_items(WIDE))
    assert problem.startswith("items/0: ")
