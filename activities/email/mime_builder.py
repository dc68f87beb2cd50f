"""Outgoing mails: from what a tool was asked to write to the bytes that a mail server takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime

from activities.email.contract import Compose
from activities.email.incoming import own_id
from activities.email.plaintext import one_line, plain

_POLICY = SMTP.clone(max_line_length=900)
"""RFC 5322 allows 998 characters. The standard library breaks the ids in short lines by encoding them."""


@dataclass(frozen=True)
class Origin:
    """Which mail another one answers, and the conversation before it."""

    answered: str
    references: Sequence[str] = ()


def letter(
    mail: Compose,
    *,
    sender: str,
    message_id: str,
    date: datetime,
    origin: Origin | None = None,
    automatic: bool = False,
) -> bytes:
    """Write the mail: ASCII only, lines with CRLF, and no header that the caller did not give.

    Args:
        mail: Its contract keeps line breaks out of addresses and subject.
        sender: The person's own address.
        message_id: In angle brackets.
        date: With a time zone.
        origin: Of a reply.
        automatic: Whether a program wrote it, so that nobody's out-of-office note answers.
    """
    message = EmailMessage(policy=_POLICY)
    message["From"] = sender
    message["To"] = ", ".join(mail.to)
    if mail.cc:
        message["Cc"] = ", ".join(mail.cc)
    message["Subject"] = one_line(mail.subject, limit=500)
    message["Date"] = format_datetime(date)
    message["Message-ID"] = message_id
    if origin is not None:
        message["In-Reply-To"] = origin.answered
        message["References"] = " ".join([*origin.references, origin.answered])
    if automatic:
        message["Auto-Submitted"] = "auto-generated"
    message.set_content(plain(mail.body), charset="utf-8", cte="quoted-printable")
    return message.as_bytes()


def message_id_for(key: str, *, sender: str) -> str:
    """Return the id of the mail that a step writes: the same for every attempt, and in the domain of its sender."""
    return own_id(key.encode(), domain=sender.rpartition("@")[2].lower())
