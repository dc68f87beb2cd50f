"""Which mails have arrived since a cursor: over the own mailbox and over Dovecot, with strangers at the headers."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from activities.email.changes import changes_by_search
from activities.email.contract import Folder, MailSummary, ReadMailChanges, SearchMail, SearchMailResult
from activities.email.models import Message
from activities.email.store import MailStore
from tests.activities.email.conftest import FOLDERS, NOON, Box, Call, ImapBox, as_file, caller, described


@pytest.fixture
def call(box: Box) -> Call:
    return caller(box.tools())


async def news(call: Call, cursor: str | None = None, **wish: Any) -> dict[str, Any]:
    """The answer with every field, as those that hold defaults are left out."""
    given = {"cursor": cursor} if cursor is not None else {}
    answer = await call("changes", {**given, **wish})
    return {"changes": [], "more": False, "reset": "", **answer}


def subjects(answer: dict[str, Any]) -> list[str]:
    return [change["subject"] for change in answer["changes"]]


async def test_only_what_comes_after_the_cursor_is_new(call: Call, box: Box) -> None:
    await box.deliver("before")
    begun = await news(call)
    await box.deliver("first", date=NOON - timedelta(days=30))
    await box.deliver("second", date=NOON - timedelta(days=60))
    found = await news(call, begun["cursor"])
    again = await news(call, found["cursor"])

    assert (subjects(begun), subjects(found), subjects(again)) == ([], ["first", "second"], [])
    assert found["changes"][0]["from"] == "clara@example.com"
    assert subjects(await news(call, begun["cursor"])) == ["first", "second"]


async def test_many_come_in_portions_and_none_is_lost(call: Call, box: Box) -> None:
    cursor, seen = (await news(call))["cursor"], []
    for number in range(7):
        await box.deliver(f"m{number}")
    more = True
    while more:
        found = await news(call, cursor, limit=3)
        seen += subjects(found)
        cursor, more = found["cursor"], found["more"]
    assert seen == [f"m{number}" for number in range(7)]


async def test_the_latest_are_shown_where_that_is_asked_for(call: Call, box: Box) -> None:
    for number in range(4):
        await box.deliver(f"m{number}", date=NOON + timedelta(minutes=number))
    found = await news(call, latest=True, limit=2)
    assert subjects(found) == ["m2", "m3"]
    assert subjects(await news(call, found["cursor"])) == []


HEADERS = {
    "Auto-Submitted: auto-replied": "replied",
    "Auto-Submitted: auto-generated; x=y": "generated",
    "Auto-Submitted: no": "",
    "List-Id: <team.example.com>": "list",
    "Precedence: bulk": "list",
    "Precedence: auto_reply": "replied",
    "X-Autoreply: yes": "replied",
    "Content-Type: multipart/report; boundary=x": "replied",
    "X-Nothing: yes": "",
}


@pytest.mark.parametrize(("header", "kind"), HEADERS.items())
async def test_what_a_program_wrote_says_so(call: Call, box: Box, header: str, kind: str) -> None:
    if not box.shows_all_headers:
        pytest.skip("this server shows only a few headers; test_gmail.py has it")
    cursor = (await news(call))["cursor"]
    await box.deliver_file(f"From: ana@example.com\r\nMessage-ID: <x@y.example>\r\n{header}\r\n\r\nHi\r\n".encode())
    [found] = (await news(call, cursor))["changes"]
    assert found.get("automatic", "") == kind


async def test_a_note_to_oneself_starts_nothing_and_an_answer_to_our_mail_is_known(call: Call, box: Box) -> None:
    cursor = (await news(call))["cursor"]
    sent = await call("send", {"to": ["ana@example.com"], "subject": "Lunch", "body": "Friday?"}, step="s1")
    await call("notify_self", {"subject": "Note", "body": "Milk"}, step="s2")
    await box.deliver("answer", in_reply_to=sent["message_id"])
    found = (await news(call, cursor))["changes"]
    assert [change["subject"] for change in found if not change.get("own")] == ["answer"]
    assert found[-1]["answers_own"] is True


async def test_a_cursor_of_somebody_else_is_refused(call: Call, box: Box) -> None:
    with pytest.raises(Exception, match="was not given by this mailbox"):
        await news(call, "nonsense")


async def test_deliveries_at_once_are_all_seen_in_the_order_of_their_numbers(mailbox: MailStore) -> None:
    names = [f"m{number}" for number in range(12)]
    await asyncio.gather(*(mailbox.deliver(Message(**described(name))) for name in [*names, *names]))
    found = await mailbox.arrivals(0, limit=100)
    assert [number for number, _, _ in found] == list(range(1, 13))
    assert {mail.message_id for _, mail, _ in found} == {f"<m{number}@example.com>" for number in range(12)}


async def test_a_mail_of_our_own_that_comes_back_is_own(imap_box: ImapBox) -> None:
    call = caller(imap_box.tools())
    cursor = (await news(call))["cursor"]
    sent = await call("send", {"to": ["me@retinue.test"], "subject": "To me", "body": "Hi"})
    imap_box.server.deliver(imap_box.user, as_bytes(imap_box.sent[0].content))
    [found] = (await news(call, cursor))["changes"]
    assert (found["own"], found["message_id"]) == (True, sent["message_id"])


async def test_a_copied_id_leads_to_the_mail_that_came_now(imap_box: ImapBox) -> None:
    """Else a stranger could have an older mail handled in the place of his own."""
    call = caller(imap_box.tools())
    await imap_box.deliver("m", subject="From Clara")
    cursor = (await news(call))["cursor"]
    await imap_box.deliver("m", subject="Forged")
    [found] = (await news(call, cursor))["changes"]
    assert (await call("read", {"message_id": found["message_id"]}))["subject"] == "Forged"


async def test_a_mailbox_that_was_numbered_again_is_said_and_todays_mails_come(imap_box: ImapBox) -> None:
    call, server, user = caller(imap_box.tools()), imap_box.server, imap_box.user
    folder = {"folder": "archive"}
    server.deliver(user, as_file(described("old")), mailbox=FOLDERS[Folder.ARCHIVE])
    begun = await news(call, **folder)
    with server.account(user) as client:
        client.delete("Archive")
        client.create("Archive")
    server.deliver(user, as_file(described("new", date=datetime.now(UTC))), mailbox=FOLDERS[Folder.ARCHIVE])
    found = await news(call, begun["cursor"], **folder)
    assert (subjects(found), "numbered the mailbox again" in found["reset"]) == (["new"], True)
    assert subjects(await news(call, found["cursor"], **folder)) == []


async def test_a_plain_search_finds_what_is_new_and_says_when_it_was_too_much() -> None:
    there: list[str] = ["a"]

    async def search(wish: SearchMail) -> SearchMailResult:
        newest = list(reversed(there))[: wish.limit]
        return SearchMailResult(messages=[summary_of(name) for name in newest])

    begun = await changes_by_search(ReadMailChanges(), search)
    there += ["b", "c"]
    found = await changes_by_search(ReadMailChanges(cursor=begun.cursor, limit=1), search)
    rest = await changes_by_search(ReadMailChanges(cursor=found.cursor), search)
    assert [change.subject for change in (*found.changes, *rest.changes)] == ["b", "c"]
    assert (found.more, rest.more, rest.reset) == (True, False, "")
    there += [f"m{number}" for number in range(60)]
    assert "more than 50 mails" in (await changes_by_search(ReadMailChanges(cursor=rest.cursor), search)).reset


def as_bytes(content: bytes | str | None) -> bytes:
    assert isinstance(content, bytes)
    return content


def summary_of(name: str) -> MailSummary:
    return MailSummary(
        message_id=f"<{name}@example.com>",
        sender="a@b.example",
        to=[],
        subject=name,
        date=NOON,
        snippet="",
        unread=True,
    )
