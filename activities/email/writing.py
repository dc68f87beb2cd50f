"""What both providers do alike: mails are composed here, and files saved; how a mail goes out is the provider's."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from pydantic import BaseModel
from sqlmodel.ext.asyncio.session import AsyncSession

from activities.email.answers import cut_text, original_mail, summary
from activities.email.changes import changes_by_search
from activities.email.charsets import decoded
from activities.email.contract import (
    AnswerInvitation,
    AnswerParts,
    AttachedFiles,
    AttachmentRef,
    AttachmentText,
    Compose,
    DeleteFile,
    DeleteFileResult,
    DescribeAttachments,
    Email,
    FileInfo,
    FileRef,
    Folder,
    Forward,
    ForwardParts,
    Invitation,
    InvitationParts,
    Invite,
    ListFiles,
    ListFilesResult,
    MailChanges,
    MailSummary,
    MessageRef,
    Method,
    NotifySelf,
    OriginalMail,
    PrepareAnswer,
    PrepareForward,
    PrepareInvitation,
    PrepareReply,
    ReadAttachment,
    ReadMailChanges,
    Reply,
    ReplyParts,
    SaveAttachment,
    SaveAttachmentResult,
    SendResult,
)
from activities.email.files import FileStore, check
from activities.email.filetypes import is_text
from activities.email.incoming import AttachedFile, ReplyHeaders, attached_files, calendar_text, named_ids, parse
from activities.email.itip import (
    answer_subject,
    answer_text,
    described,
    invitation_of,
    invitation_subject,
    invitation_text,
)
from activities.email.mime_builder import Letter, Origin
from activities.email.models import SavedFile
from activities.email.plaintext import from_html, plain
from activities.email.replying import (
    Original,
    forward_body,
    forward_parts,
    replies_go_elsewhere,
    reply_body,
    reply_parts,
)
from retinue.errors import Conflict, InvalidArguments
from retinue.ledger import Ledger
from retinue.store import Store
from retinue.times import present

Write = Callable[[], Awaitable[Letter]]


@dataclass(frozen=True)
class Head:
    """What is known of an outgoing mail before it is written."""

    to: Sequence[str]
    cc: Sequence[str]
    subject: str
    in_reply_to: str | None = None


class WritingTools(Email):
    """The tools that write mails and keep files, over two methods of a provider."""

    def __init__(self, store: Store, *, sender: str, clock: Callable[[], datetime] = present) -> None:
        """Keep files in a store.

        Args:
            store: The capability's database.
            sender: The person's own address.
            clock: The present, for the date of written mails.
        """
        self.ledger: Ledger = Ledger(store)
        self._files = FileStore(store)
        self._sender = sender
        self._clock = clock

    @abstractmethod
    async def _original(self, message_id: str, *, glance: bool = False) -> Original:
        """Return a mail; with `glance` its headers and the beginning of its text are enough.

        Raises:
            NotFound: There is no mail of that id.
        """

    @abstractmethod
    async def _post(self, arguments: BaseModel, head: Head, write: Write, folder: Folder) -> SendResult:
        """Send a mail, or put it into Drafts or the inbox, once.

        Args:
            arguments: Of the step.
            head: Of the mail.
            write: Writes the mail; awaited by the first attempt only.
            folder: Where it stays.
        """

    async def changes(self, wish: ReadMailChanges) -> MailChanges:
        """Compare the newest mails with those seen last, where the provider cannot tell which have arrived."""
        return await changes_by_search(wish, self.search)

    async def send(self, mail: Compose) -> SendResult:
        """Send it."""
        return await self._post(mail, _head(mail), lambda: self._composed(mail), Folder.SENT)

    async def draft(self, mail: Compose) -> SendResult:
        """Put it into Drafts."""
        return await self._post(mail, _head(mail), lambda: self._composed(mail), Folder.DRAFTS)

    async def notify_self(self, note: NotifySelf) -> SendResult:
        """Send it to the person."""
        head = Head(to=[self._sender], cc=[], subject=note.subject)

        async def write() -> Letter:
            return Letter(head.to, head.cc, head.subject, note.body, automatic=True)

        return await self._post(note, head, write, Folder.INBOX)

    async def prepare_reply(self, mail: PrepareReply) -> ReplyParts:
        """Read the mail that is answered."""
        original = await self._original(mail.message_id)
        attached = await self._attached(mail.attachments)
        return reply_parts(original, own=self._sender, to_all=mail.all, attached=_described(attached))

    async def reply(self, mail: Reply) -> SendResult:
        """Answer the mail that was shown, with its text quoted."""
        if not mail.to or mail.subject is None:
            raise InvalidArguments("a reply needs its recipients and its subject, which stand in the mail")
        head = Head(mail.to, mail.cc, mail.subject, mail.message_id)

        async def write() -> Letter:
            original = await self._shown(mail.message_id, mail.version)
            attached = await self._as_shown(mail.attachments, mail.attached)
            return _letter(head, reply_body(mail.body, original), attached, origin_of(original))

        return await self._post(mail, head, write, Folder.SENT)

    async def prepare_forward(self, mail: PrepareForward) -> ForwardParts:
        """Read the mail that is forwarded."""
        original = await self._original(mail.message_id)
        return forward_parts(original, attached=_described(await self._forwarded(mail, original)))

    async def forward(self, mail: Forward) -> SendResult:
        """Forward the mail that was shown."""
        if mail.subject is None:
            raise InvalidArguments("a forwarded mail needs its subject, which stands in the mail")
        head = Head(mail.to, mail.cc, mail.subject)

        async def write() -> Letter:
            original = await self._shown(mail.message_id, mail.version)
            attached = _compared(await self._forwarded(mail, original), mail.attached)
            found = origin_of(original)
            origin = found and Origin(None, [*found.references, found.answered or ""])
            return _letter(head, forward_body(mail.body, original), attached, origin)

        return await self._post(mail, head, write, Folder.SENT)

    async def prepare_invitation(self, wish: PrepareInvitation) -> InvitationParts:
        """Read the text that the calendar wrote."""
        invitation = self._own_invitation(wish.invitation)
        return InvitationParts(subject=invitation_subject(invitation), event=described(invitation))

    async def invite(self, mail: Invite) -> SendResult:
        """Send the event with the person as its organizer and the recipients as its attendees."""
        invitation = self._own_invitation(mail.invitation)
        if mail.subject is None or mail.event != described(invitation):
            raise InvalidArguments("an invitation needs its subject and its event, which stand in it")
        head = Head(mail.to, [], mail.subject)

        async def write() -> Letter:
            text = invitation_text(mail.invitation, organizer=self._sender, attendees=mail.to, now=self._clock())
            body = f"{mail.body.rstrip()}\n\n{mail.event}\n" if mail.body.strip() else f"{mail.event}\n"
            return Letter(head.to, head.cc, head.subject, body, invitation=(invitation.method, text))

        return await self._post(mail, head, write, Folder.SENT)

    def _own_invitation(self, text: str) -> Invitation:
        """Return what the calendar wrote for others.

        Raises:
            InvalidArguments: It is no invitation, or somebody else organizes the event.
        """
        invitation = invitation_of(text)
        if invitation is None or invitation.method not in (Method.REQUEST, Method.CANCEL):
            raise InvalidArguments("this is no invitation", hint="calendar.write_invitation writes one")
        if invitation.organizer and invitation.organizer.casefold() != self._sender.casefold():
            raise InvalidArguments(f"{invitation.organizer} organizes this event, and only they invite to it")
        return invitation

    async def prepare_answer(self, mail: PrepareAnswer) -> AnswerParts:
        """Read the mail that invites."""
        original = await self._original(mail.message_id)
        invitation = await self._invited(original)
        return AnswerParts(
            to=[invitation.organizer],
            subject=answer_subject(invitation, mail.answer),
            event=described(invitation),
            version=original.version,
        )

    async def answer_invitation(self, mail: AnswerInvitation) -> SendResult:
        """Answer the invitation that was shown."""
        if not mail.to or mail.subject is None:
            raise InvalidArguments("an answer needs its recipient and its subject, which stand in the invitation")
        head = Head(mail.to, [], mail.subject, mail.message_id)

        async def write() -> Letter:
            original = await self._shown(mail.message_id, mail.version)
            invitation = await self._invited(original)
            text = answer_text(invitation.icalendar, mail.answer, own=self._sender, now=self._clock())
            body = mail.body.strip() or f"{self._sender}: {mail.subject}"
            letter = _letter(head, f"{body}\n", [], origin_of(original))
            return replace(letter, invitation=(Method.REPLY, text))

        return await self._post(mail, head, write, Folder.SENT)

    async def _invited(self, original: Original) -> Invitation:
        """Return the invitation in a mail.

        Raises:
            InvalidArguments: There is none, or nobody could get an answer to it.
        """
        invitation = await invitation_in(original.content)
        if invitation is None or invitation.method is not Method.REQUEST:
            raise InvalidArguments("this mail invites to nothing", hint="email.read says what it is")
        if not invitation.organizer:
            raise InvalidArguments("this invitation names no organizer who could get an answer")
        if invitation.organizer.casefold() == self._sender.casefold():
            raise InvalidArguments("this invitation is the person's own; there is nothing to answer")
        return invitation

    async def describe_attachments(self, wish: DescribeAttachments) -> AttachedFiles:
        """Read what is to be attached."""
        return AttachedFiles(attached=_described(await self._attached(wish.attachments)))

    async def read_attachment(self, wish: ReadAttachment) -> AttachmentText:
        """Read it as text."""
        file = await self._named(wish, wish.name)
        kind = file.content_type
        if not is_text(kind):
            raise InvalidArguments(
                f"'{file.name}' is {kind}; only texts, tables, web pages and calendar files can be read"
            )
        text = await asyncio.to_thread(_text_of, file, kind, self._clock())
        result = AttachmentText(name=file.name, content_type=kind, size=len(file.content), text="")
        return cut_text(result, text)

    async def save_attachment(self, wish: SaveAttachment) -> SaveAttachmentResult:
        """Save it once."""
        ref = AttachmentRef(message_id=wish.message_id, number=wish.number)

        async def save(session: AsyncSession) -> SaveAttachmentResult:
            file = await self._named(ref, wish.name)
            saved, is_new = await self._files.save(session, file, now=self._clock())
            return SaveAttachmentResult(**_info(saved).model_dump(), saved=is_new)

        return await self.ledger.once(wish, SaveAttachmentResult, save)

    async def list_files(self, wish: ListFiles) -> ListFilesResult:
        """List them without their contents."""
        found = await self._files.listed((wish.query or "").split(), wish.limit)
        return ListFilesResult(files=[_info(file) for file in found])

    async def delete_file(self, file: DeleteFile) -> DeleteFileResult:
        """Delete it once; an undo of a save that found the file there deletes nothing."""

        async def remove(session: AsyncSession) -> DeleteFileResult:
            found = await self._files.find(session, file.file_id)
            if file.saved:
                await session.delete(found)
            return DeleteFileResult(file_id=found.file_id, name=found.name, deleted=file.saved)

        return await self.ledger.once(file, DeleteFileResult, remove)

    async def look_up_file(self, file: FileRef) -> FileInfo:
        """Read its line in the list."""
        return _info(await self._files.get(file.file_id))

    async def look_up(self, mail: MessageRef) -> MailSummary:
        """Read its line in the mailbox."""
        return summary((await self._original(mail.message_id, glance=True)).message)

    async def look_up_original(self, mail: MessageRef) -> OriginalMail:
        """Read what a person should know of it before they answer."""
        original = await self._original(mail.message_id, glance=True)
        return original_mail(original.message, replies_go_elsewhere(original), original.headers.mailing_list)

    async def _composed(self, mail: Compose) -> Letter:
        attached = await self._as_shown(mail.attachments, mail.attached)
        return _letter(_head(mail), mail.body, attached, await self._origin(mail.in_reply_to))

    @abstractmethod
    async def _origin(self, answered: str | None) -> Origin | None:
        """Return the conversation that a mail joins; None without one, and where nothing is known of it."""

    async def _shown(self, message_id: str, version: str | None) -> Original:
        """Return a mail that a person has decided about.

        Raises:
            Conflict: Another mail stands there now under this id.
        """
        original = await self._original(message_id)
        if original.version != version:
            raise Conflict("this mail is not the one that was shown", hint="read it again")
        return original

    async def _attached(self, refs: Sequence[AttachmentRef]) -> list[AttachedFile]:
        """Return what is to be attached.

        Raises:
            NotFound: There is no such file, mail or attachment.
            InvalidArguments: One is a program, or they are too large together.
        """
        files = [await self._named(ref) for ref in refs]
        check(*files)
        return files

    async def _as_shown(self, refs: Sequence[AttachmentRef], shown: Sequence[str]) -> list[AttachedFile]:
        return _compared(await self._attached(refs), shown)

    async def _forwarded(self, mail: PrepareForward, original: Original) -> list[AttachedFile]:
        own = await self._files_of(original) if mail.with_attachments else []
        files = [*own, *await self._attached(mail.attachments)]
        check(*files)
        return files

    async def _named(self, ref: AttachmentRef, name: str | None = None) -> AttachedFile:
        if ref.file_id is not None:
            saved = await self._files.get(ref.file_id)
            return AttachedFile(saved.name, saved.content)
        files = await self._files_of(await self._original(ref.message_id or ""))
        return _chosen(files, ref.number, name)

    async def _files_of(self, original: Original) -> list[AttachedFile]:
        if not original.message.attachments:
            return []
        if not original.content or not original.is_whole:
            raise InvalidArguments(
                "the attachments of this mail cannot be read: it is too large, or only its text was kept"
            )
        return await asyncio.to_thread(attached_files, original.content)


async def invitation_in(content: bytes) -> Invitation | None:
    """Return the invitation that a mail carries, or None."""
    if b"calendar" not in content and b".ics" not in content and b"/ics" not in content:
        return None
    text = await asyncio.to_thread(calendar_text, content)
    return None if text is None else await asyncio.to_thread(invitation_of, text)


def origin_of(original: Original) -> Origin | None:
    """Return a mail as other mailboxes know it; None if it has no id that may be in a header."""
    own = named_ids(original.content, "message-id") or [original.message.message_id]
    return origin_among(own, original.headers)


def origin_among(own: Sequence[str], headers: ReplyHeaders) -> Origin | None:
    """Return a mail as other mailboxes know it, of its ids in its own headers; None if none may be in a header."""
    usable = [name for name in own if _may_name(name)]
    return Origin(usable[0], [name for name in headers.references if _may_name(name)]) if usable else None


def _may_name(message_id: str) -> bool:
    return message_id.isascii() and len(message_id) <= 250


def _head(mail: Compose) -> Head:
    return Head(mail.to, mail.cc, mail.subject, mail.in_reply_to)


def _letter(head: Head, body: str, attached: Sequence[AttachedFile], origin: Origin | None) -> Letter:
    return Letter(head.to, head.cc, head.subject, body, origin=origin, attached=attached)


def _described(files: Sequence[AttachedFile]) -> list[str]:
    return [file.described() for file in files]


def _compared(files: list[AttachedFile], shown: Sequence[str]) -> list[AttachedFile]:
    if _described(files) != list(shown):
        raise Conflict("the attachments are not those that were shown", hint="leave `attached` out")
    return files


def _chosen(files: Sequence[AttachedFile], number: int, name: str | None) -> AttachedFile:
    """Return one attachment by its number, or the only one whose name contains a text."""
    if name is not None:
        found = [file for file in files if name.casefold() in file.name.casefold()]
        if len(found) == 1:
            return found[0]
        if found:
            raise InvalidArguments(f"{len(found)} attachments of this mail have such a name", hint="give its number")
    elif number <= len(files):
        return files[number - 1]
    raise InvalidArguments(
        f"this mail has {len(files)} attachments, and not that one" if files else "nothing is attached to this mail"
    )


def _text_of(file: AttachedFile, kind: str, now: datetime) -> str:
    if kind == "message/rfc822":
        return parse(file.content, now=now).text
    text = decoded(file.content, None, is_html=kind == "text/html")
    return from_html(text) if kind == "text/html" else plain(text)


def _info(file: SavedFile) -> FileInfo:
    return FileInfo(
        file_id=file.file_id,
        name=file.name,
        content_type=file.content_type,
        size=file.size,
        saved_at=file.saved_at,
    )
