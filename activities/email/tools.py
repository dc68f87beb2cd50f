"""The mail tools over the own mailbox. Every effect goes through the ledger, so a retried step never acts twice."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import accumulate

from sqlmodel.ext.asyncio.session import AsyncSession

from activities.email.contract import (
    Attachment,
    Compose,
    Email,
    Folder,
    Mail,
    MailSummary,
    MessageRef,
    MovedMail,
    MoveMail,
    SearchMail,
    SearchMailResult,
    SendResult,
)
from activities.email.incoming import own_id
from activities.email.models import Message
from activities.email.plaintext import one_line, plain
from activities.email.store import MailStore
from retinue.edge import MAX_RESULT_BYTES
from retinue.ledger import Ledger, effect_key

MAX_READ = 30_000
_SNIPPET = 160
_PEOPLE_SHOWN = 10
_ROOM = MAX_RESULT_BYTES - 16 * 1024
"""Bytes of JSON that one answer may fill. Strangers decide how long mails are; an answer must fit all the same."""


class EmailTools(Email):
    """The contract over `MailStore`. No mail server is configured: what is sent is kept in `sent` and says so."""

    def __init__(
        self, mailbox: MailStore, *, sender: str, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        """Keep the mailbox.

        Args:
            mailbox: Whose `open()` was or will be called by the caller.
            sender: The person's own address.
            clock: The present, for the date of written mails.
        """
        self._mailbox = mailbox
        self._ledger = Ledger(mailbox.database)
        self._sender = sender
        self._clock = clock

    async def send(self, mail: Compose) -> SendResult:
        """Keep the mail in `sent`."""
        return await self._ledger.once(mail, SendResult, lambda session: self._write(session, mail, Folder.SENT))

    async def draft(self, mail: Compose) -> SendResult:
        """Keep the mail in `drafts`."""
        return await self._ledger.once(mail, SendResult, lambda session: self._write(session, mail, Folder.DRAFTS))

    async def search(self, wish: SearchMail) -> SearchMailResult:
        """Look through one folder; fewer mails than `limit` come back where their headers are monstrous."""
        summaries = [_summary(message) for message in await self._mailbox.search(wish)]
        return SearchMailResult(messages=list(_fitting(summaries)))

    async def read(self, mail: MessageRef) -> Mail:
        """Give one mail, its text cut to what fits."""
        return _mail(await self._mailbox.get(mail.message_id))

    async def archive(self, mail: MessageRef) -> MovedMail:
        """Move it, from whichever folder; archiving what is archived changes nothing."""
        return await self._move(mail, Folder.ARCHIVE, status="archived")

    async def move(self, mail: MoveMail) -> MovedMail:
        """Move it, from whichever folder."""
        return await self._move(mail, mail.folder, status="moved")

    async def delete(self, mail: MessageRef) -> MovedMail:
        """Remove the row."""

        async def remove(session: AsyncSession) -> MovedMail:
            message = await self._mailbox.find(session, mail.message_id)
            await self._mailbox.remove(session, message)
            return _moved(message, message.folder, status="deleted")

        return await self._ledger.once(mail, MovedMail, remove)

    async def _move(self, mail: MessageRef, folder: Folder, *, status: str) -> MovedMail:
        async def move(session: AsyncSession) -> MovedMail:
            message = await self._mailbox.find(session, mail.message_id)
            before, message.folder = message.folder, folder
            session.add(message)
            return _moved(message, before, status=status)

        return await self._ledger.once(mail, MovedMail, move)

    async def _write(self, session: AsyncSession, mail: Compose, folder: Folder) -> SendResult:
        message = Message(
            message_id=own_id(effect_key().encode()),
            folder=folder,
            sender=self._sender,
            recipients=list(mail.to),
            cc=list(mail.cc),
            subject=one_line(mail.subject, limit=500),
            date=self._clock(),
            text=plain(mail.body),
            in_reply_to=None if mail.in_reply_to is None else one_line(mail.in_reply_to, limit=500),
        )
        self._mailbox.add(session, message)
        status = "sent" if folder is Folder.SENT else "draft"
        return SendResult(
            message_id=message.message_id,
            status=status,
            delivery="own-store",
            to=[*message.recipients, *message.cc],
            subject=message.subject,
        )


def _moved(message: Message, before: Folder, *, status: str) -> MovedMail:
    return MovedMail(message_id=message.message_id, subject=message.subject, status=status, folder=before)


def _summary(message: Message) -> MailSummary:
    return MailSummary(
        message_id=message.message_id,
        sender=message.sender,
        from_name=message.sender_name,
        to=message.recipients[:_PEOPLE_SHOWN],
        subject=message.subject,
        date=message.date,
        snippet=one_line(message.text[: 10 * _SNIPPET], limit=_SNIPPET),
        unread=message.unread,
    )


def _mail(message: Message) -> Mail:
    mail = Mail(
        message_id=message.message_id,
        sender=message.sender,
        from_name=message.sender_name,
        to=message.recipients,
        cc=message.cc,
        subject=message.subject,
        date=message.date,
        text="",
        attachments=[Attachment.model_validate(entry) for entry in message.attachments],
        in_reply_to=message.in_reply_to,
    )
    mail.text = _cut(message.text, room=_ROOM - _size(mail))
    mail.truncated = mail.text != message.text
    return mail


def _cut(text: str, *, room: int) -> str:
    """The text's beginning: at most `MAX_READ` characters, and not more than `room` bytes of JSON.

    Answers travel as JSON in ASCII, where one emoji takes twelve bytes, so that characters alone are no bound.
    """
    text = text[:MAX_READ]
    while len(json.dumps(text)) > room:
        text = text[: len(text) * 9 // 10]
    return text


def _fitting(summaries: list[MailSummary]) -> Iterator[MailSummary]:
    """As many of the first summaries as one answer can hold."""
    filled = accumulate(_size(summary) for summary in summaries)
    return (summary for summary, size in zip(summaries, filled, strict=True) if size <= _ROOM)


def _size(part: MailSummary | Mail) -> int:
    return len(json.dumps(part.model_dump(mode="json", by_alias=True)))
