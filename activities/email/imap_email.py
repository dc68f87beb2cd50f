"""The mail tools over real servers: mails go out by SMTP, and the mailbox is read and tidied by IMAP.

What each effect needs to happen once: a mail is out when the server has taken it over, so the ledger's states stand
around that moment; a draft, a move and a deletion can be done again without harm, since each attempt looks first.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime

from pydantic import BaseModel

from activities.email.answers import fitting, summary, whole
from activities.email.changes import change, named
from activities.email.contract import (
    Folder,
    Mail,
    MailChanges,
    MailThread,
    MessageRef,
    MovedMail,
    MoveMail,
    ReadMailChanges,
    SearchMail,
    SearchMailResult,
    SendResult,
)
from activities.email.imap_client import ImapServer, ImapSession
from activities.email.incoming import MAX_BYTES, automatic, is_message_id, named_ids, parse, reply_headers
from activities.email.mailboxes import ALL, GLANCE, Arrived, Fetched, Mailboxes, Place
from activities.email.mime_builder import Letter, Origin, mail_bytes, message_id_for
from activities.email.models import Message, OutboxState, Relocation
from activities.email.outbox import Outbox
from activities.email.replying import Original
from activities.email.smtp import Submission
from activities.email.store import MOST_IN_THREAD
from activities.email.writing import Head, Write, WritingTools, invitation_in, origin_among
from retinue.errors import InvalidArguments, NotFound, OutcomeUnknown, ServiceError, ServiceUnavailable
from retinue.ledger import Commit, effect_key, lasting_key
from retinue.store import Store
from retinue.times import present

_RENUMBERED = "the mail server numbered the mailbox again; mails since the day before the last look were looked at"
_LOOK = 15.0
_FILE = 20.0
_MOST_ASKED_FOR = 6


class ImapEmail(WritingTools):
    """The contract over one account on a mail server."""

    def __init__(
        self,
        store: Store,
        submission: Submission,
        mailbox: ImapServer,
        *,
        sender: str,
        settle: float,
        clock: Callable[[], datetime] = present,
    ) -> None:
        """Keep the servers.

        Args:
            store: The capability's database, for the ledger and the outbox.
            submission: Takes mails for sending.
            mailbox: Where they are read.
            sender: The person's own address.
            settle: Seconds after which a sending that never reported counts as lost.
            clock: The present, for the date of written mails.
        """
        super().__init__(store, sender=sender, clock=clock)
        self._outbox = Outbox(store)
        self._submission = submission
        self._mailbox = mailbox
        self._settle = settle

    async def _post(self, arguments: BaseModel, head: Head, write: Write, folder: Folder) -> SendResult:
        """Hand it to the mail server and put a copy into Sent, or append it to Drafts."""
        if folder is Folder.DRAFTS:
            return await self._draft(arguments, head, write)
        return await self._send(arguments, head, write)

    async def _draft(self, arguments: BaseModel, head: Head, write: Write) -> SendResult:
        message_id = message_id_for(lasting_key(), sender=self._sender)

        async def act(commit: Commit) -> SendResult:
            content = self._written(await write(), message_id)
            flags = ("\\Draft", "\\Seen")
            async with self._mailbox.session() as session:
                await session.connect()
                await commit()
                with _told():
                    await session.do(
                        lambda boxes: boxes.append(Folder.DRAFTS, content, flags=flags, message_id=message_id)
                    )
            return _written_result(head, message_id, status="draft", delivery="imap")

        return await self.ledger.once_outside(arguments, SendResult, act=act, verify=_harmless, settle=self._settle)

    async def search(self, wish: SearchMail) -> SearchMailResult:
        """Ask the server, and look at the beginnings of what it found."""
        words = (wish.query or "").split()
        found = await self._mailbox.do(
            lambda boxes: boxes.search(wish.folder, words=words, unread=wish.unread, limit=wish.limit)
        )
        messages = _told_apart(found, await self._parsed(found))
        return SearchMailResult(messages=fitting([summary(message) for message in messages]))

    async def read(self, mail: MessageRef) -> Mail:
        """Fetch one mail, or as much of it as may be fetched."""
        original = await self._original(mail.message_id)
        invitation = await invitation_in(original.content)
        return whole(original.message, cut=not original.is_whole, invitation=invitation)

    async def thread(self, mail: MessageRef) -> MailThread:
        """Ask each folder for mails that carry or name the ids that this one carries or names."""

        def fetch(boxes: Mailboxes) -> list[Fetched]:
            first = boxes.fetch(boxes.locate(mail.message_id), most=GLANCE)
            ids = _conversation(first.content)
            found = (
                [one for folder in Folder for one in boxes.related(folder, ids, limit=MOST_IN_THREAD)] if ids else []
            )
            return [first, *found]

        found = await self._mailbox.do(fetch)
        by_id: dict[str, Message] = {}
        for message in await self._parsed(found):
            by_id.setdefault(message.message_id, message)
        oldest_first = sorted(by_id.values(), key=lambda message: message.date)
        shown = fitting([summary(message) for message in oldest_first[:MOST_IN_THREAD]])
        return MailThread(messages=shown, truncated=len(shown) < len(oldest_first))

    async def changes(self, wish: ReadMailChanges) -> MailChanges:
        """Ask the server for mails with higher numbers than the last one seen."""
        after = _point(wish.cursor)
        arrived = await self._mailbox.do(
            lambda boxes: boxes.arrivals(wish.folder, after, limit=wish.limit, latest=wish.latest)
        )
        messages = await self._parsed(arrived.found)
        own = await self._outbox.sent_among(named(messages))
        return MailChanges(
            changes=[
                change(message, automatic(mail.content), own=own, message_id=_read_by(mail, arrived.first))
                for mail, message in zip(arrived.found, messages, strict=True)
            ],
            cursor=json.dumps([arrived.until.validity, arrived.until.uid, arrived.until.on.isoformat()]),
            more=arrived.more,
            reset=_RENUMBERED if arrived.renumbered else "",
        )

    async def archive(self, mail: MessageRef) -> MovedMail:
        """Move it; archiving what is archived changes nothing."""
        return await self._move(mail, Folder.ARCHIVE, status="archived")

    async def move(self, mail: MoveMail) -> MovedMail:
        """Move it."""
        return await self._move(mail, mail.folder, status="moved")

    async def delete(self, mail: MessageRef) -> MovedMail:
        """Take it out of its folder, and nothing else with it."""
        return await self._relocate(mail, lambda boxes, place, _: boxes.remove(place), status="deleted")

    async def _move(self, mail: MessageRef, folder: Folder, *, status: str) -> MovedMail:
        return await self._relocate(
            mail, lambda boxes, place, message_id: boxes.move(place, folder, message_id), status=status
        )

    async def _relocate(
        self, mail: MessageRef, change: Callable[[Mailboxes, Place, str], None], *, status: str
    ) -> MovedMail:
        """Do something to one very mail, which the first attempt chose."""
        key = effect_key()

        async def act(commit: Commit) -> MovedMail:
            async with self._mailbox.session() as session:
                pinned = await self._outbox.relocation(key) or await self._pinned(key, mail.message_id, session)
                place = Place(pinned.folder, pinned.mailbox, pinned.uid_validity, pinned.uid)
                await session.connect()
                await commit()
                with _told():
                    await session.do(lambda boxes: change(boxes, place, pinned.message_id))
            return MovedMail(message_id=pinned.message_id, subject=pinned.subject, status=status, folder=pinned.folder)

        return await self.ledger.once_outside(mail, MovedMail, act=act, verify=_harmless, settle=self._settle)

    async def _pinned(self, key: str, message_id: str, session: ImapSession) -> Relocation:
        found = await session.do(lambda boxes: boxes.fetch(boxes.locate(message_id), most=GLANCE))
        [message] = await self._parsed([found])
        place = found.place
        return await self._outbox.pin(
            Relocation(
                key=key,
                message_id=message_id,
                subject=message.subject,
                folder=place.folder,
                mailbox=place.mailbox,
                uid_validity=place.validity,
                uid=place.uid,
            )
        )

    async def _original(self, message_id: str, *, glance: bool = False) -> Original:
        most = GLANCE if glance else MAX_BYTES
        fetched = await self._mailbox.do(lambda boxes: boxes.fetch(boxes.locate(message_id), most=most))
        [message] = await self._parsed([fetched])
        message.message_id = message_id
        headers = await asyncio.to_thread(reply_headers, fetched.content)
        return Original(message, headers, fetched.content, fetched.whole)

    async def _send(self, arguments: BaseModel, head: Head, write: Write) -> SendResult:
        key = effect_key()
        message_id = message_id_for(lasting_key(), sender=self._sender)
        recipients = list(dict.fromkeys([*head.to, *head.cc]))
        result = _written_result(head, message_id, status="sent", delivery="smtp")

        async def written() -> bytes:
            return self._written(await write(), message_id)

        async def act(commit: Commit) -> SendResult:
            content = await self._outbox.prepare(key, message_id, written)
            await self._submission.hand_over(content, sender=self._sender, recipients=recipients, commit=commit)
            return result

        async def verify() -> SendResult:
            await self._look_for(message_id, to_self=self._sender in recipients)
            return result

        sent = await self.ledger.once_outside(arguments, SendResult, act=act, verify=verify, settle=self._settle)
        try:
            copy = await self._filed(key, message_id)
        except ServiceUnavailable:  # the mail is sent and recorded, so the step must not fail
            copy = "missing"
        return sent.model_copy(update={"sent_copy": copy})

    def _written(self, letter: Letter, message_id: str) -> bytes:
        return mail_bytes(letter, sender=self._sender, message_id=message_id, date=self._clock())

    async def _origin(self, answered: str | None) -> Origin | None:
        """Return the conversation that a mail joins, from the mailbox; without it the mail is sent anyway."""
        if answered is None:
            return None
        try:
            fetched = await self._mailbox.do(
                lambda boxes: boxes.fetch(boxes.locate(answered), most=GLANCE), deadline=_LOOK
            )
        except (NotFound, ServiceError):
            return Origin(answered) if is_message_id(answered) and answered.isascii() else None
        own = named_ids(fetched.content, "message-id")
        return origin_among(own, await asyncio.to_thread(reply_headers, fetched.content))

    async def _look_for(self, message_id: str, *, to_self: bool) -> None:
        """Look whether a mail went out: servers that file what they send show it, and so does our own inbox.

        Raises:
            OutcomeUnknown: It stands nowhere, which proves nothing, or nobody can look.
        """

        def stands(boxes: Mailboxes) -> bool:
            mailboxes = [boxes.name_of(folder) for folder in (Folder.SENT, ALL, *[Folder.INBOX] * to_self)]
            return any(name and boxes.find(Folder.SENT, name, message_id) for name in mailboxes)

        try:
            found = await self._mailbox.do(stands, deadline=_LOOK)
        except ServiceError:
            raise OutcomeUnknown(
                "the mail server never said whether it sent the mail, and the mailbox is silent too"
            ) from None
        if not found:
            raise OutcomeUnknown("the mail server never said whether it sent the mail; it is not in Sent")

    async def _filed(self, key: str, message_id: str) -> str:
        """Put the copy into Sent that is owed. That it fails does not undo the sending, so it is only said."""
        await self._outbox.sent(key)
        content = await self._outbox.claim_copy(key)
        if content is None:
            return "kept" if await self._outbox.state(key) is OutboxState.FILED else "missing"
        try:
            await self._mailbox.do(
                lambda boxes: boxes.append(Folder.SENT, content, flags=("\\Seen",), message_id=message_id),
                deadline=_FILE,
            )
        except (ServiceError, NotFound):
            await self._outbox.copy_failed(key)
            return "missing"
        await self._outbox.filed(key)
        return "kept"

    async def _parsed(self, found: Sequence[Fetched]) -> list[Message]:
        """Read mails off the event loop, since strangers decide how much work that is."""
        return await asyncio.to_thread(lambda: [_message(mail, now=self._clock()) for mail in found])


def _point(cursor: str | None) -> Arrived | None:
    if cursor is None:
        return None
    try:
        validity, uid, on = json.loads(cursor)
        return Arrived(int(validity), int(uid), date.fromisoformat(on))
    except (ValueError, TypeError):
        raise InvalidArguments("this cursor was not given by this mailbox") from None


def _read_by(mail: Fetched, first: Collection[int]) -> str:
    return "" if mail.place.uid in first else mail.place.as_id()


@contextmanager
def _told() -> Iterator[None]:
    """Raise `OutcomeUnknown` for a server that does not answer after a command, since it may have executed it."""
    try:
        yield
    except ServiceUnavailable as error:
        raise OutcomeUnknown(error.message, hint="nobody knows whether it was done") from None


async def _harmless() -> None:
    """Nothing to verify: an attempt that finds it done does nothing, whatever an earlier one still does."""


def _message(mail: Fetched, *, now: datetime) -> Message:
    try:
        message = parse(mail.content[:MAX_BYTES], now=now, unnamed=mail.place.as_id())
    except InvalidArguments:
        message = Message(
            message_id=mail.place.as_id(),
            folder=mail.place.folder,
            sender="",
            subject="(a mail that cannot be read)",
            date=now,
        )
    message.folder, message.unread = mail.place.folder, mail.unread
    return message


def _told_apart(found: Sequence[Fetched], messages: list[Message]) -> list[Message]:
    """Give mails that share an id one of our own, all but the one that the shared id leads to: the first that came."""
    times = Counter(message.message_id for message in messages)
    first: dict[str, int] = {}
    for mail, message in zip(found, messages, strict=True):
        first[message.message_id] = min(mail.place.uid, first.get(message.message_id, mail.place.uid))
    for mail, message in zip(found, messages, strict=True):
        if times[message.message_id] > 1 and mail.place.uid != first[message.message_id]:
            message.message_id = mail.place.as_id()
    return messages


def _named(headers: bytes, header: str) -> list[str]:
    """Return the ids that may be in a header of an outgoing mail."""
    return [name for name in named_ids(headers, header) if name.isascii() and len(name) <= 250]


def _conversation(headers: bytes) -> list[str]:
    """Return the ids that find other mails of a conversation: its first mail's, its own, and the last it names."""
    references = _named(headers, "references")
    names = [*references[:1], *_named(headers, "message-id"), *_named(headers, "in-reply-to"), *reversed(references)]
    return list(dict.fromkeys(names))[:_MOST_ASKED_FOR]


def _written_result(head: Head, message_id: str, *, status: str, delivery: str) -> SendResult:
    return SendResult(
        message_id=message_id, status=status, delivery=delivery, to=[*head.to, *head.cc], subject=head.subject
    )
