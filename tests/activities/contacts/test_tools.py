"""The address book's tools, through their activities: the same suite on the own store and on a CardDAV server."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from temporalio.exceptions import ApplicationError

from .conftest import retried

Call = Callable[..., Awaitable[dict[str, Any]]]

ANA = {"name": "Ana Ruiz", "email": "ana@example.com"}
NOTHING_ELSE: dict[str, Any] = {"other_emails": [], "nickname": None, "organization": None, "note": None}


async def _found(call: Call, name: str) -> list[str]:
    return [person["name"] for person in (await call("contacts.find", name=name))["contacts"]]


async def test_an_added_person_is_found(call: Call) -> None:
    added = await call("contacts.add", **ANA, phone="+34 600 123")

    ana = {**ANA, "phone": "+34 600 123", "contact_id": added["contact_id"], **NOTHING_ELSE}
    assert added == {**ana, "created": True}
    assert await call("contacts.find", name="ana") == {
        "contacts": [ana],
        "match": ana,
        "skipped": 0,
        "skipped_cards": [],
    }


@pytest.mark.parametrize("query", ["jorg muller", "JÖRG", "Müller Jörg", "strasse", "STRAẞE", "J\u006f\u0308rg"])
async def test_case_accents_and_order_do_not_count(call: Call, query: str) -> None:
    await call("contacts.add", name="Jörg von Müller-Straße", email="jorg@example.com")

    assert await _found(call, query) == ["Jörg von Müller-Straße"]


@pytest.mark.parametrize("query", ["bo", "ana garcia", "%", "_", "anna"])
async def test_who_does_not_hold_all_the_words_is_not_found(call: Call, query: str) -> None:
    await call("contacts.add", **ANA)

    assert await call("contacts.find", name=query) == {"contacts": [], "match": None, "skipped": 0, "skipped_cards": []}


async def test_vowel_signs_are_part_of_a_name_and_no_accents(call: Call) -> None:
    await call("contacts.add", name="मुना", email="muna@example.com")
    await call("contacts.add", name="मना", email="mana@example.com")

    assert await _found(call, "मुना") == ["मुना"]


async def test_several_people_are_no_match(call: Call) -> None:
    await call("contacts.add", **ANA)
    await call("contacts.add", name="Ana Bo", email="bo@example.com")

    found = await call("contacts.find", name="ana")

    assert [person["name"] for person in found["contacts"]] == ["Ana Bo", "Ana Ruiz"]
    assert found["match"] is None


async def test_a_whole_name_beats_names_that_only_contain_it(call: Call) -> None:
    await call("contacts.add", name="Ana Maria", email="maria@example.com")
    ana = await call("contacts.add", name="Ána", email="ana@example.com")
    await call("contacts.add", name="Adriana", email="adriana@example.com")

    found = await call("contacts.find", name="ANA")

    assert [person["name"] for person in found["contacts"]] == ["Ána", "Adriana", "Ana Maria"]
    assert found["match"]["contact_id"] == ana["contact_id"]


async def test_two_people_of_one_name_are_no_match(call: Call) -> None:
    await call("contacts.add", **ANA)
    await call("contacts.add", name="Ana Ruiz", email="other@example.com")

    found = await call("contacts.find", name="Ana Ruiz")

    assert (len(found["contacts"]), found["match"]) == (2, None)


@pytest.mark.parametrize(
    "only",
    [{"phone": "+34 600 123"}, {"note": "the plumber; comes on Fridays, 8 to 12"}, {"phone": "1", "note": "a\nb"}],
)
async def test_a_person_without_an_address_is_found_with_what_is_known(call: Call, only: dict[str, str]) -> None:
    added = await call("contacts.add", name="Bo", **only)

    shown = {"name": "Bo", "email": None, "phone": None, "contact_id": added["contact_id"], **NOTHING_ELSE, **only}
    assert added == {**shown, "created": True}
    assert (await call("contacts.find", name="bo"))["match"] == shown


async def test_a_number_or_note_alone_goes_to_the_only_person_of_that_name(
    call: Call, count_contacts: Callable[[], int]
) -> None:
    ana = await call("contacts.add", **ANA)

    await call("contacts.add", name="Ana Ruiz", phone="+34 600 123")
    await call("contacts.add", name="ana ruiz", phone="+34600123", note="likes tea")
    known = await call("contacts.add", name="Ana Ruiz", note="likes tea")
    known = await call("contacts.add", name="Ana Ruiz", note="born in May")

    assert (known["contact_id"], known["created"], count_contacts()) == (ana["contact_id"], False, 1)
    assert (known["email"], known["phone"], known["note"]) == (ANA["email"], "+34 600 123", "likes tea\nborn in May")


async def test_an_address_goes_to_the_only_person_of_that_name_who_has_none(
    call: Call, count_contacts: Callable[[], int]
) -> None:
    await call("contacts.add", name="Ana Ruiz", phone="+34 600 123")

    await call("contacts.add", **ANA)
    again = await call("contacts.add", **ANA)

    assert (again["email"], again["phone"], again["created"]) == (ANA["email"], "+34 600 123", False)
    assert count_contacts() == 1


async def test_another_number_is_another_person(call: Call, count_contacts: Callable[[], int]) -> None:
    await call("contacts.add", **ANA, phone="+34 600 123")

    other = await call("contacts.add", name="Ana Ruiz", phone="+34 999")
    again = await call("contacts.add", name="Ana Ruiz", phone="+34 999")

    assert (other["created"], again["created"], again["contact_id"]) == (True, False, other["contact_id"])
    assert count_contacts() == 2


async def test_a_person_of_whom_nothing_is_known_is_refused(call: Call, count_contacts: Callable[[], int]) -> None:
    with pytest.raises(ApplicationError, match="needs an `email`, a `phone` or a `note`") as refused:
        await call("contacts.add", name="Bo")

    assert (refused.value.type, count_contacts()) == ("InvalidArguments", 0)


@pytest.mark.parametrize("tool", ["contacts.find", "contacts.add"])
@pytest.mark.parametrize("name", [" ", "\u0301"])
async def test_a_name_without_a_word_is_refused(call: Call, tool: str, name: str) -> None:
    """Else it would fit everybody."""
    address = {"email": "ana@example.com"} if tool == "contacts.add" else {}

    with pytest.raises(ApplicationError, match="the name is empty") as refused:
        await call(tool, name=name, **address)

    assert (refused.value.type, refused.value.non_retryable) == ("InvalidArguments", True)


@pytest.mark.parametrize(
    "wrong",
    [
        {"email": "ana"},
        {"email": "Ana <ana@example.com>"},
        {"email": "ana@example.com, bo@example.com"},
        {"email": "ana@example.com\n"},
        {"email": "a" * 250 + "@example.com"},
        {"phone": "call me"},
        {"name": ""},
    ],
)
async def test_wrong_people_are_refused(call: Call, count_contacts: Callable[[], int], wrong: dict[str, str]) -> None:
    with pytest.raises(ApplicationError, match=next(iter(wrong))) as refused:
        await call("contacts.add", **{**ANA, **wrong})

    assert refused.value.type == "InvalidArguments"
    assert count_contacts() == 0


async def test_an_argument_of_a_newer_version_is_left_to_its_workers(
    call: Call, count_contacts: Callable[[], int]
) -> None:
    with pytest.raises(ApplicationError, match="does not know all of the arguments") as refused:
        await call("contacts.add", **ANA, company="Acme")

    assert refused.value.type == "NotServedHere"
    assert count_contacts() == 0


@pytest.mark.parametrize(
    "again", [ANA, {"name": "ANÁ  ruiz", "email": "Ana@Example.com"}, {**ANA, "phone": "+34 600 123"}]
)
async def test_the_same_name_and_address_stay_one_contact(
    call: Call, count_contacts: Callable[[], int], again: dict[str, str]
) -> None:
    first = await call("contacts.add", **ANA)
    second = await call("contacts.add", **again)

    assert first["contact_id"] == second["contact_id"]
    assert count_contacts() == 1


async def test_a_missing_number_is_added_and_a_present_one_stays(call: Call) -> None:
    await call("contacts.add", **ANA)
    await call("contacts.add", **ANA, phone="111")

    kept = await call("contacts.add", **ANA, phone="222")

    assert kept["phone"] == "111"
    assert (await call("contacts.find", name="ana"))["match"]["phone"] == "111"


async def test_two_attempts_of_one_step_make_one_contact(call: Call, count_contacts: Callable[[], int]) -> None:
    """Whatever else happened in between: the second attempt reports what the first one did."""
    first = await call("contacts.add", step="s1", **ANA)
    await call("contacts.add", step="s2", **ANA, phone="111")
    second = await call("contacts.add", step="s1", **ANA)

    assert first == second
    assert second["phone"] is None
    assert count_contacts() == 1


async def test_twenty_attempts_at_once_make_one_contact(call: Call, count_contacts: Callable[[], int]) -> None:
    """Those that meet another one at work are tried again, as Temporal does."""
    results = await asyncio.gather(*(retried(call, "contacts.add", step="s1", **ANA) for _ in range(20)))

    assert results == [results[0]] * 20
    assert count_contacts() == 1


async def test_twenty_steps_at_once_that_add_one_person_make_one_contact(
    call: Call, count_contacts: Callable[[], int]
) -> None:
    results = await asyncio.gather(*(call("contacts.add", **ANA) for _ in range(20)))

    assert {result["contact_id"] for result in results} == {results[0]["contact_id"]}
    assert sum(result["created"] for result in results) == 1
    assert count_contacts() == 1


async def test_a_removed_person_is_gone_and_a_second_attempt_reports_the_same(
    call: Call, count_contacts: Callable[[], int]
) -> None:
    ana = await call("contacts.add", **ANA)

    first = await call("contacts.remove", step="s2", contact_id=ana["contact_id"])
    second = await call("contacts.remove", step="s2", contact_id=ana["contact_id"])

    assert first == second == {"contact_id": ana["contact_id"], "name": "Ana Ruiz", "removed": True}
    assert count_contacts() == 0


async def test_undoing_an_addition_removes_only_whom_it_entered(call: Call, count_contacts: Callable[[], int]) -> None:
    """An undo takes its arguments by name from the result."""
    first = await call("contacts.add", **ANA)
    second = await call("contacts.add", **ANA, phone="111")

    kept = await call("contacts.remove", contact_id=second["contact_id"], created=second["created"])
    assert (kept["removed"], count_contacts()) == (False, 1)

    gone = await call("contacts.remove", contact_id=first["contact_id"], created=first["created"])
    assert (gone["removed"], count_contacts()) == (True, 0)


async def test_an_unknown_person_is_not_found_with_a_hint(call: Call) -> None:
    with pytest.raises(ApplicationError, match=r"contacts\.find gives the ids") as missing:
        await call("contacts.remove", contact_id="nobody")

    assert (missing.value.type, missing.value.non_retryable) == ("NotFound", True)


async def test_the_same_step_with_other_arguments_is_a_conflict(call: Call, count_contacts: Callable[[], int]) -> None:
    await call("contacts.add", step="s1", **ANA)

    with pytest.raises(ApplicationError) as refused:
        await call("contacts.add", step="s1", name="Bo", email="bo@example.com")

    assert (refused.value.type, refused.value.non_retryable) == ("Conflict", True)
    assert count_contacts() == 1


async def test_the_list_is_by_name(call: Call) -> None:
    for name in ("Zoe", "ágnes", "Bo"):
        await call("contacts.add", name=name, email=f"{len(name)}@example.com")

    listed = await call("contacts.list")

    assert [person["name"] for person in listed["contacts"]] == ["ágnes", "Bo", "Zoe"]
    assert listed["truncated"] is False


@pytest.mark.parametrize(("people", "shown", "truncated"), [(500, 500, False), (501, 500, True)])
async def test_a_list_ends_after_five_hundred(
    call: Call, fill: Callable[[int, str], Awaitable[None]], people: int, shown: int, truncated: bool
) -> None:
    await fill(people, "Ana")

    listed = await call("contacts.list")

    assert (len(listed["contacts"]), listed["truncated"]) == (shown, truncated)


async def test_a_list_of_long_names_is_cut_before_the_edge_refuses_it(
    call: Call, fill: Callable[[int, str], Awaitable[None]]
) -> None:
    await fill(500, "安" * 190)

    listed = await call("contacts.list")

    assert listed["truncated"]
    assert 150 * 1024 < len(json.dumps(listed)) < 256 * 1024


async def test_a_whole_name_is_found_among_hundreds_that_contain_it(
    call: Call, fill: Callable[[int, str], Awaitable[None]]
) -> None:
    await fill(300, "Adriana")
    ana = await call("contacts.add", name="ana", email="ana@example.com")

    found = await call("contacts.find", name="Ana")

    assert (len(found["contacts"]), found["match"]["contact_id"]) == (100, ana["contact_id"])


async def test_an_id_is_looked_up_as_it_stands_and_one_of_nobody_says_so(call: Call) -> None:
    ana = await call("contacts.add", **ANA)
    assert await call("contacts.look_up", contact_id=ana["contact_id"]) == {**ANA, "contact_id": ana["contact_id"]}
    with pytest.raises(ApplicationError, match="there is no such contact"):
        await call("contacts.look_up", contact_id="none-such")
