"""Where values come from: a pure rule over steps, results and what the person said."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import JsonValue

from retinue.capability import Annotations, ToolOptions
from retinue.plan import BoundStep
from retinue.provenance.credential import Credential, CredentialKind
from workflows.rules.provenance import Source, Taint, TypedValue, Words, trace

ANA = "ana@example.com"
KEY = Credential(kind=CredentialKind.KEY, id="k1", name="notes", may_decide=False)


def step(step_id: str, args: dict[str, JsonValue], **fields: Any) -> BoundStep:
    return BoundStep(
        id=step_id,
        tool="mail.send",
        args=args,
        depends_on=[],
        capability="mail",
        task_queue="mail",
        title="Send",
        summary="",
        annotations=fields.pop("annotations", Annotations(sensitive=("/to",))),
        options=ToolOptions(),
        **fields,
    )


@pytest.mark.parametrize(
    ("typed_through", "source"),
    [([], Source.CONTACTS), ([TypedValue(text=ANA, through=KEY)], Source.KEY)],
)
def test_a_known_address_that_a_key_chose_is_the_keys(typed_through: list[TypedValue], source: Source) -> None:
    mail = step("s1", {"to": [ANA]})
    [origin] = trace(mail, {"s1": mail}, Words(typed_through=typed_through), results={}, known={ANA})
    assert (origin.source, origin.trusted) == (source, source is Source.CONTACTS)


@pytest.mark.parametrize("steered", [True, False])
def test_a_tools_own_words_are_strangers_where_an_agent_that_read_theirs_chose_its_arguments(*, steered: bool) -> None:
    """It may echo its arguments."""
    echo = step(
        "s1",
        {"text": "x"},
        annotations=Annotations(trusted_output=True),
        steered=steered,
        result_fields={"said": ["own"]},
    )
    results: dict[str, JsonValue] = {"s1": {"said": "x"}}
    taint = Taint({"s1": echo}, results)
    assert taint.strangers_in("s1", "/said") is steered
    assert taint.without_strangers("s1") == {"said": None if steered else "x"}
