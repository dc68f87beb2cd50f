"""Attachments: what they are by their content, what is read of them, kept and sent, over both providers."""

from __future__ import annotations

import io
import zipfile
from datetime import UTC, datetime
from typing import Any

import pytest
from temporalio.exceptions import ApplicationError

from activities.email import files
from activities.email.filetypes import problem_of, type_of, warning_of
from activities.email.incoming import AttachedFile, attached_files, parse
from tests.activities.email.conftest import Box, Call, filled
from tests.activities.email.test_replying import readable, with_files

MAIL = "<m@example.com>"
PNG = b"\x89PNG\r\n\x1a\n0000"
PROGRAM = b"MZ\x90\0\x03\0\0\0"


def archive(*names: str, mimetype: str = "") -> bytes:
    """A zip file with these names in it, the same at any time: ids of tests are made of it."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as written:
        if mimetype:
            written.writestr(zipfile.ZipInfo("mimetype"), mimetype)
        for name in names:
            written.writestr(zipfile.ZipInfo(name), "x")
    return content.getvalue()


WORD = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
ODT = "application/vnd.oasis.opendocument.text"


@pytest.mark.parametrize(
    ("content", "name", "kind"),
    [
        (b"%PDF-1.7\n", "a.pdf", "application/pdf"),
        (PNG, "a.txt", "image/png"),
        (b"\xff\xd8\xff\xe0", "a", "image/jpeg"),
        (b"RIFF0000WEBPVP8 ", "a", "image/webp"),
        (archive("a.txt"), "a.zip", "application/zip"),
        (archive("[Content_Types].xml", "word/document.xml"), "a.docx", WORD),
        (archive("content.xml", mimetype=ODT), "a.odt", ODT),
        (archive("content.xml", mimetype="text/html; obey"), "a.odt", "application/zip"),
        (b"PK\x03\x04 not an archive", "a.zip", "application/zip"),
        (PROGRAM, "a.pdf", "application/x-executable"),
        (b"\x7fELF\x02", "a.txt", "application/x-executable"),
        (b"#!/bin/sh\n", "a.txt", "text/x-script"),
        (b"a;b\n1;2\n", "a.csv", "text/csv"),
        (b"<!DOCTYPE html><p>Hi", "a.txt", "text/html"),
        (b"BEGIN:VCALENDAR\r\n", "a.ics", "text/calendar"),
        (b"{}", "a.json", "application/json"),
        ("ol\u00e1".encode("utf-16"), "a.txt", "text/plain"),
        (b"BM is a text", "a.txt", "text/plain"),
        (b"\0\1\2\3", "a.txt", "application/octet-stream"),
        (b"", "a.pdf", "text/plain"),
    ],
)
def test_a_file_is_what_its_content_says(content: bytes, name: str, kind: str) -> None:
    assert type_of(content, name) == kind


@pytest.mark.parametrize(
    ("content", "name", "problem"),
    [
        (PROGRAM, "holiday.jpg", "it is a program"),
        (b"#!/usr/bin/env python\n", "notes.txt", "it is a program"),
        (b"hello", "notes.txt.exe", "its name ends in .exe, as programs' do"),
        (b"hello", "notes.SCR . ", "its name ends in .scr, as programs' do"),
        (archive("readme.txt", "in/setup.exe"), "files.zip", "it holds a program (.exe)"),
        (archive(*map(str, range(20_000)), "setup.exe"), "files.zip", "it holds too many files to look through"),
        (archive("readme.txt"), "files.zip", ""),
        (b"hello", "notes.txt", ""),
        (b"hello", "exe", ""),
    ],
)
def test_a_program_is_recognised_however_it_is_called(content: bytes, name: str, problem: str) -> None:
    assert problem_of(content, name) == problem


@pytest.mark.parametrize(
    ("content", "name", "warning"),
    [
        (PNG, "bill.pdf", "its name says application/pdf, its content is image/png"),
        (b"<html><script>", "bill.pdf", "its name says application/pdf, its content is text/html"),
        (archive("[Content_Types].xml", "word/document.xml"), "letter.docm", "it may hold macros"),
        (PNG, "photo.png", ""),
        (PNG, "photo", ""),
        (b"hello", "notes.md", ""),
        (b"a,b\n", "table.csv", ""),
    ],
)
def test_what_is_odd_about_a_file_is_said(content: bytes, name: str, warning: str) -> None:
    assert warning_of(content, name) == warning


async def test_a_mail_lists_its_attachments(call: Call, box: Box) -> None:
    await box.deliver_file(with_files(("plan.csv", b"a,b\n"), ("holiday.jpg", PROGRAM)))
    found = (await call("read", {"message_id": MAIL}))["attachments"]

    assert [(each["number"], each["name"], each["content_type"], each["size"]) for each in found] == [
        (1, "plan.csv", "text/csv", 4),
        (2, "holiday.jpg", "application/x-executable", 8),
    ]
    assert [each.get("warning", "") for each in found] == ["", "it is a program"]


@pytest.mark.parametrize(
    ("name", "content", "text"),
    [
        ("plan.csv", "a;\u00e9\r\n1;2\r\n".encode("cp1252"), "a;\u00e9\n1;2\n"),
        ("page.html", b"<html><p>Hello <b>you</b><script>x</script>", "Hello you"),
        ("invite.ics", b"BEGIN:VCALENDAR\r\nEND:VCALENDAR\r\n", "BEGIN:VCALENDAR\nEND:VCALENDAR\n"),
        ("mail.eml", b"From: eve@example.com\r\nSubject: Hi\r\n\r\nHello\r\n", "Hello"),
        ("notes.txt", b"\x1b[2Jhello", "[2Jhello"),
    ],
)
async def test_a_text_that_is_attached_can_be_read(call: Call, box: Box, name: str, content: bytes, text: str) -> None:
    await box.deliver_file(with_files(("photo.png", PNG), (name, content)))
    by_number = await call("read_attachment", {"message_id": MAIL, "number": 2})
    by_name = await call("read_attachment", {"message_id": MAIL, "name": name[:4].upper()})

    assert by_number == by_name
    assert (by_number["text"], by_number["size"]) == (text, len(content))


async def test_a_long_text_is_cut(call: Call, box: Box) -> None:
    await box.deliver_file(with_files(("long.txt", b"x" * 100_000)))
    found = await call("read_attachment", {"message_id": MAIL})

    assert (len(found["text"]), found["truncated"]) == (30_000, True)


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        ({"number": 1}, "'photo.png' is image/png; only texts"),
        ({"number": 3}, "this mail has 2 attachments, and not that one"),
        ({"name": "p"}, "2 attachments of this mail have such a name"),
        ({"name": "bill"}, "this mail has 2 attachments, and not that one"),
    ],
)
async def test_what_cannot_be_read_is_said(call: Call, box: Box, wish: dict[str, Any], said: str) -> None:
    await box.deliver_file(with_files(("photo.png", PNG), ("plan.csv", b"a,b\n")))
    with pytest.raises(ApplicationError, match=said):
        await call("read_attachment", {"message_id": MAIL, **wish})


async def test_a_saved_file_is_listed_read_sent_and_deleted(call: Call, box: Box) -> None:
    await box.deliver_file(with_files(("plan.csv", b"a,b\n1,2\n")))
    saved = await call("save_attachment", {"message_id": MAIL})
    listed = (await call("list_files", {"query": "PLAN"}))["files"]
    text = (await call("read_attachment", {"file_id": saved["file_id"]}))["text"]
    wanted = {
        "to": ["ana@example.com"],
        "subject": "Plan",
        "body": "Here",
        "attachments": [{"file_id": saved["file_id"]}],
    }
    sent = await filled(call)("send", wanted, step="s2")
    deleted = await call("delete_file", {"file_id": saved["file_id"]}, step="s3")

    assert (saved["name"], saved["content_type"], saved["size"]) == ("plan.csv", "text/csv", 8)
    assert [each["file_id"] for each in listed] == [saved["file_id"]]
    assert text == "a,b\n1,2\n"
    [part] = readable(await box.gone_out(sent["message_id"])).iter_attachments()
    assert (part.get_filename(), part.get_payload(decode=True)) == ("plan.csv", b"a,b\n1,2\n")
    assert deleted["name"] == "plan.csv"
    assert (await call("list_files", {})).get("files", []) == []


async def test_the_same_file_is_kept_once_and_an_undo_of_the_second_save_leaves_it(call: Call, box: Box) -> None:
    await box.deliver_file(with_files(("plan.csv", b"a,b\n")))
    first = await call("save_attachment", {"message_id": MAIL}, step="s1")
    second = await call("save_attachment", {"message_id": MAIL}, step="s2")
    await call("delete_file", {"file_id": second["file_id"], "saved": second["saved"]}, step="s3")
    listed = (await call("list_files", {}))["files"]

    assert (first.get("saved", True), second["saved"]) == (True, False)
    assert [each["file_id"] for each in listed] == [first["file_id"]] == [second["file_id"]]


async def test_what_is_attached_must_be_what_was_shown(call: Call, box: Box) -> None:
    await box.deliver_file(with_files(("plan.csv", b"a,b\n")))
    wanted = {"to": ["ana@example.com"], "subject": "x", "body": "x", "attachments": [{"message_id": MAIL}]}
    for step, attached in (("s1", []), ("s2", ["a harmless picture"])):
        with pytest.raises(ApplicationError, match="not those that were shown"):
            await call("send", wanted | {"attached": attached}, step=step)
    assert await box.count() == 1


@pytest.mark.parametrize("tool", ["save_attachment", "describe_attachments"])
async def test_a_program_is_neither_saved_nor_sent(call: Call, box: Box, tool: str) -> None:
    await box.deliver_file(with_files(("holiday.jpg", PROGRAM)))
    wish = {"message_id": MAIL}
    with pytest.raises(ApplicationError, match=r"'holiday\.jpg' is neither saved nor sent: it is a program") as failure:
        await call(tool, {"attachments": [wish]} if tool == "describe_attachments" else wish)
    assert failure.value.type == "InvalidArguments"


@pytest.mark.parametrize(
    "ref",
    [
        {},
        {"file_id": "a", "message_id": MAIL},
        {"path": "/etc/passwd"},
        {"number": 0},
        {"file_id": "../../email.db"},
        {"file_id": "/etc/passwd"},
    ],
)
async def test_an_attachment_is_a_file_of_ones_own_or_a_mails_and_no_path(call: Call, ref: dict[str, Any]) -> None:
    with pytest.raises(ApplicationError) as failure:
        await call("describe_attachments", {"attachments": [ref]})
    assert failure.value.type in ("InvalidArguments", "NotServedHere", "NotFound")


async def test_what_is_too_large_or_too_much_is_said(call: Call, box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    await box.deliver_file(with_files(("a.txt", b"x" * 2000), ("b.txt", b"y" * 2000)))
    both = [{"message_id": MAIL, "number": number} for number in (1, 2)]
    monkeypatch.setattr(files, "LARGEST", 3000)
    with pytest.raises(ApplicationError, match=r"the files have 3\.9 KiB together; at most 2\.9 KiB"):
        await call("describe_attachments", {"attachments": both})
    monkeypatch.setattr(files, "MOST_SAVED", 1)
    await call("save_attachment", both[0])
    with pytest.raises(ApplicationError, match=r"1 files with 2\.0 KiB are saved, and there is no room for more"):
        await call("save_attachment", both[1], step="s2")


async def test_an_attachment_of_which_only_the_name_was_kept_is_said_to_be_gone(box: Box, call: Call) -> None:
    """Mails from before attachments were kept name them still; on a server nothing is missing."""
    await box.deliver("old", attachments=[{"name": "a.txt", "content_type": "text/plain", "size": 3}])
    with pytest.raises(ApplicationError, match=r"only its text was kept|nothing is attached"):
        await call("read_attachment", {"message_id": "<old@example.com>"})


@pytest.mark.parametrize(
    "content",
    [
        b"From: a@example.com\nContent-Type: message/rfc822\n\nContent-Type: \xff\xfe\nSubject: =?x?b?\xff?=\n\nhi\n",
        b"From: a@example.com\nContent-Type: application/zip; name=\xff.zip\n\nPK\x03\x04\xff\n",
        b"From: a@example.com\nContent-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: image/png\n\n",
    ],
)
def test_broken_attachments_are_listed_like_any(content: bytes) -> None:
    listed = parse(content, now=datetime(2026, 11, 2, tzinfo=UTC)).attachments
    assert [(each["name"], each["size"]) for each in listed] == [
        (file.name, len(file.content)) for file in attached_files(content)
    ]


def test_a_file_s_id_is_made_of_its_name_and_its_content() -> None:
    one, same, renamed = AttachedFile("a", b"bc"), AttachedFile("a", b"bc"), AttachedFile("ab", b"c")
    assert files.id_of(one) == files.id_of(same) != files.id_of(renamed)
