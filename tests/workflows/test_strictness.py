"""Which policy is at least as strict as another, shown on actions, and which rules keep a grant from counting."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import JsonValue

from retinue.capability import Annotations
from workflows.rules.budget import Limits
from workflows.rules.grants import AlsoFor, Scope
from workflows.rules.policy import DEFAULT_POLICY, Action, Decision, Policy, Rule, Verdict
from workflows.rules.provenance import Origin, Source
from workflows.rules.strictness import asks_as_strictly, is_at_least_as_strict, rule_of_others, within

LAX = Rule(name="lax", decide=Decision.AUTO)
MAIL = Annotations(read_only=False, destructive=True, open_world=True, sensitive=("/to",))


def extended(*rules: dict[str, Any], **fields: Any) -> Policy:
    return DEFAULT_POLICY.model_copy(
        update={
            "name": "own",
            "rules": (*(Rule(name=f"r{n}", **r) for n, r in enumerate(rules)), *DEFAULT_POLICY.rules),
        }
        | fields
    )


@pytest.mark.parametrize(
    "policy",
    [
        extended(),
        extended({"tools": ("calendar.*",), "decide": "deny"}),
        extended({"decide": "ask"}),
        extended({"decide": "ask", "expires_after": "7d", "at_expiry": "wait", "remind_after": ("1d",)}),
        extended(hold=60),
        extended(run_budget=Limits(requests=1, steps=30, tool_calls=60, cost=1)),
        extended(rules=()),
        extended(rules=tuple(rule for rule in DEFAULT_POLICY.rules if rule.decide is Decision.ASK)),
    ],
)
def test_what_only_asks_and_denies_more_is_at_least_as_strict(policy: Policy) -> None:
    assert is_at_least_as_strict(policy, DEFAULT_POLICY)


@pytest.mark.parametrize(
    "policy",
    [
        extended({"tools": ("email.send",), "args": {"/to": ("*@example.com",)}, "decide": "auto"}),
        extended({"decide": "ask", "expires_after": "1s", "at_expiry": "allow"}),
        extended({"decide": "ask", "by": ("mallory",)}),
        extended({"decide": "ask", "by": ("*",), "not_the_requester": True}),
        extended({"decide": "ask", "escalate_after": "1s", "escalate_to": ("mallory",)}),
        extended(hold=0),
        extended(run_budget=None),
        extended(run_budget=Limits(requests=15, steps=30)),
        extended(run_budget=Limits(requests=16, steps=30, tool_calls=60)),
        extended(rules=(*DEFAULT_POLICY.rules[:1], *DEFAULT_POLICY.rules[3:])),
        extended(rules=DEFAULT_POLICY.rules[::-1]),
        Policy(name="lax", rules=(LAX,)),
    ],
)
def test_what_may_let_something_pass_is_not(policy: Policy) -> None:
    assert not is_at_least_as_strict(policy, DEFAULT_POLICY)


def test_a_rule_that_asks_must_not_come_before_one_that_denies_or_wants_two() -> None:
    """It would take an action away from the later rule and hand it to the person alone."""
    asks = Rule(name="asks", decide=Decision.ASK)
    denies = Rule(name="denies", tools=("bank.*",), decide=Decision.DENY)
    two = Rule(name="two", tools=("bank.*",), decide=Decision.ASK, approvers=2, by=("ana", "bob"))
    for own in (denies, two):
        assert not is_at_least_as_strict(Policy(name="p", rules=(asks, own)), Policy(name="q", rules=(own,)))
        assert is_at_least_as_strict(Policy(name="p", rules=(own, asks)), Policy(name="q", rules=(own,)))


@pytest.mark.parametrize(
    ("rule", "than", "strict"),
    [
        ({"approvers": 1, "by": ("ana", "bob")}, {"approvers": 2, "by": ("ana", "bob")}, False),
        ({"approvers": 2, "by": ("ana", "bob")}, {"approvers": 1, "by": ("ana", "bob", "zoe")}, True),
        ({"by": ("ana", "zoe")}, {"by": ("ana", "bob")}, False),
        ({"by": ("ana",)}, {"by": ("*",)}, True),
        ({}, {"by": ("*",)}, False),
        ({"by": ("*",)}, {"by": ("*",), "not_the_requester": True}, False),
        ({"by": ("*",), "not_the_requester": True}, {"by": ("*",)}, True),
        ({"escalate_after": "1h", "escalate_to": ("bob",)}, {"escalate_after": "2h", "escalate_to": ("bob",)}, False),
        ({"escalate_after": "2h", "escalate_to": ("bob",)}, {"escalate_after": "1h", "escalate_to": ("bob",)}, True),
        ({"expires_after": "1h", "at_expiry": "allow"}, {"expires_after": "2h", "at_expiry": "allow"}, False),
        ({"expires_after": "1h", "at_expiry": "deny"}, {"expires_after": "2h", "at_expiry": "allow"}, True),
    ],
)
def test_who_must_decide_and_what_silence_means_count(rule: dict[str, Any], than: dict[str, Any], strict: bool) -> None:
    one, other = (Rule.model_validate({"name": "r", "decide": "ask", **terms}) for terms in (rule, than))
    assert asks_as_strictly(one, other) is strict


def test_a_budget_within_another_names_all_its_limits() -> None:
    assert within(Limits(requests=3, cost=1), Limits(requests=3))
    assert within(None, None)
    assert not within(None, Limits(requests=3))
    assert not within(Limits(cost=1), Limits(requests=3))


_RULES = st.builds(
    lambda n, decide, tools, open_world, origins, after, asking: Rule(
        name=f"r{n}",
        decide=decide,
        tools=tools,
        open_world=open_world,
        origins=origins,
        after_strangers=after,
        **(asking if decide == "ask" else {}),
    ),
    st.integers(0, 10**9),
    st.sampled_from(["auto", "ask", "deny"]),
    st.sampled_from([("*",), ("email.*",), ("email.send", "bank.pay")]),
    st.sampled_from([None, True, False]),
    st.sampled_from([None, (Source.STRANGERS,), (Source.USER, Source.CONTACTS), (Source.KEY,)]),
    st.sampled_from([None, True, False]),
    st.sampled_from(
        [
            {},
            {"approvers": 2, "by": ("ana", "bob")},
            {"approvers": 2, "by": ("*",)},
            {"by": ("*",), "not_the_requester": True},
            {"expires_after": 60, "at_expiry": "allow"},
            {"expires_after": 60, "at_expiry": "deny"},
        ]
    ),
)
_POLICIES = st.lists(_RULES, max_size=4, unique_by=lambda rule: rule.name)
_ACTIONS = [
    Action(
        tool,
        notes,
        {"to": "x@example.com"},
        [Origin(path="/to", source=source, trusted=False)],
        "ana",
        after_strangers=a,
    )
    for tool in ("email.send", "bank.pay", "tasks.add")
    for notes in (MAIL, MAIL.model_copy(update={"open_world": False}))
    for source in Source
    for a in (False, True)
]
_ORDER = (Decision.AUTO, Decision.ASK, Decision.DENY)


def _is_no_milder(verdict: Verdict, than: Verdict) -> bool:
    if verdict.decision is not than.decision:
        return _ORDER.index(verdict.decision) > _ORDER.index(than.decision)
    allowed = verdict.at_expiry == "allow" and than.at_expiry != "allow"
    more = set(verdict.by or ("ana",)) - set(than.by or ("ana",))
    return (
        verdict.approvers >= than.approvers
        and verdict.not_the_requester >= than.not_the_requester
        and (not more or "*" in than.by)
        and not allowed
    )


@settings(max_examples=150, deadline=None)
@given(own=_POLICIES, extra=_POLICIES, data=st.data())
def test_whatever_is_called_as_strict_is_milder_about_no_action(
    own: list[Rule], extra: list[Rule], data: st.DataObject
) -> None:
    """The two policies share rules, since unrelated ones are nearly never comparable."""
    kept = [rule for rule in own if data.draw(st.booleans(), label="kept")]
    for rule in extra[:2]:
        kept.insert(data.draw(st.integers(0, len(kept)), label="where"), rule)
    policy, than = (
        Policy(name="p", rules=tuple(rule.model_copy(update={"name": f"{n}"}) for n, rule in enumerate(rules)))
        for rules in (kept, own)
    )
    milder = [action for action in _ACTIONS if not _is_no_milder(policy.judge(action), than.judge(action))]
    assert milder == [] or not is_at_least_as_strict(policy, than)


def others(policy: Policy, args: dict[str, list[str]], **fields: Any) -> str | None:
    rule = rule_of_others(
        policy,
        Scope(args=args, closed=fields.pop("closed", False)),
        tool="bank.pay",
        annotations=MAIL,
        arguments=["to", "amount", "currency"],
        caller="ana",
        **fields,
    )
    return rule.name if rule else None


TWO: dict[str, JsonValue] = {"decide": "ask", "approvers": 2, "by": ["ana", "bob"], "tools": ["bank.*"]}


@pytest.mark.parametrize(
    ("rule", "args", "fields", "refused"),
    [
        ({}, {}, {}, True),
        ({}, {"/to": ["acme"]}, {"closed": True}, True),
        ({"tools": ["email.*"]}, {}, {}, False),
        ({"callers": ["zoe"]}, {}, {}, False),
        ({"args": {"/to": ["acme*"]}}, {"/to": ["acme"]}, {}, True),
        ({"args": {"/to": ["acme*"]}}, {"/to": ["landlord"]}, {}, False),
        ({"args": {"/to": ["acme*"]}}, {"/to": ["*"]}, {}, True),
        ({"args": {"/currency": ["USD"]}}, {"/currency": []}, {}, False),
        ({"args_at_most": {"/amount": 50}}, {"/amount": ["40"]}, {}, True),
        ({"args_at_most": {"/amount": 50}}, {"/to": ["acme"]}, {"closed": True}, False),
        ({"origins": ["strangers"]}, {}, {}, False),
        ({"origins": ["model"]}, {}, {}, True),
        ({"after_strangers": True}, {}, {}, False),
        ({"scheduled": True}, {}, {}, False),
        ({"scheduled": True}, {}, {"also_for": [AlsoFor.SCHEDULES]}, True),
        ({"approvers": 1, "by": ["bob"]}, {}, {}, True),
        ({"approvers": 1, "by": ["*"], "not_the_requester": True}, {}, {}, True),
        ({"approvers": 1, "by": []}, {}, {}, False),
    ],
)
def test_a_grant_that_may_reach_what_others_decide_about_is_known(
    rule: dict[str, Any], args: dict[str, list[str]], fields: dict[str, Any], refused: bool
) -> None:
    policy = Policy(name="p", rules=(Rule.model_validate({"name": "two", **TWO, **rule}),))
    assert others(policy, args, **fields) == ("two" if refused else None)


def test_a_rule_behind_one_that_takes_everything_does_not_matter() -> None:
    first = Rule(name="first", tools=("bank.pay",), decide=Decision.ASK)
    policy = Policy(name="p", rules=(first, Rule.model_validate({"name": "two", **TWO})))
    assert others(policy, {}) is None
