"""A mailbox on a real SQLite file, and its tools as the activities that a worker runs."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from temporalio.testing import ActivityEnvironment

from activities.email.settings import EmailSettings
from activities.email.store import MailStore
from activities.email.tools import EmailTools
from retinue.edge import activities_of
from retinue.testing import activities_by_name

Call = Callable[..., Awaitable[dict[str, Any]]]


@pytest.fixture
def settings(tmp_path: Path) -> EmailSettings:
    return EmailSettings(database_url=f"sqlite+aiosqlite:///{tmp_path / 'email.db'}", from_="me@retinue.example")


@pytest.fixture
async def mailbox(settings: EmailSettings) -> AsyncIterator[MailStore]:
    mailbox = MailStore(settings.database_url)
    await mailbox.open()
    yield mailbox
    await mailbox.close()


@pytest.fixture
def call(mailbox: MailStore) -> Call:
    """Run one tool as the activity of one step: `await call("send", {...}, step="s1")`."""
    tools = activities_of(EmailTools(mailbox, sender="me@retinue.example"))
    by_name = activities_by_name(tools)

    async def run(tool: str, arguments: dict[str, Any], *, step: str = "s1", workflow: str = "w1") -> dict[str, Any]:
        name = f"email.{tool}"
        environment = ActivityEnvironment()
        environment.info = replace(environment.info, workflow_id=workflow, activity_id=step, activity_type=name)
        return await environment.run(by_name[name], arguments)

    return run
