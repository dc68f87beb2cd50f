"""What is done in workflow tasks at each change of a run stays cheap however large its texts and results are."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any, NoReturn

import pytest

from retinue.capability import Annotations, ToolOptions
from retinue.conversation import Message, Role
from retinue.plan import BoundStep
from workflows.messages import AssistantStatus, AssistantView
from workflows.rules import provenance
from workflows.run.web_ui import current_details


def step(*recipients: str) -> BoundStep:
    return BoundStep(
        id="s1",
        tool="mail.send",
        args={"to": list(recipients)},
        depends_on=[],
        capability="mail",
        task_queue="mail",
        title="Send",
        summary="",
        annotations=Annotations(sensitive=("/to",)),
        options=ToolOptions(),
    )


def said(text: str) -> provenance.Words:
    return provenance.Words(said=[Message(role=Role.USER, text=text)])


def test_a_value_that_nobody_typed_needs_no_expression(monkeypatch: pytest.MonkeyPatch) -> None:
    """A long conversation against many addresses takes seconds by expressions alone."""
    monkeypatch.setattr(provenance, "re", SimpleNamespace(escape=re.escape, compile=forbidden, search=forbidden))
    found = provenance.trace(step("a@example.com", "b@example.com"), {}, said("Mail the team"), results={})
    assert [origin.source for origin in found] == ["model", "model"]


def test_a_value_is_found_behind_a_longer_one_that_begins_like_it() -> None:
    [origin] = provenance.trace(
        step("a@example.com"), {}, said("Not a@example.community, but a@example.com please"), results={}
    )
    assert origin.source == "user"


class Unread(dict[str, Any]):
    """A result that must not be walked through."""

    def items(self) -> NoReturn:
        raise AssertionError("it was read")


def test_results_are_not_searched_for_addresses_where_a_tool_tells_none() -> None:
    assert list(provenance.addresses(Unread(text="a@example.com"), ())) == []


def forbidden(*_: object) -> NoReturn:
    raise AssertionError("an expression was used")


def test_a_huge_text_is_cut_with_a_mark_in_the_details() -> None:
    """All texts are wrapped again at each change of a run, and many approvals may wait at once."""
    view = AssistantView(
        id="a1", status=AssistantStatus.COMPLETED, message="m", messages=[], reply="many words " * 10_000
    )
    details = current_details(view)
    assert len(details) < 6000
    assert "[cut: 110000 characters in all]" in " ".join(details.split())
