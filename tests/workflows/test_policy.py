"""Policy: what the default says about every tool of the house, how rules match, and what a policy file may hold."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any

import pytest
from pydantic import JsonValue, ValidationError

import activities
from activities.calendar.contract import Calendar
from activities.contacts.contract import Contacts
from activities.email.contract import Email
from activities.reasoning.contract import Reasoning
from activities.weather.contract import Weather
from retinue.capability import Annotations, Capability, ToolSpec
from workflows.rules.budget import Limits
from workflows.rules.policy import (
    DEFAULT_POLICY,
    Action,
    AtExpiry,
    Decision,
    Policy,
    Rule,
)
from workflows.rules.policy_file import parse_policies, to_toml
from workflows.rules.provenance import Origin, Source

AUTO, ASK, DENY = Decision.AUTO, Decision.ASK, Decision.DENY
TOOLS = {
    spec.name: spec
    for contract in (Calendar, Contacts, Email, Reasoning, Weather)
    for spec in contract.manifest().tools
}
FETCH = Annotations(read_only=True, destructive=False, idempotent=True, open_world=True, sensitive=("/url",))
PAY = Annotations(sensitive=("/account",))
TRASH = Annotations(destructive=True, open_world=False, undo="files.restore")
SILENT = Annotations()
MADE_UP = {"web.fetch": FETCH, "bank.pay": PAY, "files.trash": TRASH, "notes.unknown": SILENT}
LEAVES, FOR_GOOD = "it reaches other people or systems", "it cannot be undone"
STEERED = "it was chosen after reading what strangers wrote"
REFERENCE: dict[str, JsonValue] = {"$from": "s1", "path": "/x"}


def every_tool() -> list[ToolSpec]:
    """All tools of all capability folders, also of those that came after this test."""
    modules = [import_module(f"activities.{name}.contract") for name in activities.folders()]
    found = {value for module in modules for value in vars(module).values() if isinstance(value, type)}
    contracts = [value for value in found if issubclass(value, Capability) and value is not Capability]
    return sorted((spec for contract in contracts for spec in contract.manifest().tools), key=lambda spec: spec.name)


def origin(path: str, source: Source | str, tool: str | None = None) -> Origin:
    source = Source(source)
    return Origin(path=path, source=source, tool=tool, trusted=source not in (Source.STRANGERS, Source.MODEL))


def act(
    tool: str = "email.send",
    args: dict[str, JsonValue] | None = None,
    origins: dict[str, str] | Sequence[Origin] = (),
    **more: Any,
) -> Action:
    """An action of a tool of the house, or of one that is made up here; origins as place -> source."""
    notes = more.pop("annotations", None) or MADE_UP.get(tool) or TOOLS[tool].annotations
    traced = [origin(*pair) for pair in origins.items()] if isinstance(origins, dict) else origins
    return Action(tool, notes, args or {}, traced, more.pop("caller", "ana"), **more)


def rule(decide: Decision = ASK, /, **fields: Any) -> Rule:
    return Rule(name="it", decide=decide, **fields)


def decides(only: Rule, action: Action) -> bool:
    """Whether a rule decides about an action; deciding by itself is told apart from nobody having decided."""
    return Policy(name="p", rules=(only,)).judge(action).rule == "it"


MAIL: dict[str, JsonValue] = {"to": ["ana@example.com"], "subject": "x", "body": "y"}
PARTY: dict[str, JsonValue] = {"title": "x", "attendees": ["ana@example.com"]}
PERSON: dict[str, JsonValue] = {"name": "Ana", "email": "ana@example.com"}
URL: dict[str, JsonValue] = {"url": "https://example.com"}
IBAN: dict[str, JsonValue] = {"account": "DE1", "amount": 5}
TO = "/to/0"
GUEST = "/attendees/0"

DEFAULT_TABLE = [
    # reads without a destination run by themselves, whoever steered them
    ("calendar.list_events", {}, {}, {}, AUTO, "reads"),
    ("calendar.find_free_time", {}, {}, {}, AUTO, "reads"),
    ("contacts.find", {"name": "Ana"}, {}, {}, AUTO, "reads"),
    ("contacts.list", {}, {}, {}, AUTO, "reads"),
    ("email.search", {"query": "bill"}, {}, {}, AUTO, "reads"),
    ("email.read", {"message_id": "1"}, {"/message_id": "strangers"}, {}, AUTO, "reads"),
    ("weather.forecast", {"place": "Lisbon"}, {}, {}, AUTO, "reads"),
    ("weather.current", {"place": "Lisbon"}, {"/place": "strangers"}, {}, AUTO, "reads"),
    ("reasoning.compose", {"instruction": "x"}, {}, {}, AUTO, "reads"),
    ("reasoning.plan", {}, {}, {}, AUTO, "reads"),
    ("email.search", {"query": "bill"}, {}, {"after_strangers": True}, AUTO, "reads"),
    ("email.search", {"query": "bill"}, {}, {"scheduled": True}, AUTO, "reads"),
    # a read that chooses where it looks carries words out
    ("web.fetch", URL, {"/url": "user"}, {}, AUTO, "reads-elsewhere"),
    ("web.fetch", URL, {"/url": "contacts"}, {}, AUTO, "reads-elsewhere"),
    ("web.fetch", URL, {"/url": "own"}, {}, ASK, "unknown-destinations"),
    ("web.fetch", URL, {"/url": "strangers"}, {}, ASK, "unknown-destinations"),
    ("web.fetch", URL, {"/url": "model"}, {}, ASK, "unknown-destinations"),
    ("web.fetch", URL, {}, {}, ASK, "unknown-destinations"),
    ("web.fetch", URL, {"/url": "user"}, {"after_strangers": True}, ASK, "chosen-after-strangers"),
    # writes into one's own data that can be taken back
    ("calendar.create_event", {"title": "x"}, {}, {}, AUTO, "reversible-writes"),
    ("calendar.create_event", {"title": "x", "attendees": []}, {}, {}, AUTO, "reversible-writes"),
    ("calendar.create_event", {"title": "x", "attendees": None}, {}, {}, AUTO, "reversible-writes"),
    ("calendar.create_event", {"title": "x"}, {"/title": "strangers"}, {}, AUTO, "reversible-writes"),
    ("calendar.create_event", PARTY, {GUEST: "user"}, {}, AUTO, "reversible-writes"),
    ("calendar.create_event", PARTY, {GUEST: "contacts"}, {}, AUTO, "reversible-writes"),
    ("calendar.create_event", PARTY, {GUEST: "strangers"}, {}, ASK, "unknown-destinations"),
    ("calendar.create_event", PARTY, {GUEST: "model"}, {}, ASK, "unknown-destinations"),
    ("calendar.create_event", PARTY, {GUEST: "own"}, {}, ASK, "unknown-destinations"),
    ("calendar.create_event", PARTY, {}, {}, ASK, "unknown-destinations"),
    ("calendar.create_event", {"title": "x"}, {}, {"after_strangers": True}, ASK, "chosen-after-strangers"),
    ("calendar.update_event", {"event_id": "1"}, {"/event_id": "strangers"}, {}, AUTO, "reversible-writes"),
    ("calendar.update_event", PARTY, {GUEST: "model"}, {}, ASK, "unknown-destinations"),
    ("contacts.add", PERSON, {"/email": "user"}, {}, AUTO, "reversible-writes"),
    ("contacts.add", PERSON, {"/email": "strangers"}, {}, ASK, "unknown-destinations"),
    ("contacts.add", PERSON, {"/email": "model"}, {}, ASK, "unknown-destinations"),
    ("email.draft", MAIL, {TO: "contacts"}, {}, AUTO, "reversible-writes"),
    ("email.draft", MAIL, {TO: "strangers"}, {}, ASK, "unknown-destinations"),
    ("email.archive", {"message_id": "1"}, {}, {}, AUTO, "reversible-writes"),
    ("email.archive", {"message_id": "1"}, {}, {"after_strangers": True}, ASK, "chosen-after-strangers"),
    # what reaches other people or systems or cannot be undone, even for people that are known
    ("email.send", MAIL, {TO: "user"}, {}, ASK, "consequential"),
    ("email.send", MAIL, {TO: "contacts"}, {}, ASK, "consequential"),
    ("email.send", MAIL, {TO: "strangers"}, {}, ASK, "unknown-destinations"),
    ("email.send", {**MAIL, "cc": ["x@example.com"]}, {TO: "user", "/cc/0": "model"}, {}, ASK, "unknown-destinations"),
    ("email.send", MAIL, {TO: "user"}, {"after_strangers": True}, ASK, "chosen-after-strangers"),
    ("email.delete", {"message_id": "1"}, {}, {}, ASK, "consequential"),
    ("calendar.delete_event", {"event_id": "1"}, {}, {}, ASK, "consequential"),
    ("bank.pay", IBAN, {"/account": "user"}, {}, ASK, "consequential"),
    ("files.trash", {}, {}, {}, ASK, "consequential"),
    ("notes.unknown", {}, {}, {}, ASK, "consequential"),
]


@pytest.mark.parametrize(("tool", "args", "origins", "more", "decision", "by_rule"), DEFAULT_TABLE)
def test_what_the_default_says(
    tool: str, args: dict[str, JsonValue], origins: dict[str, str], more: Any, decision: Decision, by_rule: str
) -> None:
    verdict = DEFAULT_POLICY.judge(act(tool, args, origins, **more))
    assert (verdict.decision, verdict.rule) == (decision, by_rule)
    assert bool(verdict.reasons) is (decision is ASK)
    assert not verdict.tentative


@pytest.mark.parametrize("spec", every_tool(), ids=lambda spec: spec.name)
def test_every_tool_of_the_house_is_asked_for_exactly_what_it_announces(spec: ToolSpec) -> None:
    notes = spec.annotations
    verdict = DEFAULT_POLICY.judge(Action(spec.name, notes, {}, [], "ana"))
    assert (verdict.decision is ASK) is (not notes.read_only and (notes.open_world or notes.destructive))


def test_the_default_budgets_and_hold() -> None:
    assert DEFAULT_POLICY.run_budget == Limits(requests=15, steps=30, tool_calls=60)
    assert (DEFAULT_POLICY.day_budget, DEFAULT_POLICY.hold) == (None, 10)


@pytest.mark.parametrize(
    ("action", "reasons"),
    [
        (act(args=MAIL, origins={TO: "user"}), [LEAVES, FOR_GOOD]),
        (act(args=MAIL, origins={TO: "contacts"}), [LEAVES, FOR_GOOD]),
        (
            act(args=MAIL, origins=[origin(TO, "strangers", "email.search")]),
            [
                LEAVES,
                FOR_GOOD,
                "a recipient came from email.search, which may hold the words of strangers",
            ],
        ),
        (
            act("calendar.create_event", PARTY, {GUEST: "strangers"}),
            ["a participant came from what was read, which may hold the words of strangers"],
        ),
        (
            act("calendar.create_event", PARTY, {GUEST: "model"}),
            ["a participant was not typed by you"],
        ),
        (
            act("calendar.create_event", PARTY, [origin(GUEST, "own", "email.draft")]),
            ["a participant came from email.draft and was not typed by you"],
        ),
        (act("web.fetch", URL, {"/url": "model"}), [LEAVES, "the web address was not typed by you"]),
        (
            act(args={"to": ["a@example.com", "b@example.com"]}, origins={"/to/0": "model", "/to/1": "model"}),
            [LEAVES, FOR_GOOD, "a recipient was not typed by you"],
        ),
        (act("email.archive", {"message_id": "1"}, after_strangers=True), [STEERED]),
        (act("files.trash"), ["it may overwrite or remove something"]),
        (act("email.delete"), [FOR_GOOD]),
    ],
)
def test_the_reasons_are_sentences_from_annotations_and_origins(action: Action, reasons: list[str]) -> None:
    assert DEFAULT_POLICY.judge(action).reasons == reasons


def test_what_no_rule_speaks_of_is_asked_and_says_so() -> None:
    verdict = Policy(name="p", rules=(rule(AUTO, tools=("weather.*",)),)).judge(act("email.delete"))
    assert (verdict.decision, verdict.rule) == (ASK, None)
    assert verdict.reasons == ["no rule of the policy matches it", FOR_GOOD]


def test_the_first_rule_that_matches_decides() -> None:
    first, second = Rule(name="a", tools=("email.*",), decide=DENY), Rule(name="b", decide=AUTO)
    assert Policy(name="p", rules=(first, second)).judge(act()).rule == "a"
    assert Policy(name="p", rules=(second, first)).judge(act()).rule == "b"
    assert Policy(name="p", rules=(first, second)).judge(act("weather.current")).rule == "b"


@pytest.mark.parametrize(
    ("only", "reasons"),
    [
        (rule(AUTO, because="trust"), []),
        (rule(ASK, because="mother reads along"), ["mother reads along", LEAVES, FOR_GOOD]),
        (rule(ASK), [LEAVES, FOR_GOOD]),
        (rule(DENY), ["the rule 'it' forbids it", LEAVES, FOR_GOOD]),
        (rule(DENY, because="never"), ["never", LEAVES, FOR_GOOD]),
    ],
)
def test_a_rule_adds_its_own_reason_first(only: Rule, reasons: list[str]) -> None:
    assert Policy(name="p", rules=(only,)).judge(act(args=MAIL, origins={TO: "user"})).reasons == reasons


def test_a_read_leaves_the_house_only_by_where_it_looks() -> None:
    asks = Policy(name="p", rules=(rule(ASK, because="x"),))
    assert asks.judge(act("web.fetch", {})).reasons == ["x"]
    assert asks.judge(act("web.fetch", URL, {"/url": "user"})).reasons == ["x", LEAVES]


def test_nobody_is_asked_without_a_reason() -> None:
    verdict = Policy(name="p", rules=(rule(ASK),)).judge(act("weather.current"))
    assert verdict.reasons == ["the rule 'it' asks about it"]


@pytest.mark.parametrize(
    ("condition", "fits", "fits_not"),
    [
        ({"read_only": True}, "email.search", "email.send"),
        ({"read_only": False}, "email.send", "email.search"),
        ({"destructive": True}, "email.delete", "email.archive"),
        ({"destructive": False}, "email.archive", "email.delete"),
        ({"idempotent": True}, "email.archive", "email.send"),
        ({"open_world": True}, "email.send", "email.draft"),
        ({"open_world": False}, "email.draft", "email.send"),
        ({"trusted_output": True}, "calendar.find_free_time", "email.read"),
        ({"trusted_output": False}, "weather.forecast", "calendar.find_free_time"),
        ({"undoable": True}, "email.draft", "email.send"),
        ({"undoable": False}, "email.send", "email.draft"),
        ({"tools": ("email.*",)}, "email.send", "calendar.create_event"),
        ({"tools": ("*.delete*", "bank.pay")}, "calendar.delete_event", "calendar.create_event"),
        ({"tools": ("email.sen[de]",)}, "email.send", "email.search"),
        ({"tools": ("EMAIL.*", "weather.current")}, "weather.current", "email.send"),
        ({"read_only": False, "open_world": False}, "email.draft", "email.send"),
    ],
)
def test_conditions_on_the_tool(condition: dict[str, Any], fits: str, fits_not: str) -> None:
    assert decides(rule(**condition), act(fits))
    assert not decides(rule(**condition), act(fits_not))


def test_a_read_only_tool_is_not_destructive_even_if_it_left_that_out() -> None:
    notes = Annotations(read_only=True, open_world=False)
    assert decides(rule(destructive=False), act("a.read", annotations=notes))
    assert not decides(rule(destructive=True), act("a.read", annotations=notes))


@pytest.mark.parametrize(
    ("condition", "action", "expected"),
    [
        ({"scheduled": True}, act(scheduled=True), True),
        ({"scheduled": True}, act(), False),
        ({"scheduled": False}, act(scheduled=True), False),
        ({"after_strangers": True}, act(after_strangers=True), True),
        ({"after_strangers": True}, act(), False),
        ({"after_strangers": False}, act(after_strangers=True), False),
        ({"callers": ("ana",)}, act(caller="ana"), True),
        ({"callers": ("ana",)}, act(caller="anabel"), False),
        ({"callers": ("bob", "ana*")}, act(caller="anabel"), True),
        ({"free_destination": True}, act(args=MAIL), True),
        ({"free_destination": True}, act(args={"to": [], "cc": None}), False),
        ({"free_destination": True}, act(args={"to": []}), False),
        ({"free_destination": True}, act(args={"cc": ["x@example.com"]}), True),
        ({"free_destination": True}, act(args={"body": "x"}), False),
        ({"free_destination": False}, act(args=MAIL), False),
        ({"free_destination": False}, act(args={"to": []}), True),
        ({"free_destination": True}, act("email.search", {"query": "x"}), False),
    ],
)
def test_conditions_on_the_run_and_the_destination(condition: dict[str, Any], action: Action, expected: bool) -> None:
    assert decides(rule(**condition), action) is expected


OWN = ("*@example.com",)


@pytest.mark.parametrize(
    ("to", "every", "some"),
    [
        (["a@example.com"], True, True),
        (["a@example.com", "b@example.com"], True, True),
        (["a@example.com", "b@example.org"], False, True),
        (["b@example.org"], False, False),
        ([], False, False),
        ([None], False, False),
        (None, False, False),
        ("a@example.com", True, True),
        (["a@example.com.evil.example"], False, False),
        ([{"address": "a@example.com", "name": "A"}], False, True),
        ([["a@example.com"]], True, True),
        ([12], False, False),
    ],
)
@pytest.mark.parametrize("decide", list(Decision))
def test_every_value_or_some_value_at_a_place_fits(decide: Decision, to: JsonValue, every: bool, some: bool) -> None:
    action = act(args={"to": to})
    assert decides(rule(decide, args={"/to": OWN}), action) is every
    assert decides(rule(decide, args_any={"/to": OWN}), action) is some


@pytest.mark.parametrize(
    ("globs", "value", "expected"),
    [
        (("true",), True, True),
        (("True",), True, False),
        (("50",), 50, True),
        (("5?",), 50, True),
        (("[!a-c]*",), "dora", True),
        (("[!a-c]*",), "ana", False),
        (("a[*]b",), "a*b", True),
        (("a[*]b",), "axb", False),
        (("*",), "two\nlines", True),
        (("one",), "one\ntwo", False),
        (("one*",), "one\ntwo", True),
        (("x", "y"), "y", True),
        (("[",), "[", True),
        (("",) * 0, "anything", False),
    ],
)
def test_globs_are_of_the_whole_value(globs: tuple[str, ...], value: JsonValue, expected: bool) -> None:
    assert decides(rule(AUTO, args={"/x": globs}), act(args={"x": value})) is expected


def test_an_empty_list_of_globs_says_that_there_is_no_value() -> None:
    nobody_else = rule(AUTO, args={"/cc": ()})
    assert decides(nobody_else, act(args=MAIL))
    assert decides(nobody_else, act(args={"cc": []}))
    assert decides(nobody_else, act(args={"cc": None}))
    assert not decides(nobody_else, act(args={"cc": ["x"]}))


def test_all_places_of_a_rule_must_fit() -> None:
    both = rule(AUTO, args={"/to": OWN, "/cc": OWN})
    assert decides(both, act(args={"to": "a@example.com", "cc": "b@example.com"}))
    assert not decides(both, act(args={"to": "a@example.com", "cc": "b@example.org"}))
    assert not decides(both, act(args={"to": "a@example.com"}))
    either_or = rule(ASK, args_any={"/to": OWN, "/cc": OWN})
    assert not decides(either_or, act(args={"to": "a@example.com"}))


@pytest.mark.parametrize(
    ("place", "args"),
    [
        ("/a/b", {"a": {"b": "x"}}),
        ("/a/0", {"a": ["x", "y"]}),
        ("/a/1/b", {"a": [1, {"b": "x"}]}),
        ("/a~1b", {"a/b": "x"}),
        ("/a~0b", {"a~b": "x"}),
    ],
)
def test_places_are_json_pointers(place: str, args: dict[str, JsonValue]) -> None:
    assert decides(rule(AUTO, args={place: ("x",)}), act(args=args))
    assert not decides(rule(AUTO, args={place: ("z",)}), act(args=args))


@pytest.mark.parametrize("value", ["a@EXAMPLE.com", " a@example.com", "a@example.com\n"])
def test_letting_pass_reads_to_the_letter_and_asking_or_denying_does_not(value: str) -> None:
    action = act(args={"to": [value]})
    assert not decides(rule(AUTO, args={"/to": ("a@example.com",)}), action)
    assert not decides(rule(AUTO, args_any={"/to": ("a@example.com",)}), action)
    assert decides(rule(ASK, args={"/to": ("a@example.com",)}), action)
    assert decides(rule(DENY, args_any={"/to": ("A@Example.com",)}), action)


@pytest.mark.parametrize(
    ("amount", "expected"),
    [
        (50, True),
        (50.0, True),
        (50.01, False),
        (-1, True),
        ("50", False),
        (True, False),
        (None, False),
        ([], False),
        ([1, 2], True),
        ([1, 51], False),
        ([1, "2"], False),
        (10**30, False),
        (float("nan"), False),
    ],
)
def test_at_most_wants_numbers_only(amount: JsonValue, expected: bool) -> None:
    assert decides(rule(AUTO, args_at_most={"/amount": 50}), act(args={"amount": amount})) is expected


@pytest.mark.parametrize(("decide", "fits"), [(ASK, True), (DENY, True), (AUTO, False)])
def test_what_came_through_a_key_that_may_not_decide_is_a_strangers_where_rules_tighten(
    decide: Decision, fits: bool
) -> None:
    action = act(args=MAIL, origins=[origin("/to/0", Source.KEY)])
    assert decides(rule(decide, origins=(Source.STRANGERS,)), action) is fits


@pytest.mark.parametrize(("decide", "fits"), [(ASK, True), (DENY, True), (AUTO, False)])
def test_a_name_alone_means_people_of_every_organisation_where_rules_tighten(decide: Decision, fits: bool) -> None:
    assert decides(rule(decide, callers=("ana",)), act(caller="acme:ana")) is fits
    assert decides(rule(decide, callers=("acme:ana",)), act(caller="acme:ana"))


def test_one_source_is_enough_to_ask_and_all_are_needed_to_let_pass() -> None:
    both = act(args={"to": ["a", "b"]}, origins={"/to/0": "user", "/to/1": "strangers"})
    typed = act(args={"to": ["a", "b"]}, origins={"/to/0": "user", "/to/1": "contacts"})
    known = (Source.USER, Source.CONTACTS)
    assert decides(rule(ASK, origins=(Source.STRANGERS,)), both)
    assert decides(rule(DENY, origins=(Source.STRANGERS, Source.OWN)), both)
    assert not decides(rule(ASK, origins=(Source.OWN,)), both)
    assert not decides(rule(AUTO, origins=known), both)
    assert decides(rule(AUTO, origins=known), typed)
    assert not decides(rule(AUTO, origins=known), act(args={"body": "x"}))


@pytest.mark.parametrize(
    ("path", "sensitive", "expected"),
    [
        ("/to", ("/to",), True),
        ("/to/0", ("/to",), True),
        ("/to", ("/to/address",), True),
        ("/together", ("/to",), False),
        ("/to", ("/together",), False),
        ("/a/b", ("/a~1b",), True),
        ("/body", ("/to",), False),
    ],
)
def test_an_origin_counts_where_it_touches_a_destination(path: str, sensitive: tuple[str, ...], expected: bool) -> None:
    action = act(origins={path: "strangers"}, annotations=Annotations(sensitive=sensitive))
    assert decides(rule(DENY, origins=(Source.STRANGERS,)), action) is expected


@pytest.mark.parametrize(
    "traced",
    [{}, {"/to/0": "user"}, {"/to/1": "user"}, {"/body": "user"}, {"/to/0/x": "user", "/to/1/x": "user"}],
)
def test_a_destination_that_nobody_traced_counts_as_made_up(traced: dict[str, str]) -> None:
    verdict = DEFAULT_POLICY.judge(act("email.draft", {"to": ["a", "b"]}, traced))
    assert verdict.rule == "unknown-destinations"
    assert verdict.reasons[-1].endswith("was not typed by you")


def test_one_origin_may_speak_of_all_values_below_it() -> None:
    assert DEFAULT_POLICY.judge(act("email.draft", {"to": ["a", "b"]}, {"/to": "user"})).decision is AUTO


CONDITIONS_ON_VALUES: list[dict[str, Any]] = [
    {"args": {"/to": ("*",)}},
    {"args": {"/to/0": ("*",)}},
    {"args": {"/to": ()}},
    {"args_any": {"/to": ("*",)}},
    {"args_at_most": {"/to": 50}},
    {"free_destination": True},
    {"free_destination": False},
]


@pytest.mark.parametrize("to", [REFERENCE, [REFERENCE]], ids=["whole", "inside a list"])
@pytest.mark.parametrize("condition", CONDITIONS_ON_VALUES, ids=str)
def test_a_value_that_is_not_known_yet_fits_where_rules_tighten_and_nowhere_where_they_loosen(
    condition: dict[str, Any], to: JsonValue
) -> None:
    action = act(args={"to": to}, origins={"/to": "contacts"})
    assert not decides(rule(AUTO, **condition), action)
    for decide in (ASK, DENY):
        verdict = Policy(name="p", rules=(rule(decide, **condition),)).judge(action)
        assert (verdict.rule, verdict.tentative) == ("it", True)


def test_a_known_value_speaks_for_itself_beside_an_unknown_one() -> None:
    action = act(args={"to": ["a@evil.example", REFERENCE]})
    denied = Policy(name="p", rules=(rule(DENY, args_any={"/to": ("*@evil.example",)}),)).judge(action)
    assert (denied.decision, denied.tentative) == (DENY, False)
    assert not decides(rule(DENY, args={"/to": OWN}), action)
    assert not decides(rule(DENY, args={"/to": ()}), action)
    assert decides(rule(AUTO, free_destination=True), action)
    assert decides(rule(AUTO, args_any={"/to": ("*@evil.example",)}), action)


def test_what_a_preview_calls_automatic_stays_so_and_the_rest_may_become_milder() -> None:
    small = Rule(name="small", args_at_most={"/amount": 50}, decide=AUTO)
    rest = Rule(name="rest", decide=ASK)
    policy = Policy(name="p", rules=(small, rest))
    preview = policy.judge(act("bank.pay", {"amount": REFERENCE}))
    assert (preview.decision, preview.rule, preview.tentative) == (ASK, "rest", True)
    assert policy.judge(act("bank.pay", {"amount": 40})).decision is AUTO
    assert not policy.judge(act("bank.pay", {"amount": 60})).tentative
    by_tool = Policy(name="p", rules=(small, Rule(name="all", tools=("bank.*",), decide=AUTO)))
    certain = by_tool.judge(act("bank.pay", {"amount": REFERENCE}))
    assert (certain.decision, certain.tentative) == (AUTO, False)
    unspoken = Policy(name="p", rules=(small,)).judge(act("bank.pay", {"amount": REFERENCE}))
    assert (unspoken.rule, unspoken.tentative) == (None, True)


@pytest.mark.parametrize("value", [None, [], "a@example.com", ["b@example.org"], 40, [60, "a@example.com"]], ids=str)
@pytest.mark.parametrize("first", CONDITIONS_ON_VALUES, ids=str)
@pytest.mark.parametrize("decide", list(Decision))
def test_a_preview_that_is_not_tentative_holds_whatever_the_reference_turns_out_to_be(
    decide: Decision, first: dict[str, Any], value: JsonValue
) -> None:
    own = {"args": {"/to": OWN}}
    policies = [
        Policy(name="p", rules=(Rule(name="a", decide=decide, **first), Rule(name="b", decide=other, **second)))
        for other in Decision
        for second in (own, {}, *CONDITIONS_ON_VALUES)
    ]
    traced = {"/to": "contacts"}
    pairs = [
        (p.judge(act(args={"to": REFERENCE}, origins=traced)), p.judge(act(args={"to": value}, origins=traced)))
        for p in policies
    ]
    assert all(preview.decision == real.decision for preview, real in pairs if not preview.tentative)
    assert all(real.decision is AUTO for preview, real in pairs if preview.decision is AUTO)


def test_references_where_no_rule_looks_leave_nothing_open() -> None:
    verdict = Policy(name="p", rules=(rule(DENY, tools=("calendar.delete_event",)),)).judge(
        act("calendar.delete_event", {"event_id": REFERENCE})
    )
    assert (verdict.decision, verdict.tentative) == (DENY, False)


def test_a_verdict_carries_who_decides_and_until_when() -> None:
    asked = rule(
        approvers=2,
        by=("ana", "bob"),
        not_the_requester=True,
        expires_after="3d",
        at_expiry="allow",
        remind_after=("15m", "2h"),
        escalate_after="1d",
        escalate_to=("eve",),
    )
    verdict = Policy(name="p", rules=(asked,)).judge(act())
    assert (verdict.approvers, verdict.by, verdict.not_the_requester) == (2, ("ana", "bob"), True)
    assert (verdict.expires_after, verdict.at_expiry) == (259_200, AtExpiry.ALLOW)
    assert (verdict.remind_after, verdict.escalate_after, verdict.escalate_to) == ((900, 7200), 86_400, ("eve",))


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("90s", 90),
        ("15m", 900),
        ("2h", 7200),
        ("3d", 259_200),
        ("1.5h", 5400),
        ("400d", 34_560_000),
        (45, 45),
        (0.5, 0.5),
    ],
)
def test_times_are_seconds_or_words(written: float | str, seconds: float) -> None:
    assert rule(expires_after=written).expires_after == seconds


@pytest.mark.parametrize(
    "written",
    ["", "3", "3 d", "d", "-3d", "3w", "3D", "1h30m", "٣d", "0s", 0, -1, True, "401d", float("nan"), float("inf"), [3]],
)
def test_what_is_no_time_is_refused(written: Any) -> None:
    with pytest.raises(ValidationError, match="time"):
        rule(expires_after=written)


def test_a_hold_may_be_nothing() -> None:
    assert Policy(name="p", hold=0).hold == 0
    assert parse_policies('[policies.p]\nhold = "0s"')["p"].hold == 0
    with pytest.raises(ValidationError, match="at most 400 days"):
        Policy(name="p", hold=-1)


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"approvers": 2}, "approvers above 1 needs `by`"),
        ({"approvers": 3, "by": ("ana", "bob", "ana")}, "`by` names 2; name more people"),
        ({"not_the_requester": True}, "not_the_requester needs `by`"),
        ({"escalate_after": 5}, "escalate_after needs `escalate_to`"),
        ({"escalate_to": ("ana",)}, "escalate_to needs `escalate_after`"),
        ({"at_expiry": "allow"}, "at_expiry needs `expires_after`"),
        ({"at_expiry": "wait"}, "at_expiry needs `expires_after`"),
        ({"remind_after": (5, 3)}, "ascending"),
        ({"remind_after": (5, 5)}, "ascending"),
        ({"remind_after": (5, 9), "expires_after": 9}, "must come before `expires_after`"),
        ({"escalate_after": 9, "escalate_to": ("ana",), "expires_after": 9}, "must come before `expires_after`"),
        ({"approvers": 0}, "greater than or equal to 1"),
        ({"approvers": True}, "valid integer"),
        ({"by": ("",)}, "at least 1 character"),
        ({"tools": ()}, "at least 1 item"),
        ({"callers": ()}, "at least 1 item"),
        ({"tools": ("",)}, "at least 1 character"),
        ({"origins": ()}, "at least 1 item"),
        ({"args": {"to": ("x",)}}, "'to' is not a JSON pointer"),
        ({"args": {"/": ("x",)}}, "'/' is not a JSON pointer"),
        ({"args": {"/a~2": ("x",)}}, "not a JSON pointer"),
        ({"args_any": {"to": ("x",)}}, "not a JSON pointer"),
        ({"args_any": {"/to": ()}}, "at least 1 item"),
        ({"args_at_most": {"amount": 5}}, "not a JSON pointer"),
        ({"args_at_most": {"/amount": "5"}}, "valid number"),
        ({"args_at_most": {"/amount": True}}, "valid number"),
        ({"args_at_most": {"/amount": float("inf")}}, "finite number"),
        ({"read_only": "yes"}, "valid boolean"),
        ({"origins": ("friends",)}, "'user', 'contacts'"),
        ({"risk": "low"}, "Extra inputs"),
        ({"name": ""}, "at least 1 character"),
    ],
)
def test_a_rule_that_cannot_be_meant_is_refused(fields: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        Rule(**{"name": "it", "decide": "ask", **fields})


@pytest.mark.parametrize("decide", [AUTO, DENY])
@pytest.mark.parametrize(
    "field",
    [
        {"by": ("ana",)},
        {"approvers": 2, "by": ("ana", "bob")},
        {"not_the_requester": True, "by": ("ana",)},
        {"expires_after": 5},
        {"remind_after": (5,)},
        {"escalate_after": 5, "escalate_to": ("ana",)},
    ],
    ids=str,
)
def test_only_asking_has_deciders_and_times(decide: Decision, field: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match='only for rules with decide = "ask"'):
        rule(decide, **field)


def test_anybody_of_the_house_is_enough_for_any_number() -> None:
    assert rule(approvers=3, by=("*",)).by == ("*",)
    assert rule(not_the_requester=True, by=("*",)).not_the_requester


def test_reminders_may_go_on_after_an_expiry_that_only_marks() -> None:
    assert rule(expires_after=5, at_expiry="wait", remind_after=(3, 9)).remind_after == (3, 9)


def test_a_policy_has_at_most_200_rules_of_different_names() -> None:
    many = [Rule(name=str(number), decide=ASK) for number in range(201)]
    assert len(Policy(name="p", rules=tuple(many[:200])).rules) == 200
    with pytest.raises(ValidationError, match="at most 200"):
        Policy(name="p", rules=tuple(many))
    with pytest.raises(ValidationError, match="two rules are named '1'"):
        Policy(name="p", rules=(many[1], many[2], many[1]))


ODD = Policy(
    name="odd-1",
    hold=0,
    run_budget=None,
    day_budget=Limits(cost=1.5, tokens=1000),
    rules=(
        Rule(
            name='quotes " and \\ and\nlines, \x7f, ü, 🎉',
            tools=("a.*", "[b]*"),
            callers=("ana",),
            read_only=False,
            destructive=True,
            idempotent=False,
            open_world=True,
            trusted_output=False,
            undoable=True,
            free_destination=True,
            args={"/to": ("*@example.com", "x"), "/a~1b": (), "/ü": ("'",)},
            args_any={"/cc": ("*",)},
            args_at_most={"/amount": 50, "/share": 0.1, "/huge": 1e30},
            origins=(Source.OWN, Source.MODEL),
            after_strangers=False,
            scheduled=True,
            because="well\ttabbed",
            approvers=2,
            by=("ana", "bob"),
            not_the_requester=True,
            expires_after=259_201,
            at_expiry=AtExpiry.WAIT,
            remind_after=(0.25, 90, 7200),
            escalate_after=86_400,
            escalate_to=("*",),
            decide=ASK,
        ),
        Rule(name="no", decide=DENY),
        Rule(name="yes", decide=AUTO),
    ),
)


@pytest.mark.parametrize("mode", [{}, {"exclude_unset": True}, {"exclude_defaults": True}], ids=str)
@pytest.mark.parametrize("policy", [DEFAULT_POLICY, ODD], ids=["default", "odd"])
def test_a_policy_survives_the_way_through_json(policy: Policy, mode: dict[str, Any]) -> None:
    assert Policy.model_validate_json(policy.model_dump_json(**mode)) == policy


@pytest.mark.parametrize("policy", [DEFAULT_POLICY, ODD, Policy(name="empty"), Policy(name="p", hold="2h")])
def test_what_is_printed_reads_back_the_same(policy: Policy) -> None:
    assert parse_policies(to_toml(policy))[policy.name] == policy


def test_the_odd_policy_says_something_in_every_field() -> None:
    said = ODD.rules[0].model_dump(exclude_defaults=True)
    assert said.keys() == Rule.model_fields.keys()


def test_an_empty_file_has_the_built_in_default() -> None:
    assert parse_policies("") == {"default": DEFAULT_POLICY}


def test_a_policy_stands_beside_the_default_and_has_its_budget_unless_it_lifts_it() -> None:
    found = parse_policies("[policies.work]\n[policies.free]\nrun_budget = {}\nday_budget = { cost = 2 }")
    assert found.keys() == {"default", "work", "free"}
    assert found["work"] == Policy(name="work")
    assert found["work"].run_budget == DEFAULT_POLICY.run_budget
    assert (found["free"].run_budget, found["free"].day_budget) == (None, Limits(cost=2))


WORK = """
[policies.work]
extends = "default"
hold = "1m"

[[policies.work.rules]]
name = "weather"
tools = ["weather.*"]
decide = "deny"
"""


def test_extending_puts_the_default_behind_ones_own_rules() -> None:
    work = parse_policies(WORK)["work"]
    assert [rule.name for rule in work.rules] == ["weather", *(rule.name for rule in DEFAULT_POLICY.rules)]
    assert (work.hold, work.run_budget) == (60, DEFAULT_POLICY.run_budget)
    assert work.judge(act("weather.current")).decision is DENY
    assert work.judge(act("email.search")).decision is AUTO


def test_a_default_in_the_file_replaces_the_built_in_one_also_for_what_extends_it() -> None:
    own = (
        '\n[policies.default]\nhold = 0\nday_budget = { cost = 2 }\n[[policies.default.rules]]\nname="a"\ndecide="deny"'
    )
    found = parse_policies(WORK.replace('hold = "1m"', "").replace("work", "a-work") + own)
    assert [rule.name for rule in found["default"].rules] == ["a"]
    assert [rule.name for rule in found["a-work"].rules] == ["weather", "a"]
    assert (found["a-work"].hold, found["a-work"].day_budget) == (0, Limits(cost=2))


def test_the_default_in_the_file_may_extend_the_built_in_one() -> None:
    found = parse_policies(WORK.replace("policies.work", "policies.default"))
    assert [rule.name for rule in found["default"].rules][:2] == ["weather", "reads"]


RULES = "[[policies.work.rules]]\nname = 'big'\ndecide = 'ask'\n"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[policies", "the policy file is not valid TOML: "),
        ("[rules]", "the policy file has 'rules' at its top; write [policies.<name>] around it"),
        ("policies = 3", "`policies` is a table of policies"),
        ("[policies]\nwork = 3", "policy 'work': it is a table; write [policies.work]"),
        ("[policies.work]\nname = 'x'", "policy 'work': field 'name': the name stands in the heading"),
        ("[policies.work]\nextends = 'other'", "policy 'work': field 'extends': only 'default' can be extended"),
        ("[policies.work]\nhold = true", "policy 'work', field 'hold': write a time as"),
        ("[policies.work]\nrisk = 1", "policy 'work', field 'risk': there is no such field"),
        ("[policies.work]\nrun_budget = { steps = 0 }", "policy 'work', field 'run_budget steps': Input should be"),
        ("[policies.work]\nrules = 3", "policy 'work', field 'rules': it should be a list"),
        ("[policies.work]\nextends = 'default'\nrules = 3", "policy 'work', field 'rules': it should be a list"),
        ("[policies.work.rules]\nname = 'x'", "[[ ]] around the heading of rules"),
        ("[policies.Work]", "policy 'Work', field 'name': String should match"),
        ("[policies.work]\nrules = [3]", "policy 'work', rule 1: "),
        ("[[policies.work.rules]]\nname = 'big'", "policy 'work', rule 1 ('big'), field 'decide': it is missing"),
        ("[[policies.work.rules]]\ndecide = 'ask'", "policy 'work', rule 1, field 'name': it is missing"),
        (RULES + "tools = 'x'", "policy 'work', rule 1 ('big'), field 'tools': it should be a list"),
        (RULES + "tols = []", "policy 'work', rule 1 ('big'), field 'tols': there is no such field"),
        (RULES + "approvers = 2", "policy 'work', rule 1 ('big'): approvers above 1 needs `by`"),
        (RULES + "expires_after = '3w'", "policy 'work', rule 1 ('big'), field 'expires_after': write a time"),
        (RULES + "remind_after = ['1m', 'x']", "policy 'work', rule 1 ('big'), field 'remind_after 1': write a time"),
        (RULES + "args = { to = ['x'] }", "policy 'work', rule 1 ('big'), field 'args to': 'to' is not a JSON pointer"),
        (RULES + RULES, "policy 'work', field 'rules': two rules are named 'big'"),
        ("[policies.a]\nx = 1\n[policies.b]\ny = 1", "policy 'a', field 'x': there is no such field\npolicy 'b'"),
        ("# " + "x" * 70_000, "the policy file is longer than"),
    ],
)
def test_a_file_that_cannot_be_used_names_the_place_and_the_way_out(text: str, complaint: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse_policies(text)
    assert complaint in str(caught.value)
    assert type(caught.value) is ValueError


def test_a_rule_of_ones_own_may_not_take_a_name_of_the_default_that_it_extends() -> None:
    with pytest.raises(ValueError, match="two rules are named 'reads'"):
        parse_policies(WORK.replace('"weather"', '"reads"'))
