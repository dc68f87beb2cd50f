"""Where the mail capability becomes a worker: its contract, its plugin, and the way in for mails from files."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from temporalio.plugin import SimplePlugin

from activities.email.contract import Email
from activities.email.incoming import MAX_BYTES, parse
from activities.email.mbox import is_mbox, mails_of
from activities.email.routed import routing
from activities.email.settings import EmailSettings
from activities.email.store import MailStore
from activities.email.tools import EmailTools
from retinue.accounts.client import accounts_of
from retinue.accounts.connection import NamedAccounts
from retinue.activity_adapter import build_activities, keep_open
from retinue.errors import InvalidArguments
from retinue.file_import import LeftOut, content_of, outcome
from retinue.temporal.tenant_header import working_for
from retinue.tenancy import ANY_TENANT
from retinue.times import present

CONTRACT = Email
LARGEST_MBOX = 100 * 1024 * 1024


def notice(settings: EmailSettings | None = None) -> str:
    """What people should know about how it works here."""
    if (settings or EmailSettings()).provider != "own":
        return ""
    return "Mail stays in the mailbox of this installation: it is connected to no mail server, so nothing goes out."


def plugin(settings: EmailSettings | None = None, accounts: NamedAccounts | None = None) -> SimplePlugin:
    """Return the worker's part of this capability: its tools, and a mailbox that is open while the worker runs.

    Args:
        settings: By default those of the environment.
        accounts: Of people at services elsewhere; by default those of the environment, if any.
    """
    settings = settings or EmailSettings()
    store = MailStore(settings.database_url)
    service = None if accounts else accounts_of()
    known = accounts or service
    routed = routing(settings, store.database, known) if known else None
    tools: Email
    shut: Callable[[], None]
    if settings.provider == "imap":
        # imported here: the libraries cost 10 MB, which a worker over its own mailbox need not carry
        from activities.email.mail_server import over_mail_server

        tools, shut = over_mail_server(store.database.shared(), settings)
        tenant = settings.organisation
    else:
        tools, shut = EmailTools(store, sender=settings.from_), _nothing
        tenant = ANY_TENANT

    @asynccontextmanager
    async def opened() -> AsyncIterator[None]:
        async with keep_open(store.database, service, routed)():
            try:
                yield
            finally:
                shut()

    calls = build_activities(tools, tenant=tenant, accounts=routed)
    return SimplePlugin(Email.name, activities=calls, run_context=opened)


async def import_file(path: Path, settings: EmailSettings | None = None, *, person: str = "") -> str:
    """Deliver an .eml file, or all mails of an mbox, into the inbox and say what happened. No mail is delivered twice.

    Args:
        path: Of the file.
        settings: Of the mailbox.
        person: Whose mailbox; may be left out where nobody is told apart.

    Raises:
        NotFound: There is no such file.
        InvalidArguments: It is no mail, or too large; or the mailbox is on a mail server, which gets its mails itself.
        ServiceUnavailable: The database does not answer.
    """
    settings = settings or EmailSettings()
    if settings.provider != "own":
        raise InvalidArguments("the mailbox is on a mail server (EMAIL_PROVIDER); send the mail to it instead")
    mails = await asyncio.to_thread(lambda: mails_of(_content(path)))
    mailbox = MailStore(settings.database_url)
    async with mailbox.database:
        with working_for(person, of_organisation=settings.organisation):
            if len(mails) == 1:
                return (await _delivered(mails[0], mailbox))[1]
            return await _all_delivered(mails, mailbox)


async def _all_delivered(mails: list[bytes], mailbox: MailStore) -> str:
    new, left_out = 0, []
    for number, content in enumerate(mails, start=1):
        try:
            is_new, _ = await _delivered(content, mailbox)
            new += is_new
        except InvalidArguments as error:
            left_out.append(LeftOut(f"mail {number} of {len(mails)}", error.message))
    known = len(mails) - len(left_out) - new
    return outcome(f"{new} mails delivered to the inbox, {known} already there", left_out)


async def _delivered(content: bytes, mailbox: MailStore) -> tuple[bool, str]:
    """Whether the mail is new, and a sentence about it."""
    message = await asyncio.to_thread(parse, content, now=present())
    title, sender = message.subject or "(no subject)", message.sender or "an unknown sender"
    known = await mailbox.deliver(message, content)
    if known is not None:
        return False, f"'{title}' from {sender} is already there, in {known.folder.value}."
    return True, f"Delivered '{title}' from {sender} to the inbox."


def _content(path: Path) -> bytes:
    content = content_of(path, LARGEST_MBOX)
    if len(content) > MAX_BYTES and not is_mbox(content):
        raise InvalidArguments(f"{path} is larger than {MAX_BYTES // 1024**2} MiB, which is the most a mail may have")
    return content


def _nothing() -> None:
    """The own mailbox holds nothing but its database."""
