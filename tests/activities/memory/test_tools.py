"""The tools of memory, through their activities."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from temporalio.exceptions import ApplicationError

from activities.memory.contract import LONGEST_TEXT, MOST_FACTS
from retinue.provenance.asked_by import AskedBy, How
from tests.activities.memory.conftest import ANA, BEN

Call = Callable[..., Awaitable[dict[str, Any]]]


async def texts(call: Call, **more: Any) -> list[str]:
    return [fact["text"] for fact in (await call("memory.list", **more))["facts"]]


async def test_what_was_remembered_is_listed_with_where_it_came_from(call: Call) -> None:
    await call("memory.remember", step="s1", text="My passport  expires in May")
    [fact] = (await call("memory.list"))["facts"]
    assert (fact["text"], fact["kind"]) == ("My passport expires in May", "fact")
    expected = {"assistant_id": "assistant-1", "step_id": "s1", "message": 1, "how": "typed", "through": ""}
    assert fact["source"] == expected
    assert fact["says"].startswith("typed by you on 20")


@pytest.mark.parametrize(
    ("how", "through", "says"),
    [
        (How.APPROVED, "", "proposed, and approved by you on"),
        (How.APPROVED, "key 'notes app'", "proposed, and approved by you through key 'notes app' on"),
        (How.ALLOWED, "", "proposed, and allowed by your policy on"),
    ],
)
async def test_the_source_is_told_in_words(call: Call, how: How, through: str, says: str) -> None:
    await call("memory.remember", text="A", asked_by=AskedBy(person="ana", how=how, through=through))
    assert (await call("memory.list"))["facts"][0]["says"].startswith(says)


async def test_two_people_see_nothing_of_each_other(call: Call) -> None:
    hers = await call("memory.remember", text="My bank is Blue Bank")
    await call("memory.remember", text="My bank is Red Bank", asked_by=BEN)
    assert await texts(call) == ["My bank is Blue Bank"]
    assert await texts(call, asked_by=BEN) == ["My bank is Red Bank"]
    assert (await call("memory.search", query="bank", asked_by=BEN))["match"]["text"] == "My bank is Red Bank"
    assert [fact["text"] for fact in (await call("memory.recall", asked_by=BEN))["facts"]] == ["My bank is Red Bank"]
    for tool, more in (("forget", {}), ("correct", {"text": "x"}), ("look_up", {})):
        with pytest.raises(ApplicationError) as refused:
            await call(f"memory.{tool}", fact_id=hers["fact_id"], asked_by=BEN, **more)
        assert refused.value.type == "NotFound"
    assert (await call("memory.forget_all", asked_by=BEN))["forgotten"] == 1
    assert await texts(call) == ["My bank is Blue Bank"]


async def test_without_a_person_it_is_the_only_one_of_an_installation_that_tells_nobody_apart(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    await call("memory.remember", text="A", asked_by=AskedBy(person="local", how=How.TYPED))
    assert await texts(call, asked_by=None) == ["A"]

    monkeypatch.setenv("RETINUE_OIDC_ISSUER", "https://login.example")
    with pytest.raises(ApplicationError, match="for which person"):
        await call("memory.list", asked_by=None)


@pytest.mark.parametrize("asked_by", [None, AskedBy(person="acme:ana")])
async def test_without_a_person_of_the_organisation_nothing_is_read_or_written(
    call: Call, asked_by: AskedBy | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RETINUE_ONLY_PERSON")
    for tool, arguments in (("remember", {"text": "A"}), ("list", {}), ("recall", {}), ("forget_all", {})):
        with pytest.raises(ApplicationError, match="for which person") as refused:
            await call(f"memory.{tool}", asked_by=asked_by, **arguments)
        assert refused.value.type == "ServiceRefused"


async def test_a_key_without_the_right_reads_nothing(call: Call) -> None:
    fact = await call("memory.remember", text="A secret")
    barred = ANA.model_copy(update={"may_read": False, "through": "key 'bot'"})
    for tool, arguments in (
        ("list", {}),
        ("export", {}),
        ("recall", {}),
        ("search", {"query": "secret"}),
        ("look_up", {"fact_id": fact["fact_id"]}),
    ):
        with pytest.raises(ApplicationError, match=r"key 'bot' may not read"):
            await call(f"memory.{tool}", asked_by=barred, **arguments)


async def test_a_new_home_place_replaces_the_old_one_and_the_undo_brings_it_back(call: Call) -> None:
    await call("memory.remember", text="Lisbon", kind="home_place")
    moved = await call("memory.remember", text="Porto", kind="home_place")
    assert await texts(call) == ["Porto"]
    undo = {name: moved[name] for name in ("fact_id", "created", "forgotten", "before")}
    restored = await call("memory.restore", **undo)
    assert (restored["removed"], restored["restored"]) == (1, 1)
    assert await texts(call) == ["Lisbon"]


async def test_the_same_words_again_stay_one_fact_and_their_undo_removes_nothing(call: Call) -> None:
    first = await call("memory.remember", text="Window seats")
    again = await call("memory.remember", text="window  SEATS")
    assert (again["fact_id"], again["created"]) == (first["fact_id"], False)
    await call("memory.restore", fact_id=again["fact_id"], created=again["created"], before=again["before"])
    assert await texts(call) == ["Window seats"]


async def test_a_correction_replaces_text_and_source_and_can_be_undone(call: Call) -> None:
    fact = await call("memory.remember", text="Shoe size 42")
    changed = await call(
        "memory.correct",
        fact_id=fact["fact_id"],
        text="Shoe size 43",
        asked_by=AskedBy(person="ana", how=How.APPROVED, message=2),
    )
    [known] = (await call("memory.list"))["facts"]
    assert (known["text"], known["source"]["how"], known["changed_at"] is None) == ("Shoe size 43", "approved", False)
    await call("memory.restore", fact_id=changed["fact_id"], created=False, before=changed["before"])
    [known] = (await call("memory.list"))["facts"]
    assert (known["text"], known["source"]["how"], known["changed_at"]) == ("Shoe size 42", "typed", None)


async def test_what_was_forgotten_can_be_put_back(call: Call) -> None:
    fact = await call("memory.remember", text="Shoe size 42")
    gone = await call("memory.forget", fact_id=fact["fact_id"])
    assert (await texts(call), gone["forgotten"]) == ([], 1)
    await call("memory.restore", forgotten=gone["forgotten"], before=gone["before"])
    assert await texts(call) == ["Shoe size 42"]


async def test_forgotten_is_gone_from_the_file_and_the_ledger(call: Call, database: Path) -> None:
    """What stood there is overwritten; SQLite's log of the last writes is emptied when the worker stops."""
    secret = "xylophone-canary"
    fact = await call("memory.remember", text=f"My word is {secret}")
    await call("memory.correct", fact_id=fact["fact_id"], text=f"My other word is {secret}")
    assert secret.encode() in database.read_bytes() + _log_of(database)
    await call("memory.forget", fact_id=fact["fact_id"])
    _empty_log(database)
    assert secret.encode() not in database.read_bytes() + _log_of(database)


def _log_of(database: Path) -> bytes:
    log = database.with_name(f"{database.name}-wal")
    return log.read_bytes() if log.exists() else b""


def _empty_log(database: Path) -> None:
    import sqlite3

    with sqlite3.connect(database) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


async def test_what_is_forgotten_outside_of_a_run_is_not_told_to_its_history(call: Call) -> None:
    fact = await call("memory.remember", text="A secret")
    gone = await call("memory.forget", fact_id=fact["fact_id"], asked_by=AskedBy(person="ana", how=How.TYPED))
    assert (gone["forgotten"], "secret" in str(gone)) == (1, False)


async def test_forgetting_one_kind_leaves_the_others(call: Call) -> None:
    await call("memory.remember", text="Lisbon", kind="home_place")
    await call("memory.remember", text="Window seats", kind="preference")
    await call("memory.forget_all", kind="preference")
    assert await texts(call) == ["Lisbon"]


async def test_a_step_that_is_tried_again_changes_once(call: Call) -> None:
    first = await call("memory.remember", step="s1", text="Once")
    again = await call("memory.remember", step="s1", text="Once")
    assert (again["fact_id"], again["created"], await texts(call)) == (first["fact_id"], True, ["Once"])


async def test_what_a_repeated_attempt_forgot_cannot_be_put_back_and_that_is_said(call: Call) -> None:
    """The ledger keeps no text, so only the attempt that made the change knows it."""
    fact = await call("memory.remember", text="Once")
    await call("memory.forget", step="s2", fact_id=fact["fact_id"])
    again = await call("memory.forget", step="s2", fact_id=fact["fact_id"])
    assert (again["forgotten"], again["before"]) == (1, [])
    with pytest.raises(ApplicationError, match="not kept"):
        await call("memory.restore", forgotten=again["forgotten"], before=again["before"])


async def test_searching_ranks_by_words_and_matches_only_one(call: Call) -> None:
    for text in ("My shoe size is 42", "My shirt size is M", "I prefer tea"):
        await call("memory.remember", text=text)
    found = await call("memory.search", query="what is my shoe size?")
    assert [fact["text"] for fact in found["facts"]] == ["My shoe size is 42", "My shirt size is M"]
    assert found["match"] is None
    assert (await call("memory.search", query="what do I prefer, TEA?"))["match"]["text"] == "I prefer tea"
    assert (await call("memory.search", query="coffee"))["facts"] == []


async def test_recalling_shows_home_and_hours_first_and_keeps_to_its_budget(call: Call) -> None:
    for number in range(30):
        await call("memory.remember", text=f"Note {number} about trains and more words to fill it")
    await call("memory.remember", text="9 to 5", kind="working_hours")
    await call("memory.remember", text="Lisbon", kind="home_place")
    await call("memory.remember", text="The dentist is Dr Rua")
    found = await call("memory.recall", query="book the dentist", characters=300)
    shown = [fact["text"] for fact in found["facts"]]
    assert shown[:3] == ["Lisbon", "9 to 5", "The dentist is Dr Rua"]
    assert sum(map(len, shown)) <= 300
    assert found["left_out"] == 33 - len(shown)


async def test_each_change_says_how_many_there_are_now_and_that_it_is_newer(call: Call) -> None:
    first = await call("memory.remember", text="A")
    changes = [
        first,
        await call("memory.remember", text="B"),
        await call("memory.forget", fact_id=first["fact_id"]),
        await call("memory.forget_all"),
    ]
    assert [change["known"]["facts"] for change in changes] == [1, 2, 1, 0]
    revisions = [change["known"]["revision"] for change in changes]
    assert revisions == sorted(set(revisions))


async def test_only_so_much_is_remembered_and_listed_page_by_page(call: Call) -> None:
    for number in range(MOST_FACTS):
        await call("memory.remember", text=f"{number} {'x' * (LONGEST_TEXT - 4)}")
    with pytest.raises(ApplicationError, match="forget some first") as refused:
        await call("memory.remember", text="One more")
    assert refused.value.type == "Conflict"
    seen, after = [], None
    while True:
        page = await call("memory.export", after=after)
        seen += [fact["text"].split()[0] for fact in page["facts"]]
        if (after := page.get("next")) is None:
            break
    assert (seen, page["total"]) == ([str(number) for number in range(MOST_FACTS)], MOST_FACTS)


async def test_text_is_kept_on_one_line_without_invisible_characters(call: Call) -> None:
    await call("memory.remember", text="My\nbank\u200b is\u202e Blue")
    assert await texts(call) == ["My bank is Blue"]


@pytest.mark.parametrize("arguments", [{}, {"text": ""}, {"text": "x" * (LONGEST_TEXT + 1)}, {"text": "\u200b"}])
async def test_wrong_arguments_are_refused(call: Call, arguments: dict[str, Any]) -> None:
    with pytest.raises(ApplicationError) as refused:
        await call("memory.remember", **arguments)
    assert (refused.value.type, refused.value.non_retryable) == ("InvalidArguments", True)
