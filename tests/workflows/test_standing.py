"""What a grant covers, what is offered, and how both are said: pure rules."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import JsonValue, ValidationError

from retinue.provenance.credential import Credential, CredentialKind
from workflows.rules.grants import (
    Amounts,
    Grant,
    GrantRequest,
    Scope,
    check_expiry,
    covers,
    describe,
    digested,
    sameness,
    scope_of,
)

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
SENSITIVE = ("/to", "/cc")
MAIL: dict[str, JsonValue] = {"to": ["anna@example.com"], "subject": "Hi", "body": "Hello"}
CLI = Credential(kind=CredentialKind.KEY, id="k-1", name="cli")
ANNA = {"/to": ["anna@example.com"], "/cc": []}


def grant(**fields: Any) -> Grant:
    return Grant(**{"grant_id": "g1", "tool": "email.send", "args": ANNA, "created_at": NOW, **fields})


def granted(args: dict[str, JsonValue], sensitive: tuple[str, ...] = ()) -> Grant:
    """A grant of the default scope of an approved action."""
    scope = scope_of(args, sensitive)
    assert scope is not None
    return grant(**dict(scope))


def allows(given: Grant, args: dict[str, JsonValue]) -> bool:
    return covers(given, "email.send", args, None, NOW)


def test_the_default_scope_is_where_the_data_goes() -> None:
    assert scope_of(MAIL, SENSITIVE) == Scope(args=ANNA)
    assert allows(granted(MAIL, SENSITIVE), MAIL | {"subject": "Other", "body": "Text"})


@pytest.mark.parametrize(
    "change",
    [
        {"to": ["mark@attacker.example"]},
        {"to": ["anna@example.com", "mark@attacker.example"]},
        {"to": [["anna@example.com", ["mark@attacker.example"]]]},
        {"to": [{"address": "anna@example.com"}]},
        {"to": "anna@example.com.attacker.example"},
        {"to": ["Anna@example.com"]},
        {"to": ["anna@ex\u0430mple.com"]},
        {"to": ["anna@example.com\n"]},
        {"to": []},
        {"to": None},
        {"cc": ["mark@attacker.example"]},
        {"cc": ""},
    ],
)
def test_a_grant_does_not_reach_further_than_was_approved(change: dict[str, JsonValue]) -> None:
    assert not allows(granted(MAIL, SENSITIVE), MAIL | change)


@pytest.mark.parametrize(("given", "used"), [(None, "id-work"), ("id-work", None), ("id-work", "id-private")])
def test_a_grant_for_one_account_covers_no_other(given: str | None, used: str | None) -> None:
    assert covers(grant(account=given), "email.send", MAIL, None, NOW, account=given)
    assert not covers(grant(account=given), "email.send", MAIL, None, NOW, account=used)


def test_equal_approvals_are_counted_by_account() -> None:
    scope = Scope(args=ANNA)
    keys = {sameness("email.send", scope, account) for account in (None, "id-work", "id-private")}
    assert len(keys) == 3


@pytest.mark.parametrize("empty", [{}, {"cc": []}, {"cc": None}])
def test_no_value_is_no_value_however_it_is_written(empty: dict[str, JsonValue]) -> None:
    assert allows(granted(MAIL | empty, SENSITIVE), MAIL)
    assert allows(granted(MAIL, SENSITIVE), MAIL | empty)


@pytest.mark.parametrize("text", ["*", "a*@example.com", "?", "[ab]", "[*]", "[[]*[]]", "[!a]"])
def test_glob_characters_in_approved_values_stand_for_themselves(text: str) -> None:
    given = granted({"to": [text]}, ("/to",))
    assert allows(given, {"to": [text]})
    assert not any(allows(given, {"to": [other]}) for other in ("a", "b", "ab@example.com", "x"))


@pytest.mark.parametrize(
    "other",
    [
        {"message_id": "m2"},
        {"message_id": "m1", "force": True},
        {"message_id": "m1", "force": ""},
        {"Message_id": "m1"},
        {},
    ],
)
def test_without_sensitive_arguments_all_of_them_count(other: dict[str, JsonValue]) -> None:
    given = granted({"message_id": "m1"})
    assert allows(given, {"message_id": "m1", "force": None})
    assert not allows(given, other)


@pytest.mark.parametrize(
    ("approved", "other"),
    [
        ({"move": ["a", "b"]}, {"move": ["b", "a"]}),
        ({"move": ["a", "b"]}, {"move": ["a"]}),
        ({"where": {"title": "x"}}, {"where": {"body": "x"}}),
        ({"where": {"title": "x"}}, {"where": {"title": "x", "body": "y"}}),
        ({"count": 1}, {"count": 2}),
        ({"sure": True}, {"sure": False}),
        ({"text": "a" * 9000}, {"text": "a" * 9001}),
        ({"a/b": 1}, {"a": {"b": 1}}),
    ],
)
def test_an_exact_scope_is_exact(approved: dict[str, JsonValue], other: dict[str, JsonValue]) -> None:
    assert allows(granted(approved), approved)
    assert not allows(granted(approved), other)


@pytest.mark.parametrize(
    ("args", "sensitive"), [({"to": [f"{n}@x.y" for n in range(51)]}, ("/to",)), ({"": "x"}, ()), ({"a" * 300: 1}, ())]
)
def test_what_cannot_be_written_out_has_no_scope(args: dict[str, JsonValue], sensitive: tuple[str, ...]) -> None:
    assert scope_of(args, sensitive) is None


def test_patterns_of_a_person_are_globs() -> None:
    given = grant(args={"/to": ["*@example.com", "bob@else.org"]})
    assert allows(given, {"to": ["anna@example.com", "bob@else.org"], "cc": ["x"]})
    assert not allows(given, {"to": ["anna@example.com", "carl@else.org"]})
    assert allows(grant(args={}), {"anything": 1})


@pytest.mark.parametrize(
    "ended",
    [
        {"revoked_at": NOW},
        {"uses": 0},
        {"expires_at": NOW},
        {"expires_at": NOW - timedelta(seconds=1)},
        {"tool": "email.delete"},
        {"schedule_id": "weekly"},
    ],
)
def test_an_ended_or_other_grant_covers_nothing(ended: dict[str, Any]) -> None:
    assert covers(grant(), "email.send", MAIL, None, NOW)
    assert not covers(grant(**ended), "email.send", MAIL, None, NOW)


@pytest.mark.parametrize(("of", "used"), [("a1", "a2"), ("a1", None), (None, "a1")])
def test_a_grant_counts_for_its_account_alone(of: str | None, used: str | None) -> None:
    assert covers(grant(account=of), "email.send", MAIL, None, NOW, account=of)
    assert not covers(grant(account=of), "email.send", MAIL, None, NOW, account=used)


def test_a_grant_of_a_schedule_is_for_its_runs() -> None:
    assert covers(grant(schedule_id="weekly"), "email.send", MAIL, "weekly", NOW)
    assert not covers(grant(schedule_id="weekly"), "email.send", MAIL, None, NOW)


@pytest.mark.parametrize(
    ("fields", "schedule_id", "keys", "counts"),
    [
        ({}, None, (), True),
        ({}, "weekly", (), False),
        ({}, None, ("k-2",), False),
        ({"through": CLI}, None, ("k-1",), True),
        ({"through": CLI}, None, ("k-1", "k-2"), False),
        ({"also_for": ("schedules",)}, "weekly", (), True),
        ({"also_for": ("schedules",)}, "weekly", ("k-2",), False),
        ({"also_for": ("keys",)}, None, ("k-1", "k-2"), True),
        ({"also_for": ("keys",)}, "weekly", ("k-2",), False),
        ({"also_for": ("keys", "schedules")}, "weekly", ("k-2",), True),
        ({"schedule_id": "weekly"}, "weekly", ("k-2",), False),
    ],
)
def test_a_grant_counts_only_for_the_runs_that_were_chosen(
    fields: dict[str, Any], schedule_id: str | None, keys: tuple[str, ...], counts: bool
) -> None:
    assert covers(grant(**fields), "email.send", MAIL, schedule_id, NOW, keys=keys) is counts


def test_long_texts_are_known_by_their_digest() -> None:
    known = digested(MAIL | {"body": "y" * 100_000, "more": [{"deep": "z" * 501}]})
    assert len(str(known)) < 400
    assert digested(known) == known


def test_equal_approvals_are_equal_whatever_the_order() -> None:
    one = scope_of({"to": ["a", "b", "a"], "body": "x"}, SENSITIVE)
    other = scope_of({"body": "y", "to": ["b", "a"], "cc": []}, SENSITIVE)
    assert one
    assert other
    assert sameness("email.send", one) == sameness("email.send", other)
    assert sameness("email.send", one) != sameness("email.draft", one)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        (
            {"uses": 5, "expires_at": datetime(2027, 1, 1, tzinfo=UTC)},
            "Allowed: email.send, to exactly anna@example.com, no cc, 5 more times, until 2027-01-01, only when you ask in person",
        ),
        (
            {"args": {"/to": ["*@example.com", "b@x.y"]}, "uses": 1},
            'Allowed: email.send, to exactly b@x.y or anything like "*@example.com", once more, until it is revoked, '
            "only when you ask in person",
        ),
        (
            {"args": {}, "schedule_id": "weekly mail"},
            "Allowed: email.send, WHATEVER its arguments are, only in runs of the schedule "
            '"weekly mail", any number of times, until it is revoked',
        ),
        (
            {"args": {"/to": ["*"], "/in_reply_to": []}, "uses": 0},
            "Allowed: email.send, ANY to, no in reply to, no more times, until it is revoked, only when you ask in person",
        ),
        (
            {"args": {"/message_id": ["m1"]}, "closed": True},
            "Allowed: email.send, message id exactly m1, and nothing else, any number of times, until it is revoked, "
            "only when you ask in person",
        ),
        (
            {"args": {"/to": ["a@b.c, no cc\n, once \u202emore"]}, "uses": 2},
            'Allowed: email.send, to exactly "a@b.c, no cc\\n, once <U+202E>more", 2 more times, until it is revoked, '
            "only when you ask in person",
        ),
        (
            {"through": CLI, "also_for": ("schedules",)},
            "Allowed: email.send, to exactly anna@example.com, no cc, any number of times, until it is revoked, when "
            "you ask in person or through the key 'cli', and in scheduled runs",
        ),
        (
            {"through": CLI, "also_for": ("keys",)},
            "Allowed: email.send, to exactly anna@example.com, no cc, any number of times, until it is revoked, when "
            "you ask in person or through any of your API keys",
        ),
        (
            {"schedule_id": "weekly", "also_for": ("keys",)},
            "Allowed: email.send, to exactly anna@example.com, no cc, only in runs of the schedule weekly, any number "
            "of times, until it is revoked, whichever of your API keys made it",
        ),
    ],
)
def test_a_grant_is_said_in_one_sentence(fields: dict[str, Any], says: str) -> None:
    assert describe(grant(**fields)) == says


@pytest.mark.parametrize(
    "wish",
    [
        {"uses": 0},
        {"uses": 1001},
        {"expires_at": "2027-01-01T00:00:00"},
        {"args": {"to": ["x"]}},
        {"args": {"/to": "x"}},
        {"args": {"/to": ["x" * 1501]}},
        {"args": {f"/{n}": ["x" * 1000] for n in range(20)}, "uses": 1, "extra": 1},
        {"surprise": True},
    ],
)
def test_a_wish_that_cannot_be_is_refused(wish: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        GrantRequest.model_validate(wish)


def test_a_scope_is_bounded() -> None:
    with pytest.raises(ValidationError, match="16 KiB"):
        Scope(args={f"/{n}": ["x" * 1000] for n in range(20)})


@pytest.mark.parametrize(
    ("ahead", "fine"),
    [(timedelta(days=365), True), (timedelta(days=367), False), (timedelta(0), False), (timedelta(days=-1), False)],
)
def test_the_end_of_a_grant_lies_ahead_and_not_too_far(ahead: timedelta, fine: bool) -> None:
    assert (check_expiry(NOW + ahead, NOW) is None) is fine


def test_small_amounts_of_money_do_not_drift() -> None:
    total = Amounts()
    for _ in range(1000):
        total = total.plus(Amounts(cost=0.001, tokens=7))
    assert (total.cost, total.tokens) == (1.0, 7000)
