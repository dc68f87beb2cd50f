"""Keys by which the accounts service knows its callers, all derived from the installation's root key.

The accounts service has the root key; each caller gets only its own key, in `RETINUE_ACCOUNTS_KEY`. So a stolen key of one
capability opens nothing of another, and nothing of the people's side. `python -P -m accounts keys` prints them.
"""

from __future__ import annotations

import base64
import hmac
from pathlib import Path

from retinue.temporal.keyring import Keyring, create_key_file, read_keys

PEOPLE = "people"
"""The caller that acts for authenticated people: the front door."""
CAPABILITIES = ("calendar", "contacts", "email", "reasoning")
"""Those that may ask for accounts; `reasoning` learns names for planning, and gets no connection."""
ROOT_FILE = "accounts-root.key"
"""The root key of a local stack, in the data folder."""
SEAL_FILE = "accounts-seal.keys"
"""The keys of sealed secrets of a local stack, in the data folder; the accounts service alone reads it."""


def local_root(data_dir: Path) -> Keyring:
    """Return the root key of a local stack, created at first use.

    Raises:
        ValueError: The file cannot be read, or is malformed. The message contains no part of a key.
    """
    found = read_keys(None, create_key_file(data_dir.resolve() / ROOT_FILE), kind="accounts_root")
    assert found is not None
    return found


def bearer_of_people(root: Keyring) -> str:
    """Return the key of the front door."""
    return _bearer(root, root.primary, PEOPLE)


def bearer_of(capability: str, root: Keyring) -> str:
    """Return the key of a capability's workers."""
    return _bearer(root, root.primary, f"capability/{capability}")


def caller(bearer: str, root: Keyring) -> str | None:
    """Return to whom a key belongs: `people` or `capability/<name>`; None if it is not one of this installation's.

    Keys of all roots in the ring are accepted, so that a root can be changed without a stop.
    """
    who, _, rest = bearer.partition("~")
    name, _, _ = rest.partition("~")
    expected = _bearer(root, name, who) if name in root.keys and bearer.isascii() else ""
    return who if expected and hmac.compare_digest(expected, bearer) else None


def pass_keys(root: Keyring) -> str:
    """Return the keys of step passes for `RETINUE_ACCOUNTS_PASS_KEYS`: one per root key."""
    return ",".join(f"{name}:{base64.urlsafe_b64encode(_derived(root, name, 'pass')).decode()}" for name in root.keys)


def _bearer(root: Keyring, name: str, who: str) -> str:
    return f"{who}~{name}~{_derived(root, name, f'caller/{who}').hex()}"


def _derived(root: Keyring, name: str, purpose: str) -> bytes:
    return hmac.new(root.keys[name], f"retinue/accounts/{purpose}".encode(), "sha256").digest()
