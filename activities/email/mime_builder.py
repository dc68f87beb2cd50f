"""Outgoing mails: from what a tool was asked to write to the bytes that a mail server takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime

from activities.email.incoming import AttachedFile, own_id
from activities.email.plaintext import one_line, plain

_POLICY = SMTP.clone(max_line_length=900)
"""RFC 5322 allows 998 characters. The standard library breaks the ids in short lines by encoding them."""


@dataclass(frozen=True)
class Origin:
    """Which mail another one answers, and the conversation before it. A forwarded mail answers none."""

    answered: str | None
    references: Sequence[str] = ()


@dataclass(frozen=True)
class Letter:
    """A mail to write.

    Attributes:
        to: Bare addresses.
        cc: Bare addresses.
        subject: On one line.
        body: Plain text.
        in_reply_to: The mail that it answers, as the mailbox knows it.
        origin: That mail, as other mailboxes know it.
        attached: Files.
        automatic: Whether a program wrote it, so that nobody's out-of-office note answers.
        invitation: Method and text of an invitation, or of the answer to one.
    """

    to: Sequence[str]
    cc: Sequence[str]
    subject: str
    body: str
    in_reply_to: str | None = None
    origin: Origin | None = None
    attached: Sequence[AttachedFile] = ()
    automatic: bool = False
    invitation: tuple[str, str] | None = None


def mail_bytes(letter: Letter, *, sender: str, message_id: str, date: datetime) -> bytes:
    """Write the mail: ASCII only, lines with CRLF, and no header that the caller did not give.

    Args:
        letter: Its contract keeps line breaks out of addresses and subject.
        sender: The person's own address.
        message_id: In angle brackets.
        date: With a time zone.
    """
    message = EmailMessage(policy=_POLICY)
    message["From"] = sender
    message["To"] = ", ".join(letter.to)
    if letter.cc:
        message["Cc"] = ", ".join(letter.cc)
    message["Subject"] = one_line(letter.subject, limit=500)
    message["Date"] = format_datetime(date)
    message["Message-ID"] = message_id
    if letter.origin is not None:
        answered = [letter.origin.answered] if letter.origin.answered else []
        if answered:
            message["In-Reply-To"] = answered[0]
        message["References"] = " ".join([*letter.origin.references, *answered])
    if letter.automatic:
        message["Auto-Submitted"] = "auto-generated"
    message.set_content(plain(letter.body), charset="utf-8", cte="quoted-printable")
    if letter.invitation is not None:  # as an alternative, which is where calendars look for it (RFC 6047)
        method, text = letter.invitation
        message.add_alternative(text, subtype="calendar", params={"method": method, "name": "invite.ics"}, cte="base64")
    for file in letter.attached:
        kind, _, subtype = file.content_type.partition("/")
        if kind == "message":  # such a part may not be encoded
            kind, subtype = "application", "octet-stream"
        message.add_attachment(file.content, maintype=kind, subtype=subtype, filename=file.name)
    return message.as_bytes()


def message_id_for(key: str, *, sender: str) -> str:
    """Return the id of the mail that a step writes: the same for every attempt, and in the domain of its sender."""
    return own_id(key.encode(), domain=sender.rpartition("@")[2].lower())
