"""Mails as other programs write them, against the standards and as everybody else reads them."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from activities.email.incoming import MAX_TEXT, parse
from activities.email.mbox import mails_of
from activities.email.settings import EmailSettings
from activities.email.store import MailStore
from activities.email.worker import import_file

NOW = datetime(2026, 11, 2, 12, tzinfo=UTC)
HEAD = b"From: Ana Lima <ana@example.com>\nTo: me@retinue.example\nSubject: Hello\nMessage-ID: <1@example.com>\n"


def _text(content_type: str, body: bytes) -> str:
    return parse(HEAD + f"Content-Type: {content_type}\n\n".encode() + body, now=NOW).text


@pytest.mark.parametrize(
    ("label", "codec", "words"),
    [
        ("gb2312", "gbk", "陳經理明天開會"),
        ("GBK", "gb18030", "朱镕基㐀"),
        ("ks_c_5601-1987", "cp949", "펲시 회의"),
        ("euc-kr", "cp949", "똠방각하"),
        ("shift_jis", "cp932", "①髙橋㈱"),
        ("x-sjis", "cp932", "①髙橋"),
        ("big5", "big5hkscs", "香港㗎"),
        ("iso-8859-1", "cp1252", "5 € – it’s “final”"),
        ("us-ascii", "cp1252", "5 € – “final”"),
        ("us-ascii", "utf-8", "5 € – “final”"),
        ("latin1", "cp1252", "naïve…"),
        ("iso-8859-9", "cp1254", "İstanbul €"),
        ("tis-620", "cp874", "ราคา 5 €"),
        ("windows-31j", "cp932", "髙"),
        ("unicode-1-1-utf-8", "utf-8", "Grüße"),
        ("'utf-8'", "utf-8", "Grüße"),
        ("x-unknown", "cp1252", "Grüße"),
    ],
)
def test_a_label_means_what_it_means_to_browsers(label: str, codec: str, words: str) -> None:
    assert _text(f'text/plain; charset="{label}"', words.encode(codec)) == words


def test_labels_of_encoded_words_and_file_names_mean_the_same() -> None:
    mail = parse(
        b"From: a@example.com\nSubject: =?iso-8859-1?Q?Price_5_=80?= =?gb2312?B?" + b"6pC9m8Dt" + b"?=\n"
        b"Content-Type: application/pdf\nContent-Disposition: attachment; filename*=iso-8859-1''5%20%80.pdf\n\nx",
        now=NOW,
    )

    assert (mail.subject, mail.attachments[0]["name"]) == (
        "Price 5 €" + bytes.fromhex("ea90bd9bc0ed").decode("gbk"),
        "5 €.pdf",
    )


@pytest.mark.parametrize(
    ("content_type", "body", "text"),
    [
        ("text/plain", "Prüfung".encode("cp1252"), "Prüfung"),
        ("text/plain", "Prüfung".encode(), "Prüfung"),
        ("text/plain", b"\xef\xbb\xbf" + "Prüfung".encode(), "Prüfung"),
        ("text/plain; charset=utf-8", "Prüfung für Ö".encode("cp1252"), "Prüfung für Ö"),
        ("text/plain; charset=utf-8", "Prüfung".encode() + b" \xff", "Prüfung \ufffd"),
        ("text/plain; charset=utf-8", "Prüfung ü".encode()[:-1], "Prüfung"),
        ("text/html", '<meta charset="windows-1251"><p>Встреча</p>'.encode("cp1251"), "Встреча"),
        ("text/html", b'<META http-equiv=x content="text/html; charset=gb2312"><p>' + "陳經理".encode("gbk"), "陳經理"),
        ("text/html; charset=utf-8", '<meta charset="windows-1251"><p>Встреча</p>'.encode(), "Встреча"),
        ("text/html", '<meta charset="utf-16"><p>Grüße</p>'.encode(), "Grüße"),
    ],
)
def test_what_names_no_encoding_is_read_all_the_same(content_type: str, body: bytes, text: str) -> None:
    assert _text(content_type, body) == text


def _parts(kind: str, *parts: bytes) -> bytes:
    return (
        f"Content-Type: multipart/{kind}; boundary=b\n\n".encode()
        + b"".join(b"--b\n" + part + b"\n" for part in parts)
        + b"--b--\n"
    )


HTML = b"Content-Type: text/html\n\n<p>We meet on Friday.</p>"
FOOTER = b"Content-Type: text/plain\n\n-- \nList footer"
PLAIN = b"Content-Type: text/plain\n\nWe meet on Friday, plainly."


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (_parts("mixed", HTML, FOOTER), "We meet on Friday.\n\n-- \nList footer"),
        (_parts("mixed", FOOTER, HTML), "-- \nList footer\n\nWe meet on Friday."),
        (_parts("alternative", PLAIN, HTML), "We meet on Friday, plainly."),
        (_parts("alternative", HTML, PLAIN), "We meet on Friday, plainly."),
        (_parts("alternative", b"Content-Type: text/plain\n\n  ", HTML), "We meet on Friday."),
        (_parts("mixed", _parts("alternative", PLAIN, HTML).replace(b"=b", b"=c").replace(b"--b", b"--c"), FOOTER),
         "We meet on Friday, plainly.\n\n-- \nList footer"),
        (_parts("related", HTML, b"Content-Type: image/png\n\n1"), "We meet on Friday."),
    ],
)  # fmt: skip
def test_every_part_that_says_something_is_shown(body: bytes, text: str) -> None:
    assert parse(HEAD + body, now=NOW).text == text


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b'Content-Type: text/plain; name="body.txt"\n\nThe key is here.', "The key is here."),
        (b'Content-Type: text/html; name="body.html"\n\n<p>The key is here.</p>', "The key is here."),
        (b'Content-Disposition: inline; filename="body.txt"\n\nThe key is here.', "The key is here."),
        (b'Content-Disposition: attachment; filename="key.txt"\n\nThe key is here.', "[key.txt]\nThe key is here."),
        (_parts("mixed", b'Content-Type: text/plain; name="body.txt"\n\nThe key is here.', FOOTER), "The key is here.\n\n-- \nList footer"),
        (_parts("mixed", PLAIN, b'Content-Disposition: attachment; filename="key.txt"\n\nsecret'), "We meet on Friday, plainly."),
    ],
)  # fmt: skip
def test_a_text_with_a_name_can_be_read_and_is_listed(body: bytes, text: str) -> None:
    mail = parse(HEAD + body, now=NOW)

    assert (mail.text, len(mail.attachments)) == (text, 1 if b"name=" in body else 0)


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("a<!--[if mso]>x<![endif]--><!--[if !mso]><!-->b<!--<![endif]-->c", "abc"),
        ("a<!--[if !mso]><!-- -->b<!-- <![endif]-->c", "abc"),
        ("a<!--[if gte mso 9]>x<![endif]-->b", "ab"),
        ("a<![if !mso]>b<![endif]>c", "abc"),
        ("a<!-->b", "ab"),
        ("a<!--->b", "ab"),
        ("a<!-- x --!>b", "ab"),
        ("a<!-- x -- > y -->b", "ab"),
    ],
)
def test_comments_hide_what_they_hide_in_browsers(html: str, text: str) -> None:
    assert _text("text/html", html.encode()) == text


@pytest.mark.parametrize(
    ("written", "name", "address"),
    [
        (b"Roe, Mia PhD <mia@example.com>", "Roe, Mia PhD", "mia@example.com"),
        (b"Roe, Mia, MD, PhD <mia@example.com>", "Roe, Mia, MD, PhD", "mia@example.com"),
        (b'"Roe, Mia" <mia@example.com>', "Roe, Mia", "mia@example.com"),
        (b"mia@example.com, bo@example.com", "", "mia@example.com"),
        (b"Team: Mia <mia@example.com>", "Mia", "mia@example.com"),
    ],
)
def test_a_comma_in_a_name_does_not_hide_the_sender(written: bytes, name: str, address: str) -> None:
    mail = parse(b"From: " + written + b"\nSubject: x\n\nHi", now=NOW)

    assert (mail.sender_name, mail.sender) == (name, address)


@pytest.mark.parametrize(
    ("written", "addresses"),
    [
        (b"a@example.com; b@example.com", ["a@example.com", "b@example.com"]),
        (b"Ana <a@example.com>; Bo <b@example.com>;", ["a@example.com", "b@example.com"]),
        (b"Team: a@example.com, b@example.com;", ["a@example.com", "b@example.com"]),
        (b'"Lima; Ana" <a@example.com>', ["a@example.com"]),
        (b"a@example.com, b@example.com", ["a@example.com", "b@example.com"]),
    ],
)
def test_recipients_may_be_separated_by_semicolons(written: bytes, addresses: list[str]) -> None:
    assert parse(b"From: a@example.com\nCc: " + written + b"\n\nHi", now=NOW).cc == addresses


RECEIVED = b"Received: from mx.example.com by mail.example.com; Mon, 02 Nov 2026 09:00:05 +0100 (CET)\n"


@pytest.mark.parametrize(
    ("headers", "hour"),
    [
        (b"Date: 2026-11-02T09:00:00+01:00\n", "08:00:00"),
        (b"Date: 2026-11-02 08:00:00\n", "08:00:00"),
        (b"Date: 2026-11-02T08:00:00Z\n", "08:00:00"),
        (b"Date: Mon, 02 Nov 2026 09:00:00 MEZ\n", "08:00:00"),
        (b"Date: Mon, 02 Nov 2026 09:00:00 +0100 (Mitteleuropaische Zeit)\n", "08:00:00"),
        (RECEIVED + b"Date: gestern\n", "08:00:05"),
        (RECEIVED, "08:00:05"),
        (RECEIVED + b"Date: Mon, 02 Nov 2099 09:00:00 +0100\n", "08:00:05"),
        (b"Date: gestern\n", "12:00:00"),
    ],
)
def test_a_date_in_another_form_is_read_else_a_server_noted_one(headers: bytes, hour: str) -> None:
    assert parse(HEAD + headers + b"\nHi", now=NOW).date == datetime.fromisoformat(f"2026-11-02T{hour}Z")


@pytest.mark.parametrize(
    ("headers", "answered"),
    [
        (b"References: <a@example.com> <b@example.com>\n", "<b@example.com>"),
        (b"References: <a@example.com>\n <b@example.com>\nIn-Reply-To: <a@example.com>\n", "<a@example.com>"),
        (b"References: none\n", None),
    ],
)
def test_references_alone_say_what_is_answered(headers: bytes, answered: str | None) -> None:
    assert parse(HEAD + headers + b"\nHi", now=NOW).in_reply_to == answered


def _mbox(*mails: bytes) -> bytes:
    return b"".join(b"From ana@example.com Mon Nov  2 09:00:00 2026\n" + mail + b"\n\n" for mail in mails)


def _mail(number: int, text: bytes = b"Hi") -> bytes:
    return f"From: ana@example.com\nMessage-ID: <{number}@example.com>\nSubject: Letter {number}\n\n".encode() + text


async def test_every_mail_of_a_file_is_delivered_and_what_is_none_is_named(tmp_path: Path) -> None:
    settings = EmailSettings(database_url=f"sqlite+aiosqlite:///{tmp_path / 'email.db'}")
    path = tmp_path / "folder.mbox"
    path.write_bytes(
        _mbox(_mail(1), _mail(2, b"From here on we walk.\n\n>From the sea"), b"X-Note: none\n\nx", _mail(3))
    )

    first, second = await import_file(path, settings), await import_file(path, settings)

    named = ", 1 left out:\n  - mail 3 of 4: this is not a mail: it has none of the headers that mails begin with"
    assert first == f"3 mails delivered to the inbox, 0 already there{named}"
    assert second == f"0 mails delivered to the inbox, 3 already there{named}"
    mailbox = MailStore(settings.database_url)
    await mailbox.open()
    assert (await mailbox.get("<2@example.com>")).text == "From here on we walk.\n\nFrom the sea"
    await mailbox.close()


@pytest.mark.parametrize(
    "content", [_mail(1, b"Hi\n\nFrom now on\nTo: nobody"), _mail(1, b"\nFrom a@b 09:00\nplain words")]
)
def test_a_mail_that_speaks_of_from_is_one_mail(content: bytes) -> None:
    assert mails_of(content) == [content]
    assert len(mails_of(_mbox(content))) == 1


def test_a_text_that_was_cut_says_so() -> None:
    text = parse(HEAD + b"\n" + b"x" * (MAX_TEXT + 1), now=NOW).text

    assert text == "x" * MAX_TEXT + f"\n[cut: the text has {MAX_TEXT + 1} characters]"


async def test_references_alone_make_a_thread(tmp_path: Path) -> None:
    settings = EmailSettings(database_url=f"sqlite+aiosqlite:///{tmp_path / 'email.db'}")
    path = tmp_path / "folder.mbox"
    path.write_bytes(_mbox(_mail(1), _mail(2).replace(b"Subject", b"References: <1@example.com>\nSubject")))
    await import_file(path, settings)
    mailbox = MailStore(settings.database_url)
    await mailbox.open()

    threads = [await mailbox.thread(f"<{number}@example.com>") for number in (1, 2)]

    assert [{mail.subject for mail in thread} for thread in threads] == [{"Letter 1", "Letter 2"}] * 2
    await mailbox.close()
