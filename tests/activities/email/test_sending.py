"""Sending over SMTP when the server refuses, breaks off, is slow or lies: what counts is whether the mail is out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from email import message_from_bytes
from email.policy import default
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult
from temporalio.exceptions import ApplicationError

from activities.email.models import OutboxState
from tests.activities.email.conftest import Call, ImapBox, Taking, account, as_file, caller, described, insisting
from tests.activities.email.mail_servers import (
    PASSWORD,
    Conversation,
    Dovecot,
    HangUpError,
    Hook,
    Sink,
    certificates,
    sink,
)
from tests.activities.email.test_invitations import MAIL, calendar, inviting
from workers.temporal_server import free_port

LETTER: dict[str, Any] = {"to": ["ana@example.com"], "subject": "Lunch", "body": "Friday at one?\n.\n..hidden\n"}
Account = Callable[..., AbstractAsyncContextManager[ImapBox]]


@pytest.fixture
async def post(mailbox_server: Dovecot) -> AsyncIterator[Sink]:
    async with sink() as running:
        yield running


@pytest.fixture
async def post_box(mailbox_server: Dovecot, post: Sink, tmp_path: Path) -> AsyncIterator[ImapBox]:
    """An account whose mails go to the sink."""
    async with account(mailbox_server, tmp_path, smtp_url=post.url(), settle_seconds=1) as box:
        yield box


@pytest.fixture
def call(post_box: ImapBox) -> Call:
    return caller(post_box.tools())


def answering(at: str, said: str | None) -> Hook:
    """A hook that answers with these words at one point, or hangs up there."""

    async def hook(point: str, conversation: Conversation) -> str | None:
        if point != at:
            return None
        if said is None:
            raise HangUpError
        return said

    return hook


async def failure(call: Call, tool: str = "send", arguments: Any = LETTER, **step: str) -> ApplicationError:
    with pytest.raises(ApplicationError) as caught:
        await call(tool, arguments, **step)
    return caught.value


async def test_a_mail_goes_out_as_it_was_written_and_a_copy_is_kept(call: Call, post: Sink, post_box: ImapBox) -> None:
    written = {
        "to": ["ana@example.com"],
        "cc": ["bo@example.com", "ana@example.com"],
        "subject": "Zürich — ☀",
        "body": "é",
    }
    result = await call("send", written)
    [(recipients, content)] = post.taken
    mail = message_from_bytes(content, policy=default)

    assert recipients == ["ana@example.com", "bo@example.com"]
    assert (mail["From"], mail["To"], mail["Subject"]) == (post_box.sender, "ana@example.com", "Zürich — ☀")
    assert (mail["Message-ID"], mail.get_content().strip(), "Bcc" in mail) == (result["message_id"], "é", False)
    assert content.isascii()
    assert (result["delivery"], result["sent_copy"]) == ("smtp", "kept")
    assert post_box.server.mails(post_box.user, "Sent") == [content]


async def test_lines_that_begin_with_dots_arrive_as_they_were(call: Call, post: Sink) -> None:
    await call("send", LETTER)

    assert str(message_from_bytes(post.taken[0][1]).get_payload()).splitlines() == LETTER["body"].splitlines()


async def test_a_retried_step_sends_once_and_keeps_one_copy(call: Call, post: Sink, post_box: ImapBox) -> None:
    first, again = await call("send", LETTER), await call("send", LETTER)

    assert again == first
    assert (len(post.taken), len(post_box.server.mails(post_box.user, "Sent"))) == (1, 1)


async def test_twenty_attempts_at_once_send_one_mail(call: Call, post: Sink, post_box: ImapBox) -> None:
    await asyncio.gather(*(insisting(call)("send", LETTER) for _ in range(20)))

    assert (len(post.taken), len(post_box.server.mails(post_box.user, "Sent"))) == (1, 1)


@pytest.mark.parametrize("point", ["greeting", "EHLO", "AUTH", "MAIL", "RCPT", "DATA", "body"])
async def test_a_connection_lost_before_the_dot_means_that_nothing_was_sent(call: Call, post: Sink, point: str) -> None:
    post.hook = answering(point, None)
    error = await failure(call)
    post.hook = Sink().hook
    result = await call("send", LETTER)

    assert (error.type, error.non_retryable) == ("ServiceUnavailable", False)
    assert (result["status"], len(post.taken)) == ("sent", 1)


@pytest.mark.parametrize("point", ["MAIL", "RCPT", "DATA", "dot"])
@pytest.mark.parametrize(
    ("said", "kind", "final"),
    [
        ("452 disk full, said secretly", "ServiceBusy", False),
        ("421 later, said secretly", "ServiceBusy", False),
        ("454 whatever, said secretly", "ServiceUnavailable", False),
        ("552 too big, said secretly", "ServiceRefused", True),
        ("554 spam, said secretly", "ServiceRefused", True),
    ],
)
async def test_a_refusal_means_that_nothing_was_sent_and_says_why(
    call: Call, post: Sink, point: str, said: str, kind: str, final: bool
) -> None:
    post.hook = answering(point, said)
    error = await failure(call)
    post.hook = Sink().hook
    await call("send", LETTER)

    assert (error.type, error.non_retryable) == (kind, final)
    assert f"SMTP {said[:3]}" in str(error)
    assert "nothing was sent" in str(error)
    assert "secretly" not in str(error)
    assert len(post.taken) == 1


async def test_one_refused_recipient_stops_the_mail_for_all_and_is_named(call: Call, post: Sink) -> None:
    async def hook(point: str, conversation: Conversation) -> str | None:
        return "550 no such bo" if point == "RCPT" and len(conversation.recipients) == 2 else None

    post.hook = hook
    error = await failure(call, arguments=LETTER | {"to": ["ana@example.com", "bo@example.com"]})

    assert "does not take mail for bo@example.com (SMTP 550); nothing was sent to anybody" in str(error)
    assert "ana@example.com" not in str(error)
    assert post.taken == []


@pytest.mark.parametrize("said", [None, "nonsense", "999 what"])
async def test_a_reply_that_is_lost_after_the_dot_is_never_followed_by_a_second_mail(
    call: Call, post: Sink, said: str | None
) -> None:
    """The mail is out. Nothing shows it, so the step ends in the dark, however often it is tried."""
    post.hook = answering("dot", said)
    post.taken.clear()
    error = await failure(insisting(call))
    post.hook = Sink().hook
    later = await failure(insisting(call))

    assert (error.type, later.type) == ("OutcomeUnknown", "OutcomeUnknown")
    assert error.non_retryable
    assert len(post.taken) == (said is None)


async def test_a_repeat_that_the_person_wished_is_the_same_mail_with_the_same_id(call: Call, post: Sink) -> None:
    """So that a receiver who has the first one can tell."""
    post.hook = answering("dot", None)
    await failure(insisting(call))
    post.hook = Sink().hook
    result = await call("send", LETTER, step="s1~1")
    (_, first), (_, second) = post.taken

    assert message_from_bytes(second)["Message-ID"] == result["message_id"]
    assert second == first


@pytest.mark.parametrize(
    ("step", "other"), [("s2", "s1"), ("s1~1", "s2~1")], ids=["another step", "a repeat of another step"]
)
async def test_another_step_is_another_mail(call: Call, post: Sink, step: str, other: str) -> None:
    await call("send", LETTER, step=step)
    await call("send", LETTER, step=other)
    assert len({message_from_bytes(content)["Message-ID"] for _, content in post.taken}) == 2


async def test_a_mail_that_stands_in_sent_was_sent(call: Call, post: Sink, post_box: ImapBox) -> None:
    """Some servers file what they send. What they file is found after a lost reply, and no second copy is made."""

    async def hook(point: str, conversation: Conversation) -> str | None:
        if point == "dot":
            await asyncio.to_thread(post_box.server.deliver, post_box.user, conversation.content, mailbox="Sent")
            raise HangUpError
        return None

    post.hook = hook
    result = await insisting(call)("send", LETTER)

    assert (result["status"], result["sent_copy"]) == ("sent", "kept")
    assert (len(post.taken), len(post_box.server.mails(post_box.user, "Sent"))) == (1, 1)


async def test_a_note_to_self_that_came_to_the_inbox_was_sent(call: Call, post: Sink, post_box: ImapBox) -> None:
    async def hook(point: str, conversation: Conversation) -> str | None:
        if point == "dot":
            await asyncio.to_thread(post_box.server.deliver, post_box.user, conversation.content)
            raise HangUpError
        return None

    post.hook = hook
    result = await insisting(call)("notify_self", {"subject": "Reminder", "body": "Now"})

    assert (result["status"], len(post.taken), post.taken[0][0]) == ("sent", 1, [post_box.sender])
    assert message_from_bytes(post.taken[0][1])["Auto-Submitted"] == "auto-generated"


async def test_a_copy_that_cannot_be_kept_does_not_undo_the_sending_and_is_made_later(
    mailbox_server: Dovecot, post: Sink, tmp_path: Path
) -> None:
    gone = f"imap://me:secret@127.0.0.1:{free_port()}?starttls=false"
    database = {"database_url": f"sqlite+aiosqlite:///{tmp_path}/one.db"}
    async with account(mailbox_server, tmp_path, smtp_url=post.url(), imap_url=gone, **database) as broken:
        first = await caller(broken.tools())("send", LETTER)
    async with account(mailbox_server, tmp_path, smtp_url=post.url(), **database) as working:
        again = await caller(working.tools())("send", LETTER)
        states = await working.outbox.state("w1/s1")
        copies = working.server.mails(working.user, "Sent")

    assert (first["status"], first["sent_copy"], again["sent_copy"]) == ("sent", "missing", "kept")
    assert (states, copies, len(post.taken)) == (OutboxState.FILED, [post.taken[0][1]], 1)


async def test_a_reply_joins_the_conversation_of_the_mail_that_it_answers(
    call: Call, post: Sink, post_box: ImapBox
) -> None:
    content = as_file(described("question")).replace(b"Content-Type", b"References: <a@x>\r\n <b@x>\r\nContent-Type", 1)
    post_box.server.deliver(post_box.user, content)
    await call("send", LETTER | {"in_reply_to": "<question@example.com>"})
    await call("send", LETTER | {"in_reply_to": "<elsewhere@example.com>"}, step="s2")
    known, unknown = (message_from_bytes(content) for _, content in post.taken)

    assert (known["In-Reply-To"], known["References"].split()) == (
        "<question@example.com>",
        ["<a@x>", "<b@x>", "<question@example.com>"],
    )
    assert (unknown["In-Reply-To"], unknown["References"]) == ("<elsewhere@example.com>", "<elsewhere@example.com>")


async def test_what_a_reply_names_cannot_become_a_header(call: Call, post: Sink) -> None:
    await call("send", LETTER | {"in_reply_to": "<a@x>\r\nBcc: eve@example.com"})
    mail = message_from_bytes(post.taken[0][1])

    assert (mail["In-Reply-To"], mail["Bcc"], post.taken[0][0]) == (None, None, ["ana@example.com"])


async def test_a_slow_server_is_left_before_the_dot(mailbox_server: Dovecot, tmp_path: Path) -> None:
    async def hook(point: str, conversation: Conversation) -> str | None:
        if point == "RCPT":
            await asyncio.sleep(30)
        return None

    async with sink(hook=hook) as slow, account(mailbox_server, tmp_path, smtp_url=slow.url()) as box:
        box.provider._submission._before = 0.5  # type: ignore[attr-defined]  # else the test takes 40 seconds
        error = await failure(caller(box.tools()))

    assert (error.type, "did not answer in time" in str(error)) == ("ServiceUnavailable", True)


async def test_a_server_that_is_down_is_said_without_its_password(mailbox_server: Dovecot, tmp_path: Path) -> None:
    url = f"smtp://me:{PASSWORD}@127.0.0.1:{free_port()}?starttls=false"
    async with account(mailbox_server, tmp_path, smtp_url=url) as box:
        error = await failure(caller(box.tools()))

    assert error.type == "ServiceUnavailable"
    assert "the outgoing mail server (SMTP) cannot be reached" in str(error)
    assert PASSWORD not in str(error)


async def test_a_wrong_password_is_tried_once_and_not_repeated(
    mailbox_server: Dovecot, post: Sink, tmp_path: Path
) -> None:
    asked: list[str] = []

    async def hook(point: str, conversation: Conversation) -> str | None:
        asked.append(point)
        return None

    post.hook, post.extensions = hook, ("AUTH PLAIN LOGIN CRAM-MD5",)
    async with account(mailbox_server, tmp_path, smtp_url=post.url(password="wrong-canary")) as box:
        error = await failure(caller(box.tools()))

    assert (error.type, error.non_retryable, asked.count("AUTH")) == ("ServiceRefused", True, 1)
    assert "does not accept the user name or password" in str(error)
    assert "canary" not in str(error)


@pytest.mark.parametrize(
    ("point", "said", "told"),
    [
        ("AUTH", "538 5.7.11 Encryption required", "takes passwords over a secure connection only"),
        ("MAIL", "530 5.7.0 Must issue a STARTTLS command first", "wants a log-in or a secure connection first"),
    ],
)
async def test_a_server_that_wants_encryption_is_told_as_that(
    mailbox_server: Dovecot, post: Sink, tmp_path: Path, point: str, said: str, told: str
) -> None:
    post.hook, post.extensions = answering(point, said), ("AUTH PLAIN",)
    async with account(mailbox_server, tmp_path, smtp_url=post.url()) as box:
        error = await failure(caller(box.tools()))

    assert error.type == "ServiceRefused"
    assert told in str(error)
    assert "?starttls=false" in str(error)
    assert "user name or password" not in str(error)


async def test_a_server_without_starttls_gets_no_password(mailbox_server: Dovecot, post: Sink, tmp_path: Path) -> None:
    asked: list[str] = []

    async def hook(point: str, conversation: Conversation) -> str | None:
        asked.append(point)
        return None

    post.hook = hook
    url = post.url().partition("?")[0]
    async with account(mailbox_server, tmp_path, smtp_url=url) as box:
        error = await failure(caller(box.tools()))

    assert (error.type, "STARTTLS" in str(error), "AUTH" in asked) == ("ServiceRefused", True, False)
    assert "?starttls=false at its end allows plain text, on this machine" in str(error)


@pytest.fixture
def tls_files(tmp_path: Path) -> tuple[Path, Path]:
    return certificates(tmp_path)


@pytest.fixture
def tls_post(tls_files: tuple[Path, Path]) -> Any:
    """aiosmtpd that wants STARTTLS and a password."""
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*tls_files)

    def authenticate(server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
        return AuthResult(success=(data.login, data.password) == (b"me", PASSWORD.encode()))

    controller = Controller(
        Taking(),
        hostname="127.0.0.1",
        port=free_port(),
        tls_context=context,
        require_starttls=True,
        authenticator=authenticate,
        auth_required=True,
    )
    controller.start()
    yield controller
    controller.stop()


async def test_mails_go_out_over_starttls_with_a_password(
    mailbox_server: Dovecot, tls_post: Any, tls_files: tuple[Path, Path], tmp_path: Path
) -> None:
    url = f"smtp://me:{PASSWORD}@127.0.0.1:{tls_post.port}"
    async with account(mailbox_server, tmp_path, smtp_url=url, ca_file=tls_files[0]) as box:
        result = await caller(box.tools())("send", LETTER)

    assert (result["status"], len(tls_post.handler.taken)) == ("sent", 1)


async def test_a_certificate_that_nobody_vouches_for_is_refused(
    mailbox_server: Dovecot, tls_post: Any, tmp_path: Path
) -> None:
    url = f"smtp://me:{PASSWORD}@127.0.0.1:{tls_post.port}"
    async with account(mailbox_server, tmp_path, smtp_url=url) as box:
        error = await failure(caller(box.tools()))

    assert (error.type, "certificate" in str(error)) == ("ServiceRefused", True)
    assert tls_post.handler.taken == []


async def test_a_server_that_speaks_no_tls_where_tls_is_wanted_is_refused(
    mailbox_server: Dovecot, post: Sink, tmp_path: Path
) -> None:
    url = f"smtps://me:{PASSWORD}@127.0.0.1:{post.port}"
    async with account(mailbox_server, tmp_path, smtp_url=url) as box:
        error = await failure(caller(box.tools()))

    assert (error.type, "TLS" in str(error)) == ("ServiceRefused", True)


WRITTEN = ["reply", "forward", "answer_invitation", "invite"]


async def prepared(call: Call, box: ImapBox, tool: str) -> dict[str, Any]:
    """The arguments of a mail that stands on another one, as a run has filled them in."""
    box.server.deliver(box.user, inviting(calendar("ORGANIZER:mailto:clara@example.com")))
    own = calendar("ORGANIZER:invalid:nomail")
    kinds: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
        "reply": ("prepare_reply", {"message_id": MAIL}, {"body": "Gladly"}),
        "forward": ("prepare_forward", {"message_id": MAIL}, {"to": ["ana@example.com"]}),
        "answer_invitation": ("prepare_answer", {"message_id": MAIL, "answer": "accept"}, {}),
        "invite": ("prepare_invitation", {"invitation": own}, {"to": ["ana@example.com"]}),
    }
    reader, known, more = kinds[tool]
    return {**await call(reader, known, step="s0"), **known, **more}


@pytest.mark.parametrize("tool", WRITTEN)
async def test_many_attempts_at_once_write_one_mail_of_every_kind(
    call: Call, post: Sink, post_box: ImapBox, tool: str
) -> None:
    arguments = await prepared(call, post_box, tool)
    results = await asyncio.gather(*(insisting(call)(tool, arguments) for _ in range(8)))

    assert {result["message_id"] for result in results} == {results[0]["message_id"]}
    assert (len(post.taken), len(post_box.server.mails(post_box.user, "Sent"))) == (1, 1)


@pytest.mark.parametrize("tool", WRITTEN)
async def test_a_lost_answer_is_looked_for_whatever_was_sent(
    call: Call, post: Sink, post_box: ImapBox, tool: str
) -> None:
    """The mail that it stands on is gone meanwhile, which does not matter any more."""
    arguments = await prepared(call, post_box, tool)
    post.hook = answering("dot", None)
    lost = await failure(insisting(call), tool, arguments)
    await call("delete", {"message_id": MAIL}, step="s5")
    [(_, content)] = post.taken
    post_box.server.deliver(post_box.user, content, mailbox="Sent")
    post.hook = Sink().hook
    result = await insisting(call)(tool, arguments)

    assert lost.type == "OutcomeUnknown"
    assert (result["status"], result["message_id"]) == ("sent", message_from_bytes(content)["Message-ID"])
    assert (len(post.taken), len(post_box.server.mails(post_box.user, "Sent"))) == (1, 1)
