"""Settings of the mail capability: `EMAIL_*`."""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, SecretStr, ValidationInfo, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from activities.email.contract import Address
from activities.email.incoming import OWN_DOMAIN
from activities.email.servers import IMAP, SMTP, Kinds, MailServer, parse_server
from retinue.ledger import SETTLE
from retinue.settings import RetinueSettings
from retinue.tenancy import HOME


class EmailSettings(BaseSettings):
    """Where the mailbox is kept and whose it is. Built at the entry point and passed down."""

    model_config = SettingsConfigDict(
        env_prefix="EMAIL_", env_ignore_empty=True, populate_by_name=True, hide_input_in_errors=True
    )

    provider: Literal["own", "imap"] = Field(
        "own",
        description="'own': the mailbox lives in this capability's database; 'imap': on a mail server, mails go out by SMTP",
    )
    database_url: str = Field(
        default_factory=lambda: RetinueSettings().sqlite_url("email"),
        description="the capability's own database, as an SQLAlchemy address with an asyncio driver",
    )
    from_: Address = Field(
        f"me@{OWN_DOMAIN}", validation_alias="EMAIL_FROM", description="the person's own address: sender of all mail"
    )
    smtp_url: SecretStr | None = Field(None, description="smtp://user:password@host:587 (STARTTLS) or smtps://...:465")
    imap_url: SecretStr | None = Field(None, description="imaps://user:password@host:993 or imap://...:143 (STARTTLS)")
    organisation: str = Field(
        HOME,
        description="whose the account on the mail server is; whose own mailbox a mail from a file is delivered into",
    )
    ca_file: Path | None = Field(None, description="certificates (PEM) of a private authority that signs the servers'")
    settle_seconds: float = Field(
        SETTLE,
        ge=1,
        le=90,
        description="how long a sending that never reported may still do so, before the person is asked",
    )

    @field_validator("smtp_url", "imap_url")
    @classmethod
    def _readable(cls, url: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if url is not None:
            parse_server(url.get_secret_value(), SMTP if info.field_name == "smtp_url" else IMAP)
        return url

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.provider == "imap" and (self.smtp_url is None or self.imap_url is None):
            raise ValueError("EMAIL_PROVIDER=imap needs EMAIL_SMTP_URL and EMAIL_IMAP_URL")
        if self.provider == "imap" and self.from_.endswith(f"@{OWN_DOMAIN}"):
            raise ValueError("EMAIL_PROVIDER=imap needs EMAIL_FROM: the address that the mail server knows you by")
        return self

    def smtp_server(self) -> MailServer:
        """Where mails are handed over for sending."""
        return _named(self.smtp_url, SMTP)

    def imap_server(self) -> MailServer:
        """Where the mailbox is."""
        return _named(self.imap_url, IMAP)


def _named(url: SecretStr | None, kinds: Kinds) -> MailServer:
    if url is None:
        raise ValueError("no mail server is named in the settings")
    return parse_server(url.get_secret_value(), kinds)
