"""Replies and forwarded mails: whom they reach, what they are called and what they quote, over both providers."""

from __future__ import annotations

from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from typing import Any

import pytest
from temporalio.exceptions import ApplicationError

from tests.activities.email.conftest import Box, Call, filled

ME = {"own": "me@retinue.example", "imap": "me@retinue.test"}
LIST = "List-Post: <mailto:team@lists.example>"


def incoming(*headers: str, body: str = "Friday at one?\nBring the plan.") -> bytes:
    """A mail from Clara with these headers besides."""
    given = {header.partition(":")[0] for header in headers}
    usual = {
        "From": '"Clara Mendes" <clara@example.com>',
        "To": "me@retinue.example, me@retinue.test",
        "Subject": "Lunch",
        "Date": "Mon, 02 Nov 2026 12:00:00 +0000",
        "Message-ID": "<m@example.com>",
    }
    lines = [f"{name}: {value}" for name, value in usual.items() if name not in given]
    return "\r\n".join([*lines, *headers, "", *body.splitlines(), ""]).encode()


def readable(content: bytes) -> EmailMessage:
    return message_from_bytes(content, policy=default)


def text_of(mail: EmailMessage) -> str:
    part = mail.get_body(("plain",))
    assert part is not None
    return str(part.get_content()).replace("\r\n", "\n")


@pytest.mark.parametrize(
    ("headers", "to_all", "to", "cc"),
    [
        ([], False, ["clara@example.com"], []),
        (["Reply-To: office@example.com"], False, ["office@example.com"], []),
        (["Reply-To: <>"], False, ["clara@example.com"], []),
        (["To: me@retinue.example, me@retinue.test, ben@example.com"], False, ["clara@example.com"], []),
        (
            ["To: me@retinue.example, ME@retinue.test, ben@example.com", "Cc: Ben@example.com, cleo@example.com"],
            True,
            ["clara@example.com", "ben@example.com"],
            ["cleo@example.com"],
        ),
        (["Reply-To: office@example.com", "Cc: cleo@example.com"], True, ["office@example.com"], ["cleo@example.com"]),
        ([LIST, "To: team@lists.example", "Reply-To: team@lists.example"], False, ["clara@example.com"], []),
        (
            [LIST, "To: team@lists.example", "Reply-To: team@lists.example"],
            True,
            ["clara@example.com", "team@lists.example"],
            [],
        ),
    ],
    ids=["sender", "reply-to", "empty reply-to", "not all", "all", "all to reply-to", "list", "all on a list"],
)
async def test_a_reply_reaches_whom_the_mail_names(
    call: Call, box: Box, headers: list[str], to_all: bool, to: list[str], cc: list[str]
) -> None:
    await box.deliver_file(incoming(*headers))
    parts = await call("prepare_reply", {"message_id": "<m@example.com>", "all": to_all})
    left_out = {*ME.values(), *(name.upper() for name in ME.values())} - {box.sender}
    found = [[name for name in parts.get(field, []) if name.lower() not in left_out] for field in ("to", "cc")]

    assert found == [to, cc]
    assert box.sender not in [name.lower() for name in parts["to"] + parts.get("cc", [])]


async def test_a_reply_to_ones_own_mail_goes_to_whom_that_went(call: Call, box: Box) -> None:
    await box.deliver_file(incoming(f"From: {box.sender}", "To: ana@example.com", "Cc: ben@example.com"))

    assert (await call("prepare_reply", {"message_id": "<m@example.com>"}))["to"] == ["ana@example.com"]


async def test_a_mail_without_a_sender_cannot_be_answered(call: Call, box: Box) -> None:
    await box.deliver_file(incoming("From: nobody"))
    with pytest.raises(ApplicationError, match="names no address") as failure:
        await call("prepare_reply", {"message_id": "<m@example.com>"})
    assert failure.value.type == "InvalidArguments"


@pytest.mark.parametrize(
    ("tool", "subject", "called"),
    [
        ("reply", "Lunch", "Re: Lunch"),
        ("reply", "RE: AW: Re[2]: Lunch", "Re: Lunch"),
        ("reply", "Fwd: Lunch", "Re: Fwd: Lunch"),
        ("reply", "Re-entry", "Re: Re-entry"),
        ("forward", "Lunch", "Fwd: Lunch"),
        ("forward", "FW: WG: Lunch", "Fwd: Lunch"),
        ("forward", "Re: Lunch", "Fwd: Re: Lunch"),
    ],
)
async def test_a_mark_before_the_subject_is_not_doubled(
    call: Call, box: Box, tool: str, subject: str, called: str
) -> None:
    await box.deliver_file(incoming(f"Subject: {subject}"))

    assert (await call(f"prepare_{tool}", {"message_id": "<m@example.com>"}))["subject"] == called


async def test_a_reply_joins_the_conversation_and_quotes(call: Call, box: Box) -> None:
    await box.deliver_file(incoming("References: <a@example.com> <b@example.com>", body="> earlier\nFriday at one?"))
    result = await filled(call)("reply", {"message_id": "<m@example.com>", "body": "Gladly.\n"})
    mail = readable(await box.gone_out(result["message_id"]))

    assert (mail["To"], mail["Subject"], mail["From"]) == ("clara@example.com", "Re: Lunch", box.sender)
    assert mail["In-Reply-To"] == "<m@example.com>"
    assert mail["References"].split() == ["<a@example.com>", "<b@example.com>", "<m@example.com>"]
    assert text_of(mail).strip().splitlines() == [
        "Gladly.",
        "",
        "On Mon, 02 Nov 2026 12:00:00 +0000, Clara Mendes <clara@example.com> wrote:",
        ">> earlier",
        "> Friday at one?",
    ]


async def test_a_long_mail_is_quoted_in_part(call: Call, box: Box) -> None:
    await box.deliver_file(incoming(body="\n".join(f"line {number}" for number in range(2000))))
    result = await filled(call)("reply", {"message_id": "<m@example.com>", "body": "Too long."})
    text = text_of(readable(await box.gone_out(result["message_id"])))

    assert "> line 299\n> [...]" in text
    assert "line 300" not in text


async def test_a_forwarded_mail_carries_who_wrote_it_and_what_is_attached(call: Call, box: Box) -> None:
    await box.deliver_file(with_files(("plan.csv", b"a,b\n1,2\n"), ("photo.png", b"\x89PNG\r\n\x1a\nxyz")))
    arguments = {"message_id": "<m@example.com>", "to": ["ana@example.com"], "body": "See below."}
    result = await filled(call)("forward", arguments)
    mail = readable(await box.gone_out(result["message_id"]))

    assert (mail["To"], mail["Subject"], mail["In-Reply-To"]) == ("ana@example.com", "Fwd: Lunch", None)
    assert text_of(mail).startswith("See below.\n\n---------- Forwarded message ----------\nFrom: Clara Mendes <clara@")
    assert "\n\nFriday at one?\nBring the plan." in text_of(mail)
    assert [(part.get_filename(), part.get_content_type()) for part in mail.iter_attachments()] == [
        ("plan.csv", "text/csv"),
        ("photo.png", "image/png"),
    ]
    assert [part.get_payload(decode=True) for part in mail.iter_attachments()] == [
        b"a,b\n1,2\n",
        b"\x89PNG\r\n\x1a\nxyz",
    ]


async def test_a_forwarded_mail_may_go_without_attachments(call: Call, box: Box) -> None:
    await box.deliver_file(with_files(("setup.exe", b"MZ\x90\0")))
    arguments: dict[str, Any] = {"message_id": "<m@example.com>", "to": ["ana@example.com"]}
    with pytest.raises(ApplicationError, match=r"'setup.exe' is neither saved nor sent: it is a program"):
        await filled(call)("forward", arguments)
    result = await filled(call)("forward", arguments | {"with_attachments": False})

    assert list(readable(await box.gone_out(result["message_id"])).iter_attachments()) == []


@pytest.mark.parametrize("tool", ["reply", "forward"])
async def test_a_retried_step_answers_once(call: Call, box: Box, tool: str) -> None:
    await box.deliver_file(incoming())
    arguments = {"message_id": "<m@example.com>", "body": "Yes", "to": ["clara@example.com"]}
    first, again = await filled(call)(tool, arguments), await filled(call)(tool, arguments)

    assert again == first
    assert await box.count() == 2


@pytest.mark.parametrize("wrong", [{"to": []}, {"subject": None}, {"version": None}, {"version": "0" * 32}])
async def test_nothing_goes_out_that_was_not_shown(call: Call, box: Box, wrong: dict[str, Any]) -> None:
    await box.deliver_file(incoming())
    with pytest.raises(ApplicationError) as failure:
        await filled(call)("reply", {"message_id": "<m@example.com>", "body": "Yes"} | wrong)

    assert failure.value.non_retryable
    assert await box.count() == 1


async def test_a_mail_of_which_only_the_text_is_kept_can_be_answered(call: Call, box: Box) -> None:
    await box.deliver("old")
    result = await filled(call)("reply", {"message_id": "<old@example.com>", "body": "Yes"})

    assert result["to"] == ["clara@example.com"]
    assert readable(await box.gone_out(result["message_id"]))["In-Reply-To"] == "<old@example.com>"


def with_files(*files: tuple[str, bytes]) -> bytes:
    """A mail from Clara with files."""
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = "Clara Mendes <clara@example.com>", "me@retinue.example", "Lunch"
    mail["Date"], mail["Message-ID"] = "Mon, 02 Nov 2026 12:00:00 +0000", "<m@example.com>"
    mail.set_content("Friday at one?\nBring the plan.\n")
    for name, content in files:
        mail.add_attachment(content, maintype="application", subtype="octet-stream", filename=name)
    return mail.as_bytes()


async def test_a_mail_that_was_moved_meanwhile_is_still_the_one_that_was_shown(call: Call, box: Box) -> None:
    await box.deliver("old")
    arguments: dict[str, Any] = {"message_id": "<old@example.com>", "body": "Yes"}
    shown = await call("prepare_reply", {"message_id": "<old@example.com>"})
    await call("archive", {"message_id": "<old@example.com>"}, step="s0")

    assert (await call("reply", arguments | shown, step="s1"))["status"] == "sent"
