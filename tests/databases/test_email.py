"""The own mailbox on PostgreSQL."""

from __future__ import annotations

import pytest

from activities.email.settings import EmailSettings
from tests.activities.email import test_attachments, test_replying, test_tools, test_worker
from tests.activities.email.conftest import OwnBox, call, mailbox, own_box
from tests.databases.borrowed import borrowed

__all__ = ["call", "mailbox", "own_box"]

for module, number in ((test_tools, 22), (test_worker, 8), (test_replying, 9), (test_attachments, 7)):
    globals().update(borrowed(module, "call", "mailbox", "settings", "box", "own_box", at_least=number))


@pytest.fixture
def settings(postgresql_url: str) -> EmailSettings:
    return EmailSettings(database_url=postgresql_url, from_="me@retinue.example")


@pytest.fixture
def box(own_box: OwnBox) -> OwnBox:
    return own_box
