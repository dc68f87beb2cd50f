"""What the tools need of a mailbox server, as blocking calls on one connection: find, fetch, append, move, delete.

It knows IMAP and its dialects, and neither tools nor threads. Nothing here marks a mail as read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Final

from imap_tools import BaseMailBox
from imap_tools.errors import MailboxFetchError, MailboxFolderSelectError
from imap_tools.folder import FolderInfo
from imap_tools.utils import check_command_status, encode_folder

from activities.email.contract import Folder
from activities.email.incoming import OWN_DOMAIN, is_message_id, named_ids
from activities.email.plaintext import plain
from retinue.errors import NotFound, ServiceUnavailable

TRASH = "trash"
ALL = "all"
GLANCE = 32 * 1024
"""Bytes of a mail that a list looks at: its headers and the beginning of its text."""
_MOST_ALIKE = 10
_UID = re.compile(rb"\bUID (\d{1,10})\b")
_SIZE = re.compile(rb"\bRFC822\.SIZE (\d{1,19})\b")
_SEEN = re.compile(rb"\bFLAGS \([^)]*\\Seen\b", re.IGNORECASE)
_PLACE_ID = re.compile(rf"<(inbox|sent|drafts|archive)\.(\d{{1,10}})\.(\d{{1,10}})@{re.escape(OWN_DOMAIN)}>")
_FLAGS: Final = {
    Folder.SENT: ("\\sent",),
    Folder.DRAFTS: ("\\drafts",),
    Folder.ARCHIVE: ("\\archive", "\\all"),
    TRASH: ("\\trash",),
    ALL: ("\\all",),
}
_NAMES: Final = {
    Folder.INBOX: ("inbox",),
    Folder.SENT: ("sent", "sent items", "sent messages", "sent mail"),
    Folder.DRAFTS: ("drafts", "draft"),
    Folder.ARCHIVE: ("archive", "archives"),
    TRASH: ("trash", "deleted items", "deleted messages", "bin"),
    ALL: (),
}
_CREATED: Final = {Folder.SENT: "Sent", Folder.DRAFTS: "Drafts", Folder.ARCHIVE: "Archive"}
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_ORDER: Final = (Folder.INBOX, Folder.ARCHIVE, Folder.DRAFTS, Folder.SENT)


@dataclass(frozen=True)
class Place:
    """The exact position of a mail. A server that renumbers a mailbox gives it a new `validity`."""

    folder: Folder
    mailbox: str
    validity: int
    uid: int

    def as_id(self) -> str:
        """Return the id of a mail without a unique one; a sender cannot choose such ids."""
        return f"<{self.folder.value}.{self.validity}.{self.uid}@{OWN_DOMAIN}>"


@dataclass(frozen=True)
class Fetched:
    """A mail as it came: its place, its first bytes, and how many there are in all."""

    place: Place
    content: bytes
    size: int
    unread: bool

    @property
    def whole(self) -> bool:
        """Whether nothing of it was left behind."""
        return len(self.content) >= self.size


@dataclass(frozen=True)
class Arrived:
    """A point in the order of arrival: mails from `uid` on are new. `on` is the day of the look."""

    validity: int
    uid: int
    on: date = field(default_factory=lambda: datetime.now(UTC).date())


@dataclass(frozen=True)
class Arrivals:
    """Mails that came, and the point after them; `first` are the numbers of those whose ids lead to them."""

    found: list[Fetched]
    until: Arrived
    more: bool
    renumbered: bool
    first: set[int] = field(default_factory=set)


class Mailboxes:
    """The mailboxes of one account, over a connection that is logged in."""

    def __init__(self, box: BaseMailBox) -> None:
        self._box = box
        self._listed: list[FolderInfo] | None = None

    def search(self, folder: Folder, *, words: Sequence[str], unread: bool | None, limit: int) -> list[Fetched]:
        """Return the newest mails, by arrival, that contain every word; with as much of each as a list shows."""
        mailbox = self.name_of(folder)
        if mailbox is None:
            return []
        validity = self._select(mailbox)
        uids = self._found(words, {True: "UNSEEN", False: "SEEN", None: None}[unread])[:limit]
        return self._fetch(folder, mailbox, validity, uids, most=GLANCE)

    def fetch(self, place: Place, *, most: int) -> Fetched:
        """Return one mail, at most `most` bytes of it.

        Raises:
            NotFound: It is not there any more.
        """
        self._select_again(place)
        found = self._fetch(place.folder, place.mailbox, place.validity, [str(place.uid)], most=most)
        if not found:
            raise _gone()
        return found[0]

    def locate(self, message_id: str) -> Place:
        """Return the position of the mail with this id; of several, the first one in the first folder.

        Raises:
            NotFound: There is none in any of our folders.
        """
        if (place := _PLACE_ID.fullmatch(message_id)) is not None:
            return self._numbered(Folder(place[1]), int(place[2]), int(place[3]))
        for folder in _ORDER if is_message_id(message_id) and message_id.isascii() else ():
            mailbox = self.name_of(folder)
            if mailbox is not None and (places := self.find(folder, mailbox, message_id)):
                return places[0]
        raise NotFound("there is no mail with that message_id", hint="email.search shows the message_id of every mail")

    def find(self, folder: Folder, mailbox: str, message_id: str) -> list[Place]:
        """Return the mails of that very id in one mailbox, first come first. A missing mailbox holds none."""
        try:
            validity = self._select(mailbox)
        except MailboxFolderSelectError:
            return []
        # Servers look for the words anywhere in the header, in any case: what they find is compared once more.
        uids = self._search(f"HEADER MESSAGE-ID {_quoted(message_id)}")[:_MOST_ALIKE]
        found = self._fetch(folder, mailbox, validity, uids, most=0, part="HEADER.FIELDS (MESSAGE-ID)")
        same = [mail.place for mail in found if named_ids(mail.content, "message-id") == [message_id]]
        return sorted(same, key=lambda place: place.uid)

    def related(self, folder: Folder, ids: Iterable[str], *, limit: int) -> list[Fetched]:
        """Mails of a folder that carry one of these ids or refer to it."""
        mailbox = self.name_of(folder)
        if mailbox is None:
            return []
        validity = self._select(mailbox)
        keys = [f"HEADER {header} {_quoted(name)}" for name in ids for header in ("MESSAGE-ID", "REFERENCES")]
        uids = self._search("OR " * (len(keys) - 1) + " ".join(keys))[:limit]
        return self._fetch(folder, mailbox, validity, uids, most=GLANCE)

    def arrivals(self, folder: Folder, after: Arrived | None, *, limit: int, latest: bool) -> Arrivals:
        """Return the mails that came into a folder after a point, oldest first; without a point, where it stands now.

        A server that numbers the mailbox again makes the point void: then those since the day before are returned.
        """
        mailbox = self.name_of(folder)
        if mailbox is None:
            return Arrivals([], Arrived(0, 0), more=False, renumbered=False)
        validity = self._select(mailbox)
        renumbered = after is not None and after.validity not in (0, validity)
        if after is None:
            uids = self._search("ALL") if latest else []
        elif renumbered:
            since = after.on - timedelta(days=1)  # days are counted by the server's own zone
            uids = self._search(f"SINCE {since.day}-{_MONTHS[since.month - 1]}-{since.year}")
        else:  # `n:*` always names the last mail too
            uids = [uid for uid in self._search(f"UID {after.uid}:*") if int(uid) >= after.uid]
        uids = sorted(uids, key=int)
        taken = uids[-limit:] if after is None else uids[:limit]
        more = after is not None and len(taken) < len(uids)
        following = max([self._uid_next(), *(int(uid) + 1 for uid in taken)]) if not more else int(taken[-1]) + 1
        found = self._fetch(folder, mailbox, validity, taken, most=GLANCE)
        first = {mail.place.uid for mail in found if folder is Folder.INBOX and self._is_first(mail)}
        return Arrivals(found, Arrived(validity, following), more=more, renumbered=renumbered, first=first)

    def _is_first(self, mail: Fetched) -> bool:
        """Whether its id leads to this very mail: a stranger can copy the id of any mail that he has seen."""
        ids = named_ids(mail.content, "message-id")
        return (
            len(ids) == 1
            and ids[0].isascii()
            and mail.place.uid == min(map(int, self._search(f"HEADER MESSAGE-ID {_quoted(ids[0])}")), default=0)
        )

    def _uid_next(self) -> int:
        """Return the number that the next mail of the selected mailbox will get, at least."""
        _, answer = self._box.client.response("UIDNEXT")
        if answer and answer[-1]:
            return int(answer[-1])
        return max([0, *map(int, self._box.uids("ALL", charset=None))]) + 1

    def append(self, folder: Folder, content: bytes, *, flags: tuple[str, ...], message_id: str) -> Place:
        """Put a mail of our own into a folder, unless it is there; of two, the later goes.

        Two workers that do this at once, or one that sleeps in between, leave one copy.
        """
        mailbox = self.name_of(folder) or self._create(folder)
        if not self.find(folder, mailbox, message_id):
            self._box.append(content, mailbox, datetime.now(UTC), flags)
        places = self.find(folder, mailbox, message_id)
        for place in places[1:]:
            self.remove(place)
        if not places:
            raise ServiceUnavailable("the mailbox server took a mail and does not show it")
        return places[0]

    def move(self, place: Place, folder: Folder, message_id: str) -> None:
        """Move the mail at that place. One that is not there any more has been moved."""
        target = self.name_of(folder) or self._create(folder)
        if target == place.mailbox:
            return
        arrived = self.find(folder, target, message_id) if "MOVE" not in self._box.client.capabilities else []
        self._select_again(place, readonly=False)
        uid = str(place.uid)
        if uid not in self._search(f"UID {uid}"):
            return
        if "MOVE" in self._box.client.capabilities:
            self._do("MOVE", uid, encode_folder(target))
            return
        if not arrived:
            self._do("COPY", uid, encode_folder(target))
        self._expunge(uid)

    def remove(self, place: Place) -> None:
        """Delete the mail at that place for good. One that is not there any more is deleted."""
        trash = self.name_of(TRASH)
        self._select_again(place, readonly=False)
        uid = str(place.uid)
        if uid not in self._search(f"UID {uid}"):
            return
        if "X-GM-EXT-1" in self._box.client.capabilities and trash is not None:
            self._do("MOVE", uid, encode_folder(trash))  # there expunging only takes a label off
            return
        self._expunge(uid)

    def name_of(self, folder: str) -> str | None:
        """Return the server's name for one of our folders: by its special-use flag, else by the usual names."""
        if folder == Folder.INBOX:
            return "INBOX"
        listed = self._list()
        for flag in _FLAGS[folder]:
            for info in listed:
                if flag in {own.lower() for own in info.flags}:
                    return info.name
        named = {_leaf(info): info.name for info in reversed(listed)}
        return next((named[name] for name in _NAMES[folder] if name in named), None)

    def _list(self) -> list[FolderInfo]:
        if self._listed is None:
            unusable = {"\\noselect", "\\nonexistent"}
            self._listed = [info for info in self._box.folder.list() if not unusable & {f.lower() for f in info.flags}]
        return self._listed

    def _create(self, folder: Folder) -> str:
        """Make a folder that the account lacks, under INBOX where the server keeps all of them there."""
        within = [info for info in self._box.folder.list() if info.name.upper().startswith("INBOX" + info.delim)]
        name = f"INBOX{within[0].delim}{_CREATED[folder]}" if within else _CREATED[folder]
        with suppress(MailboxFolderSelectError):
            self._box.folder.create(name)
        self._listed = None
        return name

    def _select(self, mailbox: str, *, readonly: bool = True) -> int:
        self._box.folder.set(mailbox, readonly=readonly)
        _, answer = self._box.client.response("UIDVALIDITY")
        return int(answer[-1]) if answer and answer[-1] else 0

    def _select_again(self, place: Place, *, readonly: bool = True) -> None:
        if self._select(place.mailbox, readonly=readonly) != place.validity:
            raise _gone()

    def _numbered(self, folder: Folder, validity: int, uid: int) -> Place:
        mailbox = self.name_of(folder)
        place = Place(folder, mailbox or "", validity, uid)
        if mailbox is None or self._select(mailbox) != validity or not self._search(f"UID {uid}"):
            raise _gone()
        return place

    def _found(self, words: Sequence[str], flag: str | None) -> list[str]:
        """UIDs of mails that contain every word, newest first."""
        ascii_words = [word for word in words if word.isascii()]
        keys = ["UNDELETED", *([flag] if flag else []), *map(_anywhere, ascii_words)]
        found = self._sorted(" ".join(keys))
        for word in set(words) - set(ascii_words):
            with_word = set(self._search_literal(word))
            found = [uid for uid in found if uid in with_word]
        return found

    def _sorted(self, criteria: str) -> list[str]:
        if "SORT" in self._box.client.capabilities:
            return self._box.uids(criteria, charset="UTF-8", sort="REVERSE ARRIVAL")
        return sorted(self._search(criteria), key=int, reverse=True)

    def _search(self, criteria: str) -> list[str]:
        return self._box.uids(f"UNDELETED {criteria}", charset=None)

    def _search_literal(self, word: str) -> list[str]:
        """Other than ASCII goes as a literal, of which the standard library sends one at the end of a command."""
        client = self._box.client
        client.literal = word.encode()  # type: ignore[assignment]  # typeshed says str; it is bytes that are sent
        answer = client.uid("SEARCH", "CHARSET", "UTF-8", "TEXT")
        check_command_status(answer, MailboxFetchError)
        return answer[1][0].decode("ascii").split() if answer[1] and answer[1][0] else []

    def _fetch(
        self, folder: Folder, mailbox: str, validity: int, uids: Sequence[str], *, most: int, part: str = ""
    ) -> list[Fetched]:
        """Fetch the beginnings of mails, in the order of `uids`; `most` 0 means the whole part."""
        if not uids:
            return []
        span = f"<0.{most}>" if most else ""
        wanted = f"(UID FLAGS RFC822.SIZE BODY.PEEK[{part}]{span})"
        answer = self._box.client.uid("FETCH", ",".join(uids), wanted)
        check_command_status(answer, MailboxFetchError)
        found = {}
        for said, content in _pieces(answer[1]):
            if (uid := _UID.search(said)) is not None:
                place = Place(folder, mailbox, validity, int(uid[1]))
                size = _SIZE.search(said)
                found[uid[1].decode()] = Fetched(place, content, int(size[1]) if size else 0, not _SEEN.search(said))
        return [found[uid] for uid in uids if uid in found]

    def _expunge(self, uid: str) -> None:
        """Take one mail out. Others that some program marked as deleted stay: they are not ours to remove."""
        self._do("STORE", uid, "+FLAGS.SILENT", r"(\Deleted)")
        if "UIDPLUS" in self._box.client.capabilities:
            self._do("EXPUNGE", uid)
        elif self._box.uids("DELETED", charset=None) == [uid]:
            self._box.expunge()

    def _do(self, *command: str | bytes) -> None:
        check_command_status(self._box.client.uid(*command), MailboxFetchError)  # type: ignore[arg-type]  # typeshed says str; bytes are sent as they are


def _anywhere(word: str) -> str:
    quoted = _quoted(plain(word))
    return f"OR SUBJECT {quoted} OR FROM {quoted} BODY {quoted}"


def _quoted(text: str) -> str:
    """Return a quoted string; line breaks, which would end the command, become blanks."""
    escaped = " ".join(text.split()).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _leaf(info: FolderInfo) -> str:
    """Return the last part of a folder's name; the outer parts are the server's way of keeping all under INBOX."""
    return info.name.rsplit(info.delim, 1)[-1].lower() if info.delim and info.delim != "NIL" else info.name.lower()


def _pieces(answer: Sequence[object]) -> Iterable[tuple[bytes, bytes]]:
    """The mails of a FETCH answer: what was said about each, before and right behind its content, and the content.

    Other pieces are news about other mails.
    """
    for index, piece in enumerate(answer):
        if isinstance(piece, tuple):
            behind = answer[index + 1] if index + 1 < len(answer) else b""
            yield piece[0] + b" " + (behind if isinstance(behind, bytes) else b""), piece[1]


def _gone() -> NotFound:
    return NotFound("this mail is not there any more", hint="email.search shows what is there now")
