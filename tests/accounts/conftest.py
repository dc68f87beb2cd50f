"""What tests of the accounts service share."""

from tests.accounts.emulators import emulators
from tests.accounts.outgoing import outgoing

__all__ = ["emulators", "outgoing"]
