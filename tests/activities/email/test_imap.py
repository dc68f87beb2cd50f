"""The mailbox over IMAP: what other programs and strangers do to it, and servers that are down, slow, full or broken."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio.exceptions import ApplicationError

from activities.email.incoming import MAX_BYTES
from retinue.activity_adapter import MAX_RESULT_BYTES
from tests.activities.email.conftest import NOON, Call, ImapBox, account, caller
from tests.activities.email.mail_servers import DOVECOT, NO_DOVECOT, PASSWORD, Dovecot, dovecot
from tests.activities.email.test_replying import incoming
from workers.temporal_server import free_port

LETTER = {"to": ["ana@example.com"], "subject": "Lunch", "body": "Friday at one?"}
NOWHERE = "smtp://127.0.0.1:9?starttls=false"


@pytest.fixture
def box(imap_box: ImapBox) -> ImapBox:
    return imap_box


async def failure(call: Call, tool: str, arguments: dict[str, Any], **step: str) -> ApplicationError:
    with pytest.raises(ApplicationError) as caught:
        await call(tool, arguments, **step)
    return caught.value


async def listed(call: Call, **wish: Any) -> list[dict[str, Any]]:
    return list((await call("search", wish))["messages"])


async def test_a_mail_without_an_id_gets_one_and_can_be_read_and_moved_by_it(call: Call, box: ImapBox) -> None:
    box.server.deliver(box.user, b"From: ana@example.com\r\nSubject: Hello\r\n\r\nHi\r\n")
    [found] = await listed(call)
    mail = await call("read", {"message_id": found["message_id"]})
    await call("archive", {"message_id": found["message_id"]})

    assert (mail["subject"], mail["text"], mail["message_id"]) == ("Hello", "Hi", found["message_id"])
    assert [entry["subject"] for entry in await listed(call, folder="archive")] == ["Hello"]


async def test_two_mails_with_one_id_are_told_apart(call: Call, box: ImapBox) -> None:
    """A stranger can copy the id of any mail that he has seen. The first that came keeps it."""
    await box.deliver("m", subject="From Clara", date=NOON)
    await box.deliver("m", subject="Forged", date=NOON + timedelta(hours=1))
    forged, first = await listed(call)

    assert first["message_id"] == "<m@example.com>"
    assert (await call("read", {"message_id": "<m@example.com>"}))["subject"] == "From Clara"
    assert (await call("read", {"message_id": forged["message_id"]}))["subject"] == "Forged"
    await call("delete", {"message_id": forged["message_id"]})
    assert [mail["subject"] for mail in await listed(call)] == ["From Clara"]


async def test_an_id_in_our_own_form_that_a_stranger_gives_leads_nowhere(call: Call, box: ImapBox) -> None:
    await box.deliver("m", subject="Private")
    box.server.deliver(
        box.user, b"From: eve@example.com\r\nMessage-ID: <inbox.1.1@retinue.example>\r\nSubject: Forged\r\n\r\nHi\r\n"
    )
    forged = next(mail for mail in await listed(call) if mail["subject"] == "Forged")

    assert forged["message_id"] != "<inbox.1.1@retinue.example>"
    assert (await call("read", {"message_id": forged["message_id"]}))["subject"] == "Forged"


async def test_an_id_of_a_mailbox_that_was_made_anew_finds_nothing_else(call: Call, box: ImapBox) -> None:
    box.server.deliver(box.user, b"From: ana@example.com\r\nSubject: Old\r\n\r\nHi\r\n", mailbox="Archive")
    [old] = await listed(call, folder="archive")
    with box.server.account(box.user) as client:
        client.delete("Archive")
    await asyncio.sleep(1.1)  # Dovecot makes the new validity of the clock's second
    box.server.deliver(box.user, b"From: ana@example.com\r\nSubject: New\r\n\r\nHi\r\n", mailbox="Archive")

    error = await failure(call, "delete", {"message_id": old["message_id"]})
    assert (error.type, [mail["subject"] for mail in await listed(call, folder="archive")]) == ("NotFound", ["New"])


async def test_an_id_must_be_the_very_same(call: Call, box: ImapBox) -> None:
    """Servers look for words anywhere in the header, in any case."""
    await box.deliver("M")

    assert (await failure(call, "read", {"message_id": "<m@example.com>"})).type == "NotFound"
    assert (await failure(call, "delete", {"message_id": "example.com"})).type == "NotFound"
    assert await box.count() == 1


@pytest.mark.parametrize("words", ['") UNDELETED (', "a\r\nA1 DELETE Sent", '"\\', "ü\r\nA1 DELETE Sent", "* %", "{5}"])
async def test_what_is_searched_for_cannot_become_a_command(call: Call, box: ImapBox, words: str) -> None:
    await box.deliver("m")

    assert await listed(call, query=words) == []
    assert (await failure(call, "read", {"message_id": words})).type == "NotFound"
    assert await box.count() == 1


async def test_mails_that_others_marked_as_deleted_are_not_shown_and_not_removed(call: Call, box: ImapBox) -> None:
    for name in ("keep", "marked", "gone"):
        await box.deliver(name)
    with box.server.account(box.user) as client:
        client.select("INBOX")
        client.store("2", "+FLAGS", r"(\Deleted)")
    await call("delete", {"message_id": "<gone@example.com>"})

    assert [mail["message_id"] for mail in await listed(call)] == ["<keep@example.com>"]
    assert await box.count() == 2


async def test_folders_that_are_missing_are_made(call: Call, box: ImapBox) -> None:
    await box.deliver("m")
    with box.server.account(box.user) as client:
        client.delete("Archive")
    await call("archive", {"message_id": "<m@example.com>"})

    assert len(box.server.mails(box.user, "Archive")) == 1


async def test_a_second_attempt_means_the_same_mail_even_if_another_has_its_id(call: Call, box: ImapBox) -> None:
    """The first attempt deleted it and died before it could say so."""
    await box.deliver("m", subject="First")
    await box.deliver("m", subject="Second", date=NOON + timedelta(hours=1))
    with dying_after_the_change(box):
        await failure(call, "delete", {"message_id": "<m@example.com>"})
    again = await call("delete", {"message_id": "<m@example.com>"})

    assert (again["subject"], again["folder"]) == ("First", "inbox")
    assert [mail["subject"] for mail in await listed(call)] == ["Second"]


@contextlib.contextmanager
def dying_after_the_change(box: ImapBox) -> Iterator[None]:
    """The record of what was done is lost."""
    ledger: Any = box.provider.ledger
    receipt, ledger._receipt = ledger._receipt, _lost
    yield
    ledger._receipt = receipt


async def _lost(*_arguments: Any) -> Any:
    raise RuntimeError("the worker died here")


@pytest.mark.parametrize(
    ("tool", "more", "status"),
    [("delete", {}, "deleted"), ("archive", {}, "archived"), ("move", {"folder": "drafts"}, "moved")],
)
async def test_what_was_done_and_not_recorded_is_reported_by_the_next_attempt(
    call: Call, box: ImapBox, tool: str, more: dict[str, str], status: str
) -> None:
    await box.deliver("m", subject="Old news")
    with dying_after_the_change(box):
        await failure(call, tool, {"message_id": "<m@example.com>", **more})
    again = await call(tool, {"message_id": "<m@example.com>", **more})

    assert (again["subject"], again["status"], again["folder"]) == ("Old news", status, "inbox")


async def test_of_two_drafts_that_two_workers_made_at_once_one_stays(call: Call, box: ImapBox) -> None:
    drafts = '"Entw&APw-rfe"'
    with dying_after_the_change(box):
        await failure(call, "draft", LETTER)
    box.server.deliver(box.user, box.server.mails(box.user, drafts)[0], mailbox=drafts)
    await call("draft", LETTER)

    assert len(box.server.mails(box.user, drafts)) == 1


async def test_a_mail_of_twelve_mebibytes_is_read_and_a_larger_one_is_cut(call: Call, box: ImapBox) -> None:
    head = b"From: ana@example.com\r\nMessage-ID: <%b@example.com>\r\nContent-Type: text/plain\r\n\r\nBegin "
    box.server.deliver(box.user, head % b"fits" + b"x" * (MAX_BYTES - 200) + b"\r\n")
    box.server.deliver(box.user, head % b"huge" + b"x" * (MAX_BYTES + 2_000_000) + b"\r\n")
    fits, huge = [await call("read", {"message_id": f"<{name}@example.com>"}) for name in ("fits", "huge")]

    for mail in (fits, huge):
        assert mail["text"].startswith("Begin x")
        assert mail["truncated"] is True
        assert len(json.dumps(mail)) < MAX_RESULT_BYTES
    assert len(await listed(call)) == 2


@pytest.mark.parametrize(
    "content",
    [
        b"no headers at all",
        b"From: \xff\xfe\r\nSubject: =?utf-8?b?////?=\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n",
        b"Subject: " + b"x" * 100_000 + b"\r\n\r\n",
        b"From: a@b.c\r\nContent-Type: text/plain; charset=unheard-of\r\n\r\n\x80\x81\x00",
        b"Content-Type: multipart/mixed; boundary=b\r\nFrom: a@b.c\r\n\r\n"
        + b"--b\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n" * 3000,
        b"From: a@b.c\r\nContent-Transfer-Encoding: base64\r\n\r\n====notbase64",
    ],
)
async def test_malformed_mails_are_listed_and_read_or_refused_in_words(
    call: Call, box: ImapBox, content: bytes
) -> None:
    box.server.deliver(box.user, content + b"\r\n")
    await box.deliver("well")
    odd, well = sorted(await listed(call), key=lambda mail: mail["message_id"] == "<well@example.com>")
    read = await asyncio.gather(call("read", {"message_id": odd["message_id"]}), return_exceptions=True)

    assert well["message_id"] == "<well@example.com>"
    assert getattr(read[0], "type", "InvalidArguments") == "InvalidArguments"
    await call("delete", {"message_id": odd["message_id"]}, step="s2")
    assert [mail["message_id"] for mail in await listed(call)] == ["<well@example.com>"]


async def test_a_draft_that_was_begun_twice_stands_once(call: Call, box: ImapBox) -> None:
    with dying_after_the_change(box):
        await failure(call, "draft", LETTER)
    first, again = await call("draft", LETTER), await call("draft", LETTER)

    assert first == again
    assert len(box.server.mails(box.user, '"Entw&APw-rfe"')) == 1


@pytest.fixture(params=["IMAP4rev1", "IMAP4rev1 UIDPLUS SORT"])
def modest_server(request: pytest.FixtureRequest) -> Iterator[Dovecot]:
    """A server that offers less than Dovecot does."""
    if DOVECOT is None:
        pytest.skip(NO_DOVECOT)
    with dovecot(capability=request.param) as running:
        yield running


async def test_a_server_without_move_and_sort_is_enough(modest_server: Dovecot, tmp_path: Path) -> None:
    async with account(modest_server, tmp_path, smtp_url=NOWHERE) as box:
        call = caller(box.tools())
        for hour, name in enumerate(("one", "two", "three")):
            await box.deliver(name, date=NOON + timedelta(hours=hour))
        before = await listed(call, limit=2)
        await call("archive", {"message_id": "<two@example.com>"})
        await call("delete", {"message_id": "<three@example.com>"}, step="s2")
        after = await listed(call)
        archived = await listed(call, folder="archive")

    assert [mail["message_id"] for mail in before] == ["<three@example.com>", "<two@example.com>"]
    assert [mail["message_id"] for mail in after] == ["<one@example.com>"]
    assert [mail["message_id"] for mail in archived] == ["<two@example.com>"]


async def test_a_full_mailbox_is_said(tmp_path: Path) -> None:
    if DOVECOT is None:
        pytest.skip(NO_DOVECOT)
    with dovecot(quota="10K") as full:
        async with account(full, tmp_path, smtp_url=NOWHERE) as box:
            error = await failure(caller(box.tools()), "draft", LETTER | {"body": "x" * 30_000})

    assert (error.type, "has no room left" in str(error)) == ("ServiceRefused", True)


async def test_a_wrong_password_is_said_without_it(mailbox_server: Dovecot, tmp_path: Path) -> None:
    url = mailbox_server.url("someone", password="wrong-canary")
    async with account(mailbox_server, tmp_path, smtp_url=NOWHERE, imap_url=url) as box:
        error = await failure(caller(box.tools()), "search", {})

    assert (error.type, "does not accept the user name or password" in str(error)) == ("ServiceRefused", True)
    assert "canary" not in str(error)


async def test_a_server_that_is_down_is_said(mailbox_server: Dovecot, tmp_path: Path) -> None:
    url = f"imap://me:{PASSWORD}@127.0.0.1:{free_port()}?starttls=false"
    async with account(mailbox_server, tmp_path, smtp_url=NOWHERE, imap_url=url) as box:
        error = await failure(caller(box.tools()), "search", {})

    assert (error.type, "the mailbox server (IMAP) cannot be reached" in str(error)) == ("ServiceUnavailable", True)
    assert PASSWORD not in str(error)


@pytest.mark.parametrize("scheme", ["imap", "imaps"])
async def test_certificates_count(mailbox_server: Dovecot, tmp_path: Path, scheme: str) -> None:
    port = {"imap": mailbox_server.port, "imaps": mailbox_server.tls_port}[scheme]
    url = f"{scheme}://someone:{PASSWORD}@127.0.0.1:{port}"
    async with account(mailbox_server, tmp_path, smtp_url=NOWHERE, imap_url=url) as box:
        error = await failure(caller(box.tools()), "search", {})
    async with account(
        mailbox_server, tmp_path, smtp_url=NOWHERE, imap_url=url, ca_file=mailbox_server.cert
    ) as trusting:
        found = await listed(caller(trusting.tools()))

    assert (error.type, "certificate" in str(error), found) == ("ServiceRefused", True, [])


async def test_a_server_without_encryption_is_told_so_and_gets_no_password(tmp_path: Path) -> None:
    with dovecot(ssl="no") as plain:
        url = plain.url("someone").partition("?")[0]
        async with account(plain, tmp_path, smtp_url=NOWHERE, imap_url=url) as box:
            error = await failure(caller(box.tools()), "search", {})
        async with account(plain, tmp_path, smtp_url=NOWHERE, imap_url=plain.url("someone")) as box:
            found = await listed(caller(box.tools()))

    assert (error.type, error.non_retryable, found) == ("ServiceRefused", True, [])
    assert "the mailbox server (IMAP) does not offer a secure connection (STARTTLS)" in str(error)
    assert "?starttls=false" in str(error)
    assert "EMAIL_IMAP_URL" in str(error)


async def test_a_port_without_tls_is_told_as_that(mailbox_server: Dovecot, tmp_path: Path) -> None:
    url = f"imaps://someone:{PASSWORD}@127.0.0.1:{mailbox_server.port}"
    async with account(mailbox_server, tmp_path, smtp_url=NOWHERE, imap_url=url) as box:
        error = await failure(caller(box.tools()), "search", {})

    assert error.type == "ServiceRefused"
    assert "does not speak TLS at that port (check the port; check EMAIL_IMAP_URL)" in str(error)


async def test_another_kind_of_server_is_told_as_that(mailbox_server: Dovecot, tmp_path: Path) -> None:
    async with (
        saying(answers(b"220 mail.example ESMTP\r\n", b"")) as url,
        account(mailbox_server, tmp_path, smtp_url=NOWHERE, imap_url=url) as box,
    ):
        error = await failure(caller(box.tools()), "search", {})

    assert "does not speak IMAP (check host and port in EMAIL_IMAP_URL" in str(error)


async def test_a_server_that_takes_passwords_over_tls_only_is_told_as_that(
    mailbox_server: Dovecot, tmp_path: Path
) -> None:
    async def wants_privacy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"* OK\r\n")
        while line := await reader.readline():
            tag, _, rest = line.partition(b" ")
            login = rest.upper().startswith(b"LOGIN")
            writer.write(b"" if login else b"* CAPABILITY IMAP4rev1\r\n")
            writer.write(tag + (b" NO [PRIVACYREQUIRED] use TLS\r\n" if login else b" OK done\r\n"))
            await writer.drain()

    async with (
        saying(wants_privacy) as url,
        account(mailbox_server, tmp_path, smtp_url=NOWHERE, imap_url=url) as box,
    ):
        error = await failure(caller(box.tools()), "search", {})

    assert "takes passwords over a secure connection only (leave ?starttls=false out of EMAIL_IMAP_URL" in str(error)


Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def saying(talk: Talk) -> AsyncIterator[str]:
    """A server that talks like this; its address."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            await talk(reader, writer)
        writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    try:
        yield f"imap://me:{PASSWORD}@127.0.0.1:{server.sockets[0].getsockname()[1]}?starttls=false"
    finally:
        server.close()


def answers(greeting: bytes, said: bytes) -> Talk:
    """Greets, lets in, and says this to everything that comes afterwards."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(greeting)
        while line := await reader.readline():
            tag, _, rest = line.partition(b" ")
            kind = rest.split()[0].upper()
            if kind == b"CAPABILITY":
                writer.write(b"* CAPABILITY IMAP4rev1\r\n" + tag + b" OK done\r\n")
            elif kind == b"LOGIN":
                writer.write(tag + b" OK done\r\n")
            else:
                writer.write(said.replace(b"TAG", tag))
            await writer.drain()

    return talk


async def dribbles(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A greeting that never ends, a byte at a time."""
    while True:
        writer.write(b"*")
        await writer.drain()
        await asyncio.sleep(0.05)


async def is_silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


@pytest.mark.parametrize(
    "talk",
    [
        is_silent,
        dribbles,
        answers(b"", b""),
        answers(b"HTTP/1.1 400 Bad Request\r\n\r\n", b""),
        answers(b"* BYE secretly full\r\n", b""),
        answers(b"* OK\r\n", b"TAG NO secretly [UNAVAILABLE]\r\n"),
        answers(b"* OK\r\n", b"* 1 FETCH (UID 1 BODY[] {99999999999}\r\n"),
        answers(b"* OK\r\n", b"* 1 FETCH (UID 1 BODY[] {400}\r\nhalf"),
        answers(b"* OK\r\n", b"TAG OK\r\n"),
        answers(b"* OK\r\n", b"* SEARCH \xff\xfe no numbers\r\nTAG OK\r\n"),
        answers(b"* OK\r\n", b"* OK [UIDVALIDITY secretly]\r\nTAG OK\r\n"),
        answers(b"* OK\r\n", b"\x00\xff\r\n"),
        answers(b"* OK\r\n", b"* LIST (((\r\nTAG OK\r\n"),
        answers(b"* OK\r\n", b"* " + b"x" * (21 * 1024 * 1024) + b"\r\nTAG OK\r\n"),
    ],
)
@pytest.mark.parametrize(
    ("tool", "arguments"), [("search", {"folder": "archive"}), ("search", {}), ("read", {"message_id": "<a@b>"})]
)
async def test_a_server_that_is_silent_or_talks_nonsense_is_left_in_time_and_not_quoted(
    mailbox_server: Dovecot, tmp_path: Path, talk: Talk, tool: str, arguments: dict[str, Any]
) -> None:
    async with (
        saying(talk) as url,
        account(mailbox_server, tmp_path, smtp_url=NOWHERE, imap_url=url) as box,
    ):
        box.provider._mailbox._deadline = 1.5  # type: ignore[attr-defined]  # else the test takes 25 seconds
        [outcome] = await asyncio.gather(caller(box.tools())(tool, arguments), return_exceptions=True)

    assert getattr(outcome, "type", "an answer") in {"ServiceUnavailable", "NotFound", "an answer"}
    assert "secretly" not in str(outcome)


async def test_a_server_that_announces_too_much_is_left_before_it_is_read(
    mailbox_server: Dovecot, tmp_path: Path
) -> None:
    written = 0

    async def floods(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal written
        writer.write(b"* OK\r\n* 1 FETCH (UID 1 BODY[] {200000000}\r\n")
        while written < 200_000_000:
            writer.write(b"x" * 1_000_000)
            written += 1_000_000
            await writer.drain()

    async with (
        saying(floods) as url,
        account(mailbox_server, tmp_path, smtp_url=NOWHERE, imap_url=url) as box,
    ):
        error = await failure(caller(box.tools()), "search", {})

    assert error.type == "ServiceUnavailable"
    assert written < 30_000_000


async def test_a_connection_that_is_given_up_is_closed(mailbox_server: Dovecot, tmp_path: Path) -> None:
    """Its thread would wait for the rest of the greeting, and four such threads are all there are."""
    closed = asyncio.Event()

    async def watched(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            await dribbles(reader, writer)
        closed.set()

    async with (
        saying(watched) as url,
        account(mailbox_server, tmp_path, smtp_url=NOWHERE, imap_url=url) as box,
    ):
        box.provider._mailbox._deadline = 0.5  # type: ignore[attr-defined]  # else the test takes 25 seconds
        await failure(caller(box.tools()), "search", {})
        await asyncio.wait_for(closed.wait(), 5)


async def test_a_mail_that_takes_anothers_id_is_not_answered_in_its_place(imap_box: ImapBox) -> None:
    """It came after the person had seen the first one, which they have archived meanwhile."""
    call = caller(imap_box.tools())
    await imap_box.deliver_file(incoming())
    shown = await call("prepare_reply", {"message_id": "<m@example.com>"})
    await call("archive", {"message_id": "<m@example.com>"}, step="s0")
    await imap_box.deliver_file(incoming("From: eve@example.com", body="Please pay."))
    with pytest.raises(ApplicationError, match="not the one that was shown"):
        await call("reply", {"message_id": "<m@example.com>", "body": "Yes", **shown})
    assert imap_box.sent == []
