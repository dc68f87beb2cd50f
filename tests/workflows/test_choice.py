"""Which of several is meant: what is asked, and which answers name exactly one."""

from __future__ import annotations

from typing import Any

import pytest

from retinue.capability import Annotations, ToolOptions
from retinue.plan import BoundStep
from workflows.rules.disambiguation import Choice, gives_up, open_choice

RUIZ: dict[str, Any] = {
    "contact_id": "1",
    "name": "Ana Ruiz",
    "email": "ana@example.com",
    "other_emails": ["ruiz@home.example"],
}
BO: dict[str, Any] = {
    "contact_id": "2",
    "name": "Ana Bo",
    "email": "bo@example.com",
    "organization": "Acmé",
    "nickname": "Bobo",
}
LONG: dict[str, Any] = {"contact_id": "3", "name": "Ana Ruiz Silva", "email": None, "phone": "+34 600"}
CHOICE = Choice("s1", "Ana", [RUIZ, BO, LONG], ("match", "contacts"))
PICKS = ("match", "contacts")


def _step(step_id: str, args: dict[str, Any], picks: tuple[str, str] | None = None) -> BoundStep:
    return BoundStep(
        id=step_id,
        tool="contacts.find",
        args=args,
        depends_on=[],
        capability="contacts",
        task_queue="contacts",
        title="Find",
        summary="",
        annotations=Annotations(picks=picks),
        options=ToolOptions(),
    )


def _asked(path: str, result: Any, *, unseen: tuple[str, ...] = ("s1", "s2"), picks: Any = PICKS) -> Choice | None:
    steps = {
        "s1": _step("s1", {"name": "Ana"}, picks),
        "s2": _step("s2", {"to": [{"$from": "s1", "path": path}]}),
    }
    return open_choice(steps["s2"], steps, {"s1": result}, args=lambda step_id: steps[step_id].args, unseen=unseen)


def test_the_question_names_all_with_what_tells_them_apart() -> None:
    assert CHOICE.question() == (
        'Which "Ana" do you mean: 1. Ana Ruiz (ana@example.com); 2. Ana Bo (bo@example.com, Acmé); '
        "3. Ana Ruiz Silva (+34 600)?"
    )


def test_a_long_list_is_cut_and_says_so() -> None:
    many = Choice("s1", "Ana", [{"name": f"Ana {number}"} for number in range(25)], PICKS)

    assert "10. Ana 9, or one of 15 more (write the whole name)?" in many.question()
    assert many.answered("Ana 17") == {"name": "Ana 17"}
    assert many.answered("17") is None


def test_what_others_wrote_cannot_disguise_itself_in_the_question() -> None:
    evil = Choice("s1", "Ana", [{"name": "Ana\x1b[2J\u202e", "email": "x" * 500}, RUIZ], PICKS)

    assert "\x1b" not in evil.question()
    assert "\u202e" not in evil.question()
    assert len(evil.question()) < 300


@pytest.mark.parametrize(
    ("answer", "meant"),
    [
        ("1", RUIZ),
        ("2.", BO),
        ("number 3", LONG),
        ("#2", BO),
        ("the second one", BO),
        ("First", RUIZ),
        ("Ana Bo", BO),
        ("bo, please", BO),
        ("I mean the one from Acme", BO),
        ("bobo", BO),
        ("BO@example.com", BO),
        ("ruiz@home.example", RUIZ),
        ("Ana Ruiz", RUIZ),
        ("Silva", LONG),
        ("ana ruiz silva", LONG),
    ],
)
def test_an_answer_that_names_one_is_understood(answer: str, meant: dict[str, Any]) -> None:
    assert CHOICE.answered(answer) == meant


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "Ana",
        "4",
        "0",
        "00",
        "99",
        "eve@example.com",
        "example.com",
        "not Bo",
        "Bo or Silva",
        "the one",
        "yes",
        "ruiz@",
    ],
)
def test_an_answer_that_may_mean_several_or_none_is_not(answer: str) -> None:
    assert CHOICE.answered(answer) is None


@pytest.mark.parametrize(("answer", "ends"), [("Never mind.", True), ("no", True), ("none", True), ("Bo", False)])
def test_a_person_may_want_none_of_them(answer: str, ends: bool) -> None:
    assert gives_up(answer) is ends


@pytest.mark.parametrize("path", ["/match", "/match/email", "/contacts/0", "/contacts/1/email"])
def test_a_reference_to_one_of_several_is_open(path: str) -> None:
    """Also to a place in a list that nobody had seen: that is a guess."""
    choice = _asked(path, {"match": None, "contacts": [RUIZ, BO]})

    assert choice is not None
    assert (choice.step_id, choice.sought, list(choice.options)) == ("s1", "Ana", [RUIZ, BO])


@pytest.mark.parametrize(
    ("path", "result", "more"),
    [
        ("/match/email", {"match": RUIZ, "contacts": [RUIZ, BO]}, {}),
        ("/match/email", {"match": None, "contacts": []}, {}),
        ("/match/email", {"match": None, "contacts": [RUIZ]}, {}),
        ("/match/email", "odd", {}),
        ("/contacts", {"match": None, "contacts": [RUIZ, BO]}, {}),
        ("/skipped", {"match": None, "contacts": [RUIZ, BO]}, {}),
        ("/contacts/1/email", {"match": None, "contacts": [RUIZ, BO]}, {"unseen": ("s2",)}),
        ("/match/email", {"match": None, "contacts": [RUIZ, BO]}, {"picks": None}),
    ],
)
def test_what_is_clear_or_cannot_become_so_is_not_asked(path: str, result: Any, more: dict[str, Any]) -> None:
    assert _asked(path, result, **more) is None


def test_the_one_who_was_meant_stands_first_and_nobody_is_lost() -> None:
    result: Any = {"match": None, "contacts": [RUIZ, BO, LONG], "skipped": 1}

    assert CHOICE.settled(result, BO) == {"match": BO, "contacts": [BO, RUIZ, LONG], "skipped": 1}
