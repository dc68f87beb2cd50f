"""Where the mail capability becomes a worker: its contract, its plugin, and the way in for mails from files."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from temporalio.plugin import SimplePlugin

from activities.email.contract import Email
from activities.email.incoming import MAX_BYTES, parse
from activities.email.settings import EmailSettings
from activities.email.store import MailStore
from activities.email.tools import EmailTools
from retinue.carried import acting_for
from retinue.edge import activities_of
from retinue.errors import InvalidArguments, NotFound
from retinue.organisation import EACH
from retinue.times import present

CONTRACT = Email


def notice(settings: EmailSettings | None = None) -> str:
    """What people should know about how it works here."""
    if (settings or EmailSettings()).provider != "own":
        return ""
    return "Mail stays in the mailbox of this installation: it is connected to no mail server, so nothing goes out."


def plugin(settings: EmailSettings | None = None) -> SimplePlugin:
    """The worker's part of this capability: its tools, and a mailbox that is open while the worker runs."""
    settings = settings or EmailSettings()
    store = MailStore(settings.database_url)
    tools: Email
    shut: Callable[[], None]
    if settings.provider == "imap":
        # imported here: the libraries cost 10 MB, which a worker over its own mailbox need not carry
        from activities.email.mail_server import over_mail_server

        tools, shut = over_mail_server(store.database.shared(), settings)
        whose = settings.organisation
    else:
        tools, shut = EmailTools(store, sender=settings.from_), _nothing
        whose = EACH

    @asynccontextmanager
    async def opened() -> AsyncIterator[None]:
        async with _opened(store):
            try:
                yield
            finally:
                shut()

    return SimplePlugin(Email.name, activities=activities_of(tools, whose=whose), run_context=opened)


async def import_file(path: Path, settings: EmailSettings | None = None) -> str:
    """Deliver one .eml file into the inbox and say what happened. The same mail twice is delivered once.

    Raises:
        NotFound: There is no such file.
        InvalidArguments: It is no mail, or too large; or the mailbox is on a mail server, which gets its mails itself.
        ServiceUnavailable: The database does not answer.
    """
    settings = settings or EmailSettings()
    if settings.provider != "own":
        raise InvalidArguments("the mailbox is on a mail server (EMAIL_PROVIDER); send the mail to it instead")
    content = await asyncio.to_thread(_content, path)
    message = await asyncio.to_thread(parse, content, now=present())
    title, sender = message.subject or "(no subject)", message.sender or "an unknown sender"
    async with _opened(MailStore(settings.database_url)) as mailbox:
        with acting_for(settings.organisation):
            known = await mailbox.deliver(message)
    if known is not None:
        return f"'{title}' from {sender} is already there, in {known.folder.value}."
    return f"Delivered '{title}' from {sender} to the inbox."


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise NotFound(f"there is no file {path}") from None
    except OSError as error:
        raise InvalidArguments(f"{path} cannot be read: {error.strerror}") from None
    if len(content) > MAX_BYTES:
        raise InvalidArguments(f"{path} is larger than {MAX_BYTES // 1024**2} MiB, which is the most a mail may have")
    return content


@asynccontextmanager
async def _opened(mailbox: MailStore) -> AsyncIterator[MailStore]:
    await mailbox.open()
    try:
        yield mailbox
    finally:
        await mailbox.close()


def _nothing() -> None:
    """The own mailbox holds nothing but its database."""
