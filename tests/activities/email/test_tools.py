import asyncio
import json
from datetime import timedelta
from typing import Any

import pytest
from temporalio.exceptions import ApplicationError

from activities.email.contract import Folder
from retinue.activity_adapter import MAX_RESULT_BYTES
from tests.activities.email.conftest import NOON, Box, Call, OwnBox, caller, insisting

LETTER = {"to": ["ana@example.com"], "subject": "Lunch", "body": "Friday at one?"}


async def ids(call: Any, **wish: Any) -> list[str]:
    return [mail["message_id"] for mail in (await call("search", wish))["messages"]]


@pytest.mark.parametrize(("tool", "status", "folder"), [("send", "sent", "sent"), ("draft", "draft", "drafts")])
async def test_a_written_mail_stands_in_its_folder(call: Any, box: Box, tool: str, status: str, folder: str) -> None:
    written = await call(tool, LETTER | {"cc": ["bo@example.com"], "in_reply_to": "<x@example.com>"})
    found = (await call("search", {"folder": folder}))["messages"]
    mail = await call("read", {"message_id": written["message_id"]})

    assert (written["status"], written["delivery"]) == (status, box.delivery[tool])
    assert [(entry["message_id"], entry["unread"]) for entry in found] == [(written["message_id"], False)]
    assert (mail["from"], mail["to"], mail["cc"]) == (box.sender, ["ana@example.com"], ["bo@example.com"])
    assert (mail["subject"], mail["text"], mail["in_reply_to"]) == ("Lunch", "Friday at one?", "<x@example.com>")
    assert mail["truncated"] is False


@pytest.mark.parametrize("tool", ["send", "draft"])
async def test_a_retried_step_writes_one_mail(call: Any, box: Box, tool: str) -> None:
    first = await call(tool, LETTER)
    again = await call(tool, LETTER)

    assert again == first
    assert await box.count() == 1


async def test_twenty_attempts_of_one_step_at_once_send_one_mail(call: Any, box: Box) -> None:
    results = await asyncio.gather(*(insisting(call)("send", LETTER) for _ in range(20)))

    assert {result["message_id"] for result in results} == {results[0]["message_id"]}
    assert await box.count() == 1


async def test_two_steps_send_two_mails(call: Any, box: Box) -> None:
    first, second = await call("send", LETTER, step="s1"), await call("send", LETTER, step="s2")

    assert first["message_id"] != second["message_id"]
    assert await box.count() == 2


async def test_a_step_that_ran_does_not_run_with_other_arguments(call: Any, box: Box) -> None:
    await call("send", LETTER)

    with pytest.raises(ApplicationError, match="other arguments") as failure:
        await call("send", LETTER | {"subject": "Dinner"})

    assert failure.value.type == "Conflict"
    assert await box.count() == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"to": []},
        {"to": ["Ana <ana@example.com>"]},
        {"to": ["ana@example.com\nBcc: eve@example.com"]},
        {"cc": ["ana@example.com,eve@example.com"]},
        {"subject": "Lunch\r\nBcc: eve@example.com"},
        {"subject": "Lunch\n"},
    ],
)
async def test_what_could_lead_a_mail_elsewhere_is_refused(call: Any, box: Box, wrong: dict[str, Any]) -> None:
    with pytest.raises(ApplicationError) as failure:
        await call("send", LETTER | wrong)

    assert (failure.value.type, failure.value.non_retryable) == ("InvalidArguments", True)
    assert await box.count() == 0


async def test_a_hidden_recipient_is_refused(call: Any, box: Box) -> None:
    with pytest.raises(ApplicationError):
        await call("send", LETTER | {"bcc": ["eve@example.com"]})

    assert await box.count() == 0


async def test_a_written_mail_holds_no_control_characters(call: Any) -> None:
    written = await call("send", LETTER | {"subject": "a\x1b[2Jb\x85c", "body": "one\r\ntwo\x00\tthree\x07\rfour"})
    mail = await call("read", {"message_id": written["message_id"]})

    assert (mail["subject"], mail["text"]) == ("a[2Jb c", "one\ntwo\tthree\nfour")


async def test_search_gives_newest_first_and_at_most_the_limit(call: Any, box: Box) -> None:
    for name, days in (("old", -2), ("new", 0), ("middle", -1)):
        await box.deliver(name, date=NOON + timedelta(days=days))

    assert await ids(call, limit=2) == ["<new@example.com>", "<middle@example.com>"]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("clara lunch", True),
        ("MENDES", True),
        ("clara@example.com", True),
        ("ÉTÉ", True),
        ("lunch dinner", False),
        ("100%", True),
        ("100_", False),
        ("", True),
    ],
)
async def test_every_word_must_be_in_sender_subject_or_text(call: Any, box: Box, query: str, found: bool) -> None:
    await box.deliver("m", subject="Lunch in the Hauptstraße", text="Cet été, 100% outside")

    assert await ids(call, query=query) == ["<m@example.com>"] * found


async def test_the_own_mailbox_compares_words_in_every_script(own_box: OwnBox) -> None:
    """Mail servers have ways of their own."""
    await own_box.deliver("m", subject="Lunch in the Hauptstraße")

    assert await ids(caller(own_box.tools()), query="STRASSE") == ["<m@example.com>"]


@pytest.mark.parametrize(("unread", "expected"), [(True, ["<fresh@example.com>"]), (False, ["<seen@example.com>"])])
async def test_search_by_unread(call: Any, box: Box, unread: bool, expected: list[str]) -> None:
    await box.deliver("fresh", unread=True)
    await box.deliver("seen", unread=False)

    assert await ids(call, unread=unread) == expected


async def test_a_snippet_is_one_line_of_at_most_160_characters(call: Any, box: Box) -> None:
    await box.deliver("m", text="one\n\n two\t" + "x" * 300)
    [mail] = (await call("search", {}))["messages"]

    assert mail["snippet"] == "one two " + "x" * (box.snippet - len("one two "))
    assert (mail["from"], mail["from_name"], mail["date"]) == (
        "clara@example.com",
        "Clara Mendes",
        "2026-11-02T12:00:00Z",
    )


async def test_reading_leaves_a_mail_unread(call: Any, box: Box) -> None:
    await box.deliver("m")
    await call("read", {"message_id": "<m@example.com>"})

    assert await ids(call, unread=True) == ["<m@example.com>"]


async def test_a_long_text_is_cut_and_says_so(call: Any, box: Box) -> None:
    await box.deliver("m", text="x" * 30_001)
    mail = await call("read", {"message_id": "<m@example.com>"})

    assert (len(mail["text"]), mail["truncated"]) == (30_000, True)


async def test_a_mail_of_emoji_still_fits_into_an_answer(call: Any, box: Box) -> None:
    """One emoji takes twelve bytes of JSON: counting characters alone would make such a mail unreadable."""
    await box.deliver("m", text="\U0001f600" * 30_000, recipients=["é" * 250 + "@x"] * 50)
    mail = await call("read", {"message_id": "<m@example.com>"})

    assert mail["truncated"] is True
    assert 1000 < len(mail["text"]) < 30_000
    assert len(json.dumps(mail)) <= MAX_RESULT_BYTES


async def test_monstrous_headers_shorten_a_list_but_do_not_break_it(call: Any, box: Box) -> None:
    for number in range(50):
        await box.deliver(f"m{number}", subject="\U0001f600" * 500, text="\U0001f600" * 500)
    found = await ids(call, limit=50)

    assert 10 < len(found) < 50


async def test_archive_moves_a_mail(call: Any, box: Box) -> None:
    await box.deliver("m", subject="Old news")
    moved = await call("archive", {"message_id": "<m@example.com>"})

    assert moved == {
        "message_id": "<m@example.com>",
        "subject": "Old news",
        "status": "archived",
        "folder": "inbox",
    }
    assert await ids(call) == []
    assert await ids(call, folder="archive") == ["<m@example.com>"]


@pytest.mark.parametrize("folder", list(Folder))
async def test_an_archived_mail_goes_back_to_where_it_was(call: Any, box: Box, folder: Folder) -> None:
    """An undo takes its arguments by name from the result."""
    await box.deliver("m", folder=folder)
    archived = await call("archive", {"message_id": "<m@example.com>"})
    moved = await call("move", {name: archived[name] for name in ("message_id", "folder")}, step="undo")

    assert moved["status"] == "moved"
    assert moved["folder"] == (folder if folder in box.never_leaves else "archive")
    assert await ids(call, folder=folder) == ["<m@example.com>"]


async def test_a_second_attempt_of_a_move_reports_the_same_folder(call: Any, box: Box) -> None:
    """Else the undo of a retried step would leave the mail where the step put it."""
    await box.deliver("m")
    first = await call("move", {"message_id": "<m@example.com>", "folder": "archive"})
    again = await call("move", {"message_id": "<m@example.com>", "folder": "archive"})

    assert first == again
    assert again["folder"] == "inbox"


async def test_a_mail_moves_only_to_a_folder_that_there_is(call: Any, box: Box) -> None:
    await box.deliver("m")
    with pytest.raises(ApplicationError, match="folder") as failure:
        await call("move", {"message_id": "<m@example.com>", "folder": "trash"})

    assert failure.value.type == "InvalidArguments"
    assert await ids(call) == ["<m@example.com>"]


async def test_delete_removes_a_mail_for_good_and_a_retry_reports_the_same(call: Any, box: Box) -> None:
    await box.deliver("m", subject="Old news")
    deleted = await call("delete", {"message_id": "<m@example.com>"})
    again = await call("delete", {"message_id": "<m@example.com>"})

    assert deleted == again
    assert (deleted["subject"], deleted["status"]) == ("Old news", "deleted")
    assert await box.count() == 0


async def test_delete_takes_back_a_draft(call: Any, box: Box) -> None:
    draft = await call("draft", LETTER)
    await call("delete", {"message_id": draft["message_id"]}, step="s1/undo")

    assert await box.count() == 0


@pytest.mark.parametrize(
    ("tool", "more"), [("read", {}), ("archive", {}), ("delete", {}), ("move", {"folder": "inbox"})]
)
async def test_an_unknown_mail_is_not_found_and_the_error_says_where_to_look(
    call: Any, tool: str, more: dict[str, str]
) -> None:
    with pytest.raises(ApplicationError, match=r"email\.search") as failure:
        await call(tool, {"message_id": "<nobody@example.com>", **more})

    assert (failure.value.type, failure.value.non_retryable) == ("NotFound", True)


async def test_a_thread_is_followed_in_both_directions_over_all_folders(call: Any, box: Box) -> None:
    await box.deliver("question", date=NOON, folder=Folder.ARCHIVE)
    await box.deliver("answer", date=NOON + timedelta(hours=1), in_reply_to="<question@example.com>")
    await box.deliver("other", date=NOON + timedelta(hours=2))
    reply = await call("send", LETTER | {"in_reply_to": "<answer@example.com>"})
    expected = ["<question@example.com>", "<answer@example.com>", reply["message_id"]]

    for message_id in expected:
        thread = await call("thread", {"message_id": message_id})
        assert [mail["message_id"] for mail in thread["messages"]] == expected
        assert [mail["folder"] for mail in thread["messages"]] == ["archive", "inbox", "sent"]
        assert thread["truncated"] is False


async def test_a_note_to_self_comes_to_the_person_and_to_nobody_else(call: Any, box: Box) -> None:
    note = await call("notify_self", {"subject": "Reminder", "body": "The meeting begins"})
    again = await call("notify_self", {"subject": "Reminder", "body": "The meeting begins"})

    assert (note["to"], note["status"], again["message_id"]) == ([box.sender], "sent", note["message_id"])
    assert await box.count() == 1
    with pytest.raises(ApplicationError):
        await call("notify_self", {"subject": "x", "body": "y", "to": ["eve@example.com"]}, step="s2")
    assert await box.count() == 1


async def test_forty_thousand_recipients_are_refused(call: Call, box: Box) -> None:
    with pytest.raises(ApplicationError, match="at most 50") as failure:
        await call("send", LETTER | {"to": [f"p{number}@example.com" for number in range(40_000)]})

    assert (failure.value.type, len(str(failure.value)) < 500) == ("InvalidArguments", True)
    assert await box.count() == 0


async def test_an_id_is_looked_up_as_its_line_in_the_mailbox_and_leaves_it_unread(call: Any, box: Box) -> None:
    await box.deliver("m", subject="Lunch", text="Today?")
    found = await call("look_up", {"message_id": "<m@example.com>"})

    assert (found["from"], found["subject"], found["snippet"]) == ("clara@example.com", "Lunch", "Today?")
    assert await ids(call, unread=True) == ["<m@example.com>"]


async def test_an_id_of_no_mail_says_so(call: Any, box: Box) -> None:
    with pytest.raises(ApplicationError, match="there is no mail with that message_id"):
        await call("look_up", {"message_id": "<none@example.com>"})
