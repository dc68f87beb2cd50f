"""The own address book on PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from activities.contacts.settings import ContactsSettings
from tests.activities.contacts import test_tools, test_vcard_file
from tests.activities.contacts.conftest import call, fill
from tests.databases.borrowed import borrowed, count

__all__ = ["call", "fill"]

for module, number in ((test_tools, 22), (test_vcard_file, 7)):
    globals().update(borrowed(module, "call", "settings", "count_contacts", "fill", "provider", at_least=number))


@pytest.fixture
def provider() -> str:
    return "own"


@pytest.fixture
def settings(postgresql_url: str) -> ContactsSettings:
    return ContactsSettings(database_url=postgresql_url)


@pytest.fixture
def count_contacts(postgresql_url: str) -> Callable[[], int]:
    return count(postgresql_url, "contact")
