import asyncio
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError
from temporalio.testing import ActivityEnvironment

from activities.email.contract import Email, SearchMail
from activities.email.incoming import MAX_BYTES
from activities.email.servers import Security
from activities.email.settings import EmailSettings
from activities.email.store import MailStore
from activities.email.worker import CONTRACT, import_file, plugin
from retinue.effect_status import CLOSE_EFFECT
from retinue.errors import InvalidArguments, NotFound
from retinue.testing import activities_by_name
from tests.activities.email.conftest import OwnBox, caller

MAIL = b"From: Ana <ana@example.com>\nSubject: Hello\nMessage-ID: <1@example.com>\n\nHi\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "one.eml"
    path.write_bytes(MAIL)
    return path


async def test_a_file_is_delivered_once(file: Path, settings: EmailSettings, mailbox: MailStore) -> None:
    first = await import_file(file, settings)
    second = await import_file(file, settings)

    assert first == "Delivered 'Hello' from ana@example.com to the inbox."
    assert second == "'Hello' from ana@example.com is already there, in inbox."
    assert await mailbox.count() == 1


async def test_an_archived_mail_does_not_come_back(
    own_box: OwnBox, file: Path, settings: EmailSettings, mailbox: MailStore
) -> None:
    await import_file(file, settings)
    await caller(own_box.tools())("archive", {"message_id": "<1@example.com>"})

    assert "already there, in archive" in await import_file(file, settings)
    assert await mailbox.count() == 1


async def test_ten_deliveries_at_once_deliver_one_mail(file: Path, settings: EmailSettings, mailbox: MailStore) -> None:
    sentences = await asyncio.gather(*(import_file(file, settings) for _ in range(10)))

    assert sum(sentence.startswith("Delivered") for sentence in sentences) == 1
    assert await mailbox.count() == 1


async def test_a_delivered_mail_is_found_by_its_words(file: Path, settings: EmailSettings, mailbox: MailStore) -> None:
    await import_file(file, settings)

    assert [mail.subject for mail in await mailbox.search(SearchMail(query="hello HI ana"))] == ["Hello"]


async def test_a_missing_file_is_not_found(tmp_path: Path, settings: EmailSettings) -> None:
    with pytest.raises(NotFound, match=r"none\.eml"):
        await import_file(tmp_path / "none.eml", settings)


async def test_a_folder_is_no_mail(tmp_path: Path, settings: EmailSettings) -> None:
    with pytest.raises(InvalidArguments, match="cannot be read"):
        await import_file(tmp_path, settings)


async def test_a_file_above_the_limit_is_refused(file: Path, settings: EmailSettings, mailbox: MailStore) -> None:
    file.write_bytes(MAIL + b"x" * MAX_BYTES)

    with pytest.raises(InvalidArguments, match="larger than 12 MiB"):
        await import_file(file, settings)
    assert await mailbox.count() == 0


async def test_the_plugin_serves_every_tool_while_its_context_is_open(settings: EmailSettings, file: Path) -> None:
    await import_file(file, settings)
    capability = plugin(settings)
    activities = activities_by_name(capability.activities)

    assert capability.run_context is not None
    async with capability.run_context():
        found = await ActivityEnvironment().run(activities["email.search"], {})

    assert list(activities) == [*(spec.name for spec in CONTRACT.manifest().tools), CLOSE_EFFECT]
    assert [mail["subject"] for mail in found["messages"]] == ["Hello"]
    assert CONTRACT is Email


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMAIL_FROM", "ana@example.com")
    monkeypatch.setenv("EMAIL_DATABASE_URL", "sqlite+aiosqlite:////tmp/other.db")
    settings = EmailSettings()

    assert (settings.from_, settings.database_url) == ("ana@example.com", "sqlite+aiosqlite:////tmp/other.db")


@pytest.mark.parametrize(
    ("name", "value", "named"),
    [("EMAIL_FROM", "Ana <ana@example.com>", "EMAIL_FROM"), ("EMAIL_PROVIDER", "pigeon", "provider")],
)
def test_settings_that_could_not_be_honoured_are_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, named: str
) -> None:
    monkeypatch.setenv(name, value)

    with pytest.raises(ValidationError) as failure:
        EmailSettings()
    assert [error["loc"] for error in failure.value.errors()] == [(named,)]


def test_the_default_mailbox_is_in_the_data_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("EMAIL_DATABASE_URL", raising=False)
    monkeypatch.setenv("RETINUE_DATA_DIR", str(tmp_path))

    assert EmailSettings().database_url == f"sqlite+aiosqlite:///{tmp_path.resolve() / 'email.db'}"


SERVERS = {
    "EMAIL_PROVIDER": "imap",
    "EMAIL_FROM": "ana@example.com",
    "EMAIL_SMTP_URL": "smtp://ana%40example.com:p%3Acanary@mail.example.com",
    "EMAIL_IMAP_URL": "imaps://ana:canary@mail.example.com:1993",
}


def test_mail_servers_are_read_from_their_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SERVERS.items():
        monkeypatch.setenv(name, value)
    settings = EmailSettings()
    smtp, imap = settings.smtp_server(), settings.imap_server()

    assert (smtp.host, smtp.port, smtp.security) == ("mail.example.com", 587, Security.STARTTLS)
    assert (smtp.username, smtp.password) == ("ana@example.com", "p:canary")
    assert (imap.host, imap.port, imap.security) == ("mail.example.com", 1993, Security.TLS)
    assert "canary" not in f"{settings!r} {smtp!r} {imap}"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("EMAIL_SMTP_URL", ""),
        ("EMAIL_IMAP_URL", ""),
        ("EMAIL_FROM", ""),
        ("EMAIL_SMTP_URL", "imap://ana:canary@mail.example.com"),
        ("EMAIL_SMTP_URL", "smtp://ana:canary@mail.example.com?starttls=false"),
        ("EMAIL_SMTP_URL", "smtps://ana:canary@127.0.0.1?starttls=false"),
        ("EMAIL_IMAP_URL", "imap://ana:canary@mail.example.com?starttls=no"),
        ("EMAIL_IMAP_URL", "imap://ana:canary@mail.example.com:99999"),
        ("EMAIL_IMAP_URL", "imap://ana:canary@[::1"),
        ("EMAIL_IMAP_URL", "imap://ana:canary@mail\u2100.example.com"),
        ("EMAIL_IMAP_URL", "canary"),
        ("EMAIL_SETTLE_SECONDS", "1000"),
    ],
)
def test_mail_servers_that_could_not_be_honoured_are_refused_without_repeating_the_password(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    for variable, right in {**SERVERS, name: value}.items():
        monkeypatch.setenv(variable, right)

    with pytest.raises(ValidationError) as failure:
        EmailSettings()
    assert "canary" not in str(failure.value)


async def test_a_file_is_not_delivered_to_a_mail_server(file: Path, settings: EmailSettings) -> None:
    with pytest.raises(InvalidArguments, match="send the mail to it"):
        await import_file(file, settings.model_copy(update={"provider": "imap"}))


def test_a_worker_over_its_own_mailbox_carries_no_mail_libraries() -> None:
    code = "import sys, activities.email.worker as w; w.plugin(); print({'aiosmtplib', 'imap_tools'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=50)

    assert done.stdout.strip() == "set()"
