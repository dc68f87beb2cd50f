"""`docs/policy.md` and `docs/policy-examples.md` against the code: the default, and what the examples decide."""

from __future__ import annotations

import re
from typing import Any

import pytest
from pydantic import JsonValue

from activities.calendar.contract import Calendar
from activities.email.contract import Email
from retinue.capability import Annotations
from retinue.settings import ROOT
from workflows.rules.policy import DEFAULT_POLICY, Action, AtExpiry, Decision, Rule, Verdict
from workflows.rules.policy_file import parse_policies, to_toml
from workflows.rules.provenance import Origin, Source

PAGE = "".join((ROOT / page).read_text(encoding="utf-8") for page in ("docs/policy.md", "docs/policy-examples.md"))
BLOCKS = re.findall(r"^```toml\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
EXAMPLES = {re.findall(r"^\[policies\.([a-z-]+)\]", block, re.MULTILINE)[0]: block for block in BLOCKS}
ANNOTATIONS = {spec.name: spec.annotations for contract in (Calendar, Email) for spec in contract.manifest().tools} | {
    "bank.pay": Annotations(sensitive=("/account",))
}
KNOWN = Source.USER


def judge(policy: str, tool: str, args: dict[str, JsonValue], source: Source = KNOWN, **more: Any) -> Verdict:
    """What an example says about a call whose destinations all came from one source."""
    notes = ANNOTATIONS[tool]
    origins = [
        Origin(path=path, source=source, trusted=source is KNOWN) for path in notes.sensitive if path[1:] in args
    ]
    return parse_policies(EXAMPLES[policy])[policy].judge(Action(tool, notes, args, origins, "ana", **more))


def mail(*to: str, **more: JsonValue) -> dict[str, JsonValue]:
    return {"to": list(to), "subject": "x", "body": "y", **more}


def pay(amount: JsonValue, currency: str = "EUR") -> dict[str, JsonValue]:
    return {"account": "DE1", "amount": amount, "currency": currency}


INSIDE, OUTSIDE = "ana@example.com", "eve@example.org"
CASES = [
    ("default", "email.send", mail(INSIDE), {}, "ask", "consequential"),
    ("default", "calendar.create_event", {"title": "x"}, {}, "auto", "reversible-writes"),
    ("own-domain", "email.send", mail(INSIDE), {}, "auto", "colleagues"),
    ("own-domain", "email.send", mail(INSIDE, "bob@example.com", cc=[]), {}, "auto", "colleagues"),
    ("own-domain", "email.send", mail(INSIDE, OUTSIDE), {}, "ask", "consequential"),
    ("own-domain", "email.send", mail(INSIDE, cc=[OUTSIDE]), {}, "ask", "consequential"),
    ("own-domain", "email.send", mail(INSIDE), {"after_strangers": True}, "ask", "chosen-after-strangers"),
    ("own-domain", "email.delete", {"message_id": "1"}, {}, "ask", "consequential"),
    ("payments", "bank.pay", pay(50), {}, "auto", "small"),
    ("payments", "bank.pay", pay(50.01), {}, "ask", "large"),
    ("payments", "bank.pay", pay("5"), {}, "ask", "large"),
    ("payments", "bank.pay", pay(5, "USD"), {}, "ask", "large"),
    ("payments", "bank.pay", pay(5), {"source": Source.STRANGERS}, "ask", "large"),
    ("keep-calendar", "calendar.delete_event", {"event_id": "1"}, {}, "deny", "no-deletion"),
    ("keep-calendar", "calendar.create_event", {"title": "x"}, {}, "auto", "reversible-writes"),
    ("four-eyes", "email.send", mail(INSIDE), {}, "ask", "four-eyes"),
    ("four-eyes", "email.draft", mail(INSIDE), {}, "auto", "reversible-writes"),
    ("office", "email.send", mail(INSIDE), {}, "ask", "mail"),
    ("office", "email.delete", {"message_id": "1"}, {}, "ask", "consequential"),
    ("careful-mornings", "email.send", mail(INSIDE), {"scheduled": True}, "deny", "nothing-outside"),
    ("careful-mornings", "email.send", mail(INSIDE), {}, "ask", "consequential"),
    ("careful-mornings", "email.draft", mail(INSIDE), {"scheduled": True}, "auto", "reversible-writes"),
    ("careful-mornings", "email.search", {}, {"scheduled": True}, "auto", "reads"),
    ("patient", "email.delete", {"message_id": "1"}, {}, "ask", "deletions"),
    ("patient", "email.archive", {"message_id": "1"}, {}, "auto", "reversible-writes"),
    ("strict", "email.draft", mail(OUTSIDE), {"source": Source.STRANGERS}, "deny", "no-recipients-from-strangers"),
    ("strict", "email.draft", mail(OUTSIDE), {"source": Source.MODEL}, "ask", "unknown-destinations"),
    ("strict", "email.draft", mail(OUTSIDE), {}, "auto", "reversible-writes"),
]


def test_the_page_prints_the_default_as_it_is() -> None:
    assert EXAMPLES["default"] == to_toml(DEFAULT_POLICY)


def test_every_example_of_the_page_is_judged_here() -> None:
    assert len(BLOCKS) == len(EXAMPLES) == 9
    assert {case[0] for case in CASES} == EXAMPLES.keys()


@pytest.mark.parametrize(("policy", "tool", "args", "more", "decision", "rule"), CASES)
def test_what_an_example_decides(
    policy: str, tool: str, args: dict[str, JsonValue], more: Any, decision: str, rule: str
) -> None:
    verdict = judge(policy, tool, args, **more)
    assert (verdict.decision, verdict.rule) == (Decision(decision), rule)


def test_large_payments_need_two_of_three_people() -> None:
    verdict = judge("payments", "bank.pay", pay(500))
    assert (verdict.approvers, verdict.by) == (2, ("ana", "bob", "carla"))
    assert verdict.reasons[0].startswith("payments above 50 EUR")


def test_a_refusal_says_why() -> None:
    verdict = judge("keep-calendar", "calendar.delete_event", {"event_id": "1"})
    assert verdict.reasons[0] == "the calendar is a record here; move the event instead"


def test_four_eyes_are_those_of_two_people() -> None:
    verdict = judge("four-eyes", "email.send", mail(INSIDE))
    assert (verdict.by, verdict.not_the_requester) == (("*",), True)


def test_the_office_reminds_escalates_and_ends() -> None:
    verdict = judge("office", "email.send", mail(INSIDE))
    assert (verdict.remind_after, verdict.escalate_after, verdict.escalate_to) == ((1800, 14_400), 86_400, ("bob",))
    assert (verdict.expires_after, verdict.at_expiry) == (172_800, AtExpiry.DENY)


def test_the_patient_one_waits_on() -> None:
    verdict = judge("patient", "email.delete", {"message_id": "1"})
    assert (verdict.expires_after, verdict.at_expiry) == (604_800, AtExpiry.WAIT)
    assert judge("default", "email.delete", {"message_id": "1"}).expires_after is None


@pytest.mark.parametrize("field", sorted(Rule.model_fields.keys() - {"name", "decide"}))
def test_the_page_speaks_of_every_field_of_a_rule(field: str) -> None:
    tables = "\n".join(line for line in PAGE.splitlines() if line.startswith("|"))
    assert f"`{field}`" in tables
