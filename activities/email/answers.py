"""What the tools answer: mails as contract models, cut to what one answer holds. Strangers decide how long mails are."""

import json
from collections.abc import Iterator
from itertools import accumulate

from pydantic import BaseModel

from activities.email.contract import Attachment, AttachmentText, Invitation, Mail, MailSummary, MovedMail, OriginalMail
from activities.email.models import Message
from activities.email.plaintext import one_line
from retinue.activity_adapter import MAX_RESULT_BYTES

MAX_READ = 30_000
_SNIPPET = 160
_PEOPLE_SHOWN = 10
_ROOM = MAX_RESULT_BYTES - 16 * 1024
"""Bytes of JSON that one answer may fill."""
_MOST_OF_INVITATION = _ROOM // 3
"""Bytes of JSON."""


def moved(message: Message, *, status: str) -> MovedMail:
    """A mail that was archived, moved or deleted, named as it stood before."""
    return MovedMail(message_id=message.message_id, subject=message.subject, status=status, folder=message.folder)


def summary(message: Message) -> MailSummary:
    """Return one line of a mailbox."""
    return MailSummary(
        message_id=message.message_id,
        sender=message.sender,
        from_name=message.sender_name,
        to=message.recipients[:_PEOPLE_SHOWN],
        subject=message.subject,
        date=message.date,
        snippet=one_line(message.text[: 10 * _SNIPPET], limit=_SNIPPET),
        unread=message.unread,
        folder=message.folder,
    )


def original_mail(message: Message, replies_go_elsewhere: list[str], mailing_list: str) -> OriginalMail:
    """Return a mail that is answered or forwarded, for a person who is asked about it."""
    line = summary(message)
    return OriginalMail(
        sender=line.sender,
        from_name=line.from_name,
        replies_go_elsewhere=replies_go_elsewhere[:_PEOPLE_SHOWN],
        mailing_list=mailing_list,
        to=line.to,
        subject=line.subject,
        date=line.date,
        snippet=line.snippet,
    )


def cut_text(result: AttachmentText, text: str) -> AttachmentText:
    """Return the result with as much of the text as fits."""
    shown = _cut(text, room=_ROOM - _size(result))
    return result.model_copy(update={"text": shown, "truncated": shown != text})


def whole(message: Message, *, cut: bool = False, invitation: Invitation | None = None) -> Mail:
    """Return one mail, its text cut to what fits; `cut` says that it was not whole when it came here.

    An invitation that would leave no room for the text is left to the attachments.
    """
    mail = Mail(
        message_id=message.message_id,
        sender=message.sender,
        from_name=message.sender_name,
        to=message.recipients,
        cc=message.cc,
        subject=message.subject,
        date=message.date,
        text="",
        attachments=[
            Attachment.model_validate({**entry, "number": number})
            for number, entry in enumerate(message.attachments, start=1)
        ],
        in_reply_to=message.in_reply_to,
        invitation=None if invitation is None or _size(invitation) > _MOST_OF_INVITATION else invitation,
    )
    mail.text = _cut(message.text, room=_ROOM - _size(mail))
    mail.truncated = cut or mail.text != message.text
    return mail


def fitting(summaries: list[MailSummary]) -> list[MailSummary]:
    """As many of the first summaries as one answer can hold."""
    return list(_fitting(summaries))


def _cut(text: str, *, room: int) -> str:
    """Return the text's beginning: at most `MAX_READ` characters, and not more than `room` bytes of JSON.

    Answers travel as JSON in ASCII, where one emoji takes twelve bytes, so that characters alone are no bound.
    """
    text = text[:MAX_READ]
    while len(json.dumps(text)) > room:
        text = text[: len(text) * 9 // 10]
    return text


def _fitting(summaries: list[MailSummary]) -> Iterator[MailSummary]:
    filled = accumulate(_size(entry) for entry in summaries)
    return (entry for entry, size in zip(summaries, filled, strict=True) if size <= _ROOM)


def _size(part: BaseModel) -> int:
    return len(json.dumps(part.model_dump(mode="json", by_alias=True)))
