"""Where settings become the provider over real servers."""

from collections.abc import Callable

from activities.email.contract import Email
from activities.email.imap_client import ImapServer
from activities.email.imap_email import ImapEmail
from activities.email.servers import trusted
from activities.email.settings import EmailSettings
from activities.email.smtp import Submission
from retinue.store import Store


def over_mail_server(store: Store, settings: EmailSettings) -> tuple[Email, Callable[[], None]]:
    """Return the tools, and what ends their threads.

    Raises:
        ServiceRefused: `EMAIL_CA_FILE` cannot be used.
    """
    certificates = trusted(settings.ca_file)
    mailbox = ImapServer(settings.imap_server(), certificates)
    submission = Submission(settings.smtp_server(), certificates, settle=settings.settle_seconds)
    tools = ImapEmail(store, submission, mailbox, sender=settings.from_, settle=settings.settle_seconds)
    return tools, mailbox.close
