"""What tests of the accounts service share."""

from tests.accounts.emulators import emulators

__all__ = ["emulators"]
