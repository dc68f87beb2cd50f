"""One mailbox at Gmail: what the tools need of its REST API. Labels take the place of folders."""

from __future__ import annotations

import asyncio
import base64
import binascii
import html
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import httpx

from activities.email.contract import Folder
from activities.email.incoming import MAX_BYTES, OWN_DOMAIN, TELLS_AUTOMATIC, is_message_id, named_ids
from retinue.accounts.access import Access
from retinue.accounts.google_api import GoogleApi
from retinue.accounts.rest_api import Json, objects, part, text_of
from retinue.errors import AnswerTooLong, InvalidArguments, NotFound, ServiceUnavailable

HOST = "gmail.googleapis.com"
_SHOWN = ("From", "To", "Cc", "Reply-To", "Subject", "Date", "Message-ID", "In-Reply-To", "References", "List-Post")
_TELLING = ("Auto-Submitted", "Precedence", "Content-Type", *sorted(name.title() for name in TELLS_AUTOMATIC))
"""Headers that say whether a program wrote a mail."""
_WANTED = frozenset(name.lower() for name in _SHOWN)
_LABELS = {Folder.INBOX: "INBOX", Folder.SENT: "SENT", Folder.DRAFTS: "DRAFT"}
_ORDER = (Folder.DRAFTS, Folder.INBOX, Folder.SENT)
_NOT_SHOWN = {"TRASH", "SPAM"}
_ARCHIVED = "-label:inbox -label:sent -label:drafts -label:chats"
_OWN_ID = re.compile(rf"<gmail\.([0-9A-Za-z_-]{{1,100}})@{re.escape(OWN_DOMAIN)}>")
_OPERATORS = re.compile(r'[":(){}<>]+')
_NAME = re.compile(r"[A-Za-z0-9-]{1,100}")
_AT_ONCE = 8
"""Requests for one list; Gmail allows a person about fifty reads a second."""
_MOST_ALIKE = 10
_MOST_IN_JSON = 3 * 1024 * 1024
"""Bytes of a mail that is sent within a JSON object; larger ones are uploaded."""
_LONGEST_HEADER = 4000


@dataclass(frozen=True)
class Glanced:
    """A mail as a list shows it.

    Attributes:
        gmail_id: Gmail's own id.
        thread: Gmail's id of the conversation.
        labels: Such as `INBOX`.
        content: Its headers and the beginning of its text, in the form of a mail.
        headers: All headers that were asked for.
    """

    gmail_id: str
    thread: str
    labels: frozenset[str]
    content: bytes
    headers: bytes

    @property
    def folder(self) -> Folder:
        """The folder that its labels stand for."""
        return next((folder for folder in _ORDER if _LABELS[folder] in self.labels), Folder.ARCHIVE)

    @property
    def unread(self) -> bool:
        """Whether nobody has read it."""
        return "UNREAD" in self.labels

    @property
    def own_id(self) -> str:
        """The id of a mail without a unique one; a sender cannot choose such ids."""
        return f"<gmail.{self.gmail_id}@{OWN_DOMAIN}>"


@dataclass(frozen=True)
class Arrived:
    """Mails that were added to a folder, in the order of the history; up to which point of it; whether there are more."""

    mails: list[Glanced]
    until: str
    more: bool


class GmailMailbox:
    """The mailbox of one account. Errors are those of `GoogleApi`."""

    def __init__(self, http: httpx.AsyncClient, access: Access) -> None:
        self._api = GoogleApi(
            http, access, host=HOST, path="/gmail/v1/users/me", name="Gmail", most_bytes=MAX_BYTES * 4 // 3 + 64 * 1024
        )
        self._upload = GoogleApi(http, access, host=HOST, path="/upload/gmail/v1/users/me", name="Gmail")

    async def search(self, folder: Folder, *, words: Sequence[str], unread: bool | None, limit: int) -> list[Glanced]:
        """Return the newest mails of a folder that contain every word."""
        terms = [_ARCHIVED] if folder is Folder.ARCHIVE else []
        terms += {True: ["is:unread"], False: ["is:read"], None: []}[unread]
        terms += [f'"{word}"' for word in _plain_words(words)]
        labels = [_LABELS[folder]] if folder in _LABELS else []
        return await self._glance(await self._listed(" ".join(terms), labels=labels, most=limit))

    async def find(self, message_id: str) -> Glanced:
        """Return the mail with this id; of several, the first that came.

        Raises:
            NotFound: There is none, or only in the trash.
        """
        if (own := _OWN_ID.fullmatch(message_id)) is not None:
            found = await self._glance([own[1]])
        else:
            found = await self._named(message_id)
        if not found:
            raise NotFound(
                "there is no mail with that message_id", hint="email.search shows the message_id of every mail"
            )
        return found[-1]

    async def sent(self, message_id: str) -> Glanced | None:
        """Return the mail with this id that went out, even if it was put into the trash since; None if there is none."""
        return next(iter(await self._named(message_id, label="SENT", trash=True)), None)

    async def newest_sent(self, most: int) -> list[Glanced]:
        """Return what went out last."""
        return await self._glance(await self._listed("", labels=["SENT"], most=most))

    async def drafted(self, message_id: str) -> bool:
        """Whether there is a draft with this id."""
        return bool(await self._named(message_id, label="DRAFT"))

    async def now(self) -> str:
        """Return where the mailbox's history stands."""
        return text_of(await self._api.get("profile"), "historyId")

    async def arrived(self, since: str, folder: Folder, *, most: int) -> Arrived | None:
        """Return mails that were added to a folder since a point of the history; None if Gmail has forgotten that point."""
        params: list[tuple[str, str | int]] = [("startHistoryId", since), ("historyTypes", "messageAdded")]
        params += [("labelId", _LABELS[folder])] if folder in _LABELS else []
        try:
            page = await self._api.get("history", [*params, ("maxResults", most)])
        except NotFound:
            return None
        ids: list[str] = []
        until, more = text_of(page, "historyId") or since, "nextPageToken" in page
        entries = objects(page, "history")
        for number, entry in enumerate(entries):
            if len(ids) >= most:
                until, more = text_of(entries[number - 1], "id"), True
                break
            added = [
                each["message"] for each in objects(entry, "messagesAdded") if isinstance(each.get("message"), dict)
            ]
            ids += [text_of(each, "id") for each in added]
        else:
            until = text_of(entries[-1], "id") if more and entries else until
        found = await self._glance(dict.fromkeys(ids), telling=True)
        return Arrived([mail for mail in found if mail.folder is folder and not mail.labels & _NOT_SHOWN], until, more)

    async def newest(self, folder: Folder, *, most: int) -> list[Glanced]:
        """Return the newest mails of a folder, oldest first."""
        labels = [_LABELS[folder]] if folder in _LABELS else []
        listed = await self._listed("" if labels else _ARCHIVED, labels=labels, most=most)
        return (await self._glance(listed, telling=True))[::-1]

    async def thread(self, thread: str) -> list[Glanced]:
        """Return the mails of a conversation, without those in the trash."""
        found = await self._api.get(f"threads/{part(thread)}", _metadata())
        mails = [_glanced(each) for each in objects(found, "messages")]
        return [mail for mail in mails if not mail.labels & _NOT_SHOWN]

    async def content(self, mail: Glanced) -> tuple[bytes, bool]:
        """Return a mail as it came, and whether that is all of it."""
        try:
            found = await self._api.get(f"messages/{part(mail.gmail_id)}", [("format", "raw")])
            content = base64.urlsafe_b64decode(_padded(text_of(found, "raw")))
        except AnswerTooLong:
            return mail.content, False
        except (ValueError, binascii.Error):
            raise ServiceUnavailable("the answer of Gmail makes no sense") from None
        return (content, True) if content and len(content) <= MAX_BYTES else (mail.content, False)

    async def send(self, content: bytes, *, thread: str | None) -> str:
        """Send a mail, and return Gmail's id of the copy in Sent; empty if Gmail does not say."""
        if len(content) > _MOST_IN_JSON:
            headers = {"Content-Type": "message/rfc822"}
            sent = await self._upload.change(
                "POST", "messages/send", content, params=[("uploadType", "media")], headers=headers
            )
        else:
            sent = await self._api.change("POST", "messages/send", _raw(content, thread))
        return text_of(sent, "id")

    async def draft(self, content: bytes, *, thread: str | None) -> None:
        """Put a mail into Drafts."""
        if len(content) > _MOST_IN_JSON:
            headers = {"Content-Type": "message/rfc822"}
            await self._upload.change("POST", "drafts", content, params=[("uploadType", "media")], headers=headers)
        else:
            await self._api.change("POST", "drafts", {"message": _raw(content, thread)})

    async def message_id(self, gmail_id: str) -> str | None:
        """Return the id that a mail carries; None if it carries none."""
        found = await self._glance([gmail_id])
        return next(iter(named_ids(found[0].content, "message-id")), None) if found else None

    async def move(self, gmail_id: str, folder: Folder) -> None:
        """Move a mail between Inbox and Archive; what is in Sent and Drafts is there already."""
        change = {"addLabelIds": ["INBOX"]} if folder is Folder.INBOX else {"removeLabelIds": ["INBOX"]}
        await self._api.change("POST", f"messages/{part(gmail_id)}/modify", dict(change))

    async def trash(self, gmail_id: str) -> None:
        """Put a mail into the trash, where Gmail keeps it for 30 days."""
        await self._api.change("POST", f"messages/{part(gmail_id)}/trash")

    async def _named(self, message_id: str, *, label: str | None = None, trash: bool = False) -> list[Glanced]:
        """Return the mails of that very id, newest first."""
        if not is_message_id(message_id) or not message_id.isascii():
            return []
        query = f"rfc822msgid:{message_id.strip('<>')}"
        listed = await self._listed(query, labels=[label] if label else [], most=_MOST_ALIKE, trash=trash)
        return [mail for mail in await self._glance(listed) if named_ids(mail.content, "message-id") == [message_id]]

    async def _listed(self, query: str, *, labels: Iterable[str], most: int, trash: bool = False) -> list[str]:
        params: list[tuple[str, str | int]] = [("labelIds", label) for label in labels]
        params += [("q", query)] if query else []
        params += [("includeSpamTrash", "true")] if trash else []
        found = await self._api.get("messages", [*params, ("maxResults", most)])
        return [text_of(each, "id") for each in objects(found, "messages")][:most]

    async def _glance(self, ids: Iterable[str], *, telling: bool = False) -> list[Glanced]:
        """Return the beginnings of mails, in this order, without those that are gone.

        Args:
            ids: Gmail's own.
            telling: With the headers that say whether a program wrote them.
        """
        turn = asyncio.Semaphore(_AT_ONCE)

        async def one(gmail_id: str) -> Glanced | None:
            async with turn:
                try:
                    return _glanced(await self._api.get(f"messages/{part(gmail_id)}", _metadata(telling=telling)))
                except NotFound:
                    return None

        return [mail for mail in await asyncio.gather(*map(one, ids)) if mail is not None]


def check_movable(mail: Glanced, folder: Folder) -> None:
    """Make sure that Gmail can have a mail in a folder.

    Raises:
        InvalidArguments: It can not.
    """
    label = _LABELS.get(folder)
    if folder in (Folder.SENT, Folder.DRAFTS) and label not in mail.labels:
        raise InvalidArguments("Gmail itself decides what is in Sent and Drafts; nothing can be moved there")


def _metadata(*, telling: bool = False) -> list[tuple[str, str]]:
    return [("format", "metadata"), *(("metadataHeaders", name) for name in (*_SHOWN, *(_TELLING if telling else ())))]


def _glanced(found: Json) -> Glanced:
    labels = found.get("labelIds")
    payload = found.get("payload")
    headers = objects(payload, "headers") if isinstance(payload, dict) else []
    lines: dict[str, str] = {}
    for each in headers:  # of several the first counts, as where the whole mail is read
        lines.setdefault(text_of(each, "name"), " ".join(text_of(each, "value").split())[:_LONGEST_HEADER])
    shown = [f"{name}: {value}" for name, value in lines.items() if name.lower() in _WANTED]
    text = ["Content-Type: text/plain; charset=utf-8", "Content-Transfer-Encoding: 8bit", ""]
    return Glanced(
        gmail_id=text_of(found, "id"),
        thread=text_of(found, "threadId"),
        labels=frozenset(filter(_is_text, labels)) if isinstance(labels, list) else frozenset(),
        content=_lines([*shown, *text, html.unescape(text_of(found, "snippet"))]),
        headers=_lines([*(f"{name}: {value}" for name, value in lines.items() if _NAME.fullmatch(name)), "", ""]),
    )


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _lines(lines: Iterable[str]) -> bytes:
    return "\r\n".join(lines).encode("utf-8", "replace")


def _plain_words(words: Iterable[str]) -> list[str]:
    """Return words in which Gmail finds no operators: `from:ana` is two words."""
    return [plain for word in words for plain in _OPERATORS.sub(" ", word).split()]


def _raw(content: bytes, thread: str | None) -> Json:
    raw: Json = {"raw": base64.urlsafe_b64encode(content).decode()}
    return {**raw, "threadId": thread} if thread else raw


def _padded(text: str) -> str:
    return text + "=" * (-len(text) % 4)
