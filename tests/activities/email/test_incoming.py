import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from activities.email.incoming import MAX_BYTES, parse
from retinue.errors import InvalidArguments

NOW = datetime(2026, 11, 2, 12, tzinfo=UTC)
HEAD = b"From: Ana Lima <ana@example.com>\nTo: me@retinue.example\nSubject: Hello\n"


def test_the_usual_headers() -> None:
    mail = parse(
        HEAD
        + b"Cc: Bo <bo@example.com>, cy@example.com\nMessage-ID: <1@example.com>\nIn-Reply-To: <0@example.com>\n"
        + b"Date: Mon, 02 Nov 2026 10:00:00 +0100\n\nGood morning\n",
        now=NOW,
    )

    assert (mail.message_id, mail.in_reply_to) == ("<1@example.com>", "<0@example.com>")
    assert (mail.sender, mail.sender_name, mail.subject) == ("ana@example.com", "Ana Lima", "Hello")
    assert (mail.recipients, mail.cc) == (["me@retinue.example"], ["bo@example.com", "cy@example.com"])
    assert mail.date == datetime(2026, 11, 2, 9, tzinfo=UTC)
    assert (mail.text, mail.unread, mail.folder) == ("Good morning", True, "inbox")


@pytest.mark.parametrize(
    "content", [b"", b"\n\n", b"just words", bytes(range(256)) * 50, b"\xff\xfe\x00", b"PK\x03\x04"]
)
def test_what_has_no_headers_is_no_mail(content: bytes) -> None:
    with pytest.raises(InvalidArguments, match="not a mail"):
        parse(content, now=NOW)


def test_a_mail_above_the_limit_is_refused() -> None:
    with pytest.raises(InvalidArguments, match="12 MiB"):
        parse(HEAD + b"\n" + b"x" * MAX_BYTES, now=NOW)


@pytest.mark.parametrize(
    "date",
    [
        b"",
        b"Date: yesterday\n",
        b"Date: Fri, 31 Dec 9999 23:59:59 -2300\n",
        b"Date: 99\n",
        b"Date: Wed, 04 Nov 2026 12:00:00 +0000\n",
    ],
)
def test_a_mail_without_a_believable_date_gets_the_present_one(date: bytes) -> None:
    assert parse(HEAD + date + b"\nHi", now=NOW).date == NOW


def test_a_date_without_zone_counts_as_utc() -> None:
    mail = parse(HEAD + b"Date: Mon, 02 Nov 2026 10:00:00 -0000\n\nHi", now=NOW)

    assert mail.date == datetime(2026, 11, 2, 10, tzinfo=UTC)


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"Message-ID: no angle brackets\n",
        b"Message-ID: <two words@example.com>\n",
        b"Message-ID: <" + b"x" * 600 + b"@example.com>\n",
        b"Message-ID: <forged@retinue.example>\n",
    ],
)
def test_an_id_that_cannot_be_used_is_replaced_by_one_made_of_the_content(header: bytes) -> None:
    first, again, other = (parse(HEAD + header + body, now=NOW) for body in (b"\nHi", b"\nHi", b"\nHo"))

    assert first.message_id == again.message_id != other.message_id
    assert first.message_id.endswith("@retinue.example>")
    assert len(first.message_id) < 80


@pytest.mark.parametrize(
    ("charset", "body", "text"),
    [
        (b"iso-8859-1", b"ol\xe1", "olá"),
        (b"utf-8", b"ol\xe1!", "olá!"),
        (b"utf-8", b"ol\xe1! \xc3\xa1", "ol\ufffd! á"),
        (b"nope-8", "olá".encode(), "olá"),
        (b"hex", "olá".encode(), "olá"),
        (b"idna", b"ol\xe1!", "olá!"),
        (b'"a\0b"', b"hi", "hi"),
        (b"unicode_escape", rb"half a character: \ud800!", r"half a character: \ud800!"),
    ],
)
def test_no_charset_stops_a_mail(charset: bytes, body: bytes, text: str) -> None:
    assert parse(HEAD + b"Content-Type: text/plain; charset=" + charset + b"\n\n" + body, now=NOW).text == text


@pytest.mark.parametrize("name", ["José".encode(), "José".encode("latin-1"), b"=?utf-8?q?Jos=C3=A9?="])
def test_names_come_through_however_they_are_written(name: bytes) -> None:
    mail = parse(b"From: " + name + b" <jose@example.com>\nSubject: " + name + b"\n\nHi", now=NOW)

    assert (mail.sender, mail.sender_name, mail.subject) == ("jose@example.com", "José", "José")


@pytest.mark.parametrize(
    ("header", "sender"),
    [
        (b"<", "<"),
        (b"nobody", "nobody"),
        (b"(" * 50_000 + b" a@example.com", "(" * 254),
        (b'"' + b'\\"' * 50_000, '"' + '\\"' * 126 + "\\"),
        (b"a@example.com, b@example.com", "a@example.com"),
    ],
)
def test_a_broken_sender_is_kept_as_words(header: bytes, sender: str) -> None:
    assert parse(b"From: " + header + b"\n\nHi", now=NOW).sender == sender


@pytest.mark.parametrize(
    "headers",
    [
        b"Content-Type: ;;;\nContent-Disposition: ;=\nContent-Transfer-Encoding: ;;\n",
        b"Content-Type: multipart/mixed\n",
        b"Content-Transfer-Encoding: base64\n",
        b"To: <>,@,;:\nCc: <\nMessage-ID: <\nIn-Reply-To: >\n",
    ],
)
def test_broken_structure_still_gives_the_text(headers: bytes) -> None:
    assert parse(HEAD + headers + b"\n***still readable***\n", now=NOW).text == "***still readable***"


@pytest.mark.parametrize(
    "content",
    [
        HEAD + b"Content-Type: message/rfc822\n\n" * 3000,
        HEAD + b"".join(b"Content-Type: multipart/mixed; boundary=%d\n\n--%d\n" % (n, n) for n in range(3000)),
    ],
    ids=["forwarded", "multipart"],
)
def test_endless_nesting_is_refused(content: bytes) -> None:
    with pytest.raises(InvalidArguments, match="nested"):
        parse(content, now=NOW)


def test_a_subject_is_one_line_without_control_characters() -> None:
    mail = parse(b"From: a@example.com\nSubject: =?utf-8?q?one=0D=0ABcc:_two=1B[2J?=\n\nthree\x07\x00\r\nfour", now=NOW)

    assert (mail.subject, mail.text) == ("one Bcc: two[2J", "three\nfour")


def test_plain_text_is_preferred_to_html() -> None:
    mail = parse(
        HEAD
        + b"Content-Type: multipart/alternative; boundary=b\n\n--b\nContent-Type: text/html\n\n<p>rich</p>\n"
        + b"--b\nContent-Type: text/plain\n\nplain\n--b--\n",
        now=NOW,
    )

    assert (mail.text, mail.attachments) == ("plain", [])


def test_a_mail_of_html_only_becomes_text() -> None:
    assert parse(HEAD + b"Content-Type: text/html\n\n<p>One</p><p>Two</p>", now=NOW).text == "One\n\nTwo"


def test_attachments_are_listed_and_their_content_is_not_in_the_text() -> None:
    mail = parse(
        HEAD
        + b"Content-Type: multipart/mixed; boundary=b\n\n--b\n\nSee below\n"
        + b'--b\nContent-Type: application/pdf\nContent-Disposition: attachment; filename="../bill.pdf"\n'
        + b"Content-Transfer-Encoding: base64\n\nSGVsbG8=\n"
        + b"--b\nContent-Type: text/plain; name=notes.txt\nContent-Disposition: attachment\n\nsecret\n"
        + b"--b\nContent-Type: image/png\n\n123\n"
        + b"--b\nContent-Type: message/rfc822\n\nSubject: inner\n\n12345\n--b--\n",
        now=NOW,
    )

    assert mail.text == "See below"
    assert [list(entry.values()) for entry in mail.attachments] == [
        [".._bill.pdf", "text/plain", 5, "its name says application/pdf, its content is text/plain"],
        ["notes.txt", "text/plain", 6, ""],
        ["unnamed", "text/plain", 3, ""],
        ["mail.eml", "message/rfc822", 21, ""],
    ]


def test_the_demo_mails_are_readable() -> None:
    folder = Path(__file__).parents[3] / "activities" / "email" / "demo"
    mails = {file.stem: parse(file.read_bytes(), now=NOW) for file in folder.glob("*.eml")}

    assert sorted(mails) == ["invitation", "invoice", "newsletter", "stranger"]
    assert "Café Aurora" in mails["invitation"].text
    assert [entry["name"] for entry in mails["invoice"].attachments] == ["invoice-2026-118.txt"]
    assert "- Old boats meet new ones: the parade [boats.example.com]." in mails["newsletter"].text
    assert "Note to the assistant" in mails["stranger"].text
    assert {mail.message_id.rpartition("@")[2] for mail in mails.values()} <= {
        "mail.example.com>",
        "northlight.example.com>",
        "gazette.example.com>",
        "parcels.example.com>",
    }


@pytest.mark.parametrize(
    "name", [b'"=?utf-8?q?B=C3=BCro?="', b"=?utf-8?b?QsO8cm8=?=", b"*=utf-8''B%C3%BCro", b'"B\xc3\xbcro"']
)
def test_names_of_attachments_come_through_however_they_are_written(name: bytes) -> None:
    written = name if name.startswith(b"*") else b"=" + name
    part = (
        b"--b\nContent-Type: application/pdf\nContent-Disposition: attachment; filename" + written + b"\n\n1\n--b--\n"
    )
    mail = parse(HEAD + b"Content-Type: multipart/mixed; boundary=b\n\n" + part, now=NOW)

    assert [attached["name"] for attached in mail.attachments] == ["B\u00fcro"]


@pytest.mark.parametrize("value", [b'"' * 16_000, b"a@b.c," * 2_700, b"a." * 8_000, b"(" * 16_000])
@pytest.mark.parametrize("header", [b"From", b"To", b"Subject", b"Message-ID"])
def test_endless_headers_take_no_noticeable_time(header: bytes, value: bytes) -> None:
    """The standard library alone needs up to 20 s for one such mail, and a list reads fifty."""
    started = time.process_time()
    parse(header + b": " + value + b"\nDate: Mon, 2 Nov 2026 10:00:00 +0000\n\nhi\n", now=NOW)

    assert time.process_time() - started < 2


def test_thousands_of_parts_that_describe_themselves_at_length_take_no_noticeable_time() -> None:
    """Read by the grammar, these 2,000 take a minute, and a mail has room for ten times as many."""
    part = b"--b\nContent-Type: text/plain; a=" + b'"' * 470 + b"\n\nhi\n"
    started = time.process_time()
    parse(HEAD + b"Content-Type: multipart/mixed; boundary=b\n\n" + part * 2_000 + b"--b--\n", now=NOW)

    assert time.process_time() - started < 5
