"""Seals the secrets of accounts: AES-256-GCM under keys that rotate, each bound to its person and account.

A sealed text is `v1.<base64 of nonce and ciphertext>.<key id>`. Person and account are its associated data, so that a row
that was exchanged with another cannot be opened. A missing key is never replaced by itself: what it sealed would be lost.
"""

from __future__ import annotations

import base64
import os
import secrets
import stat
from pathlib import Path

from retinue.errors import ServiceRefused
from retinue.json_values import canonical_json
from retinue.temporal.keyring import Keyring, create_key_file, new_key, parse_keys, read_keys

_VERSION = "v1"
_NONCE = 12
_PRIVATE = 0o600
NEW_KEY = "python -P -m accounts new-key"


class Unreadable(ServiceRefused):
    """A sealed secret cannot be opened: its key is missing, or it was changed."""


class KeySource:
    """The keys that seal secrets, from a file that is read again when it changes.

    Args:
        file: One `id:key` a line; the first one seals.
        own: Whether it is the installation's own file, which is created at the first start.
    """

    def __init__(self, file: Path, *, own: bool) -> None:
        self.file = file
        self._own = own
        self._ring: Keyring | None = None
        self._read_at: tuple[int, int, int] | None = None

    @classmethod
    def fixed(cls, ring: Keyring) -> KeySource:
        """Return keys that came by a variable."""
        source = cls(Path("/nonexistent"), own=False)
        source._ring, source._read_at = ring, (-1, -1, -1)
        return source

    @property
    def is_file(self) -> bool:
        """Whether the keys are in a file."""
        return self._read_at != (-1, -1, -1)

    def create_first(self, *, shared: bool = False) -> None:
        """Create the own key file, for an installation without sealed secrets; an existing one is kept.

        Args:
            shared: Processes on several machines may share the database. Then none is created, since each machine would
                create another one, and could not open what the others sealed.
        """
        if self.is_file and self._own and not shared:
            create_key_file(self.file)

    def add(self) -> None:
        """Put a new key first in the file; the others stay, to open what they sealed.

        Raises:
            ServiceRefused: The keys came by a variable, which only the operator can change.
        """
        if not self.is_file:
            raise ServiceRefused(
                "the keys are set by a variable", hint="put a new key before the others there, and start again"
            )
        old = self.file.read_text(encoding="ascii") if self.file.exists() else ""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        draft = self.file.with_suffix(f".{secrets.token_hex(8)}")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _PRIVATE)
        with os.fdopen(descriptor, "w", encoding="ascii") as content:
            content.write(f"{new_key()}\n{old}")
            content.flush()
            os.fsync(content.fileno())
        draft.replace(self.file)

    def ring(self) -> Keyring | None:
        """Return the keys; None if the file is missing or unreadable: `problem` says why."""
        if not self.is_file:
            return self._ring
        try:
            found = self.file.stat()
        except OSError:
            self._ring = self._read_at = None
            return None
        seen = (found.st_mtime_ns, found.st_size, found.st_ino)
        if seen != self._read_at:
            try:
                self._ring = read_keys(None, self.file, kind="accounts_seal")
            except ValueError:
                self._ring = None
            self._read_at = seen
        return self._ring

    def problem(self) -> str:
        """Return in words what is wrong with the keys; empty if nothing is. It contains no part of a key."""
        if not self.is_file:
            return ""
        try:
            mode = stat.S_IMODE(self.file.stat().st_mode)
            parse_keys(self.file.read_text(encoding="ascii"), kind="accounts_seal")
        except FileNotFoundError:
            return (
                f"the key file {self.file} is missing; restore it from a backup, begin again with `{NEW_KEY}`, or give all "
                "replicas the same RETINUE_ACCOUNTS_SEAL_KEYS"
            )
        except (OSError, ValueError):
            return f"the key file {self.file} cannot be read; restore it from a backup"
        if mode & 0o077:
            return f"the key file {self.file} can be read by others (mode {mode:o}); run: chmod 600 {self.file}"
        return ""


class Sealer:
    """Seals and opens the secrets of accounts."""

    def __init__(self, keys: KeySource) -> None:
        self.keys = keys

    def seal(self, plain: str, *, person: str, account_id: str) -> str:
        """Return a secret sealed under the first key.

        Raises:
            ServiceRefused: There is no key.
        """
        # imported here: it costs 7 MB, which only installations with accounts need
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        ring = self.keys.ring()
        if ring is None:
            raise ServiceRefused("secrets cannot be kept", hint=self.keys.problem() or "the operator sets a key")
        nonce = secrets.token_bytes(_NONCE)
        content = AESGCM(ring.keys[ring.primary]).encrypt(nonce, plain.encode(), _bound(person, account_id))
        return f"{_VERSION}.{base64.urlsafe_b64encode(nonce + content).decode()}.{ring.primary}"

    def open(self, sealed: str, *, person: str, account_id: str) -> str:
        """Return a secret.

        Raises:
            Unreadable: Its key is missing, it was changed, or it belongs to another person or account.
        """
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        name, content = key_of(sealed), sealed.split(".")[1] if sealed.count(".") > 1 else ""
        ring = self.keys.ring()
        if ring is None or name not in ring.keys:
            raise Unreadable("its key is missing", hint=f"the operator restores the key {name}, or connect it again")
        try:
            data = base64.urlsafe_b64decode(content)
            return AESGCM(ring.keys[name]).decrypt(data[:_NONCE], data[_NONCE:], _bound(person, account_id)).decode()
        except (InvalidTag, ValueError):
            raise Unreadable("its stored secret was changed", hint="connect it again") from None

    def readable(self, sealed: str) -> bool:
        """Whether the key of a sealed secret is there."""
        ring = self.keys.ring()
        return ring is not None and key_of(sealed) in ring.keys

    def is_current(self, sealed: str) -> bool:
        """Whether it is sealed under the first key."""
        ring = self.keys.ring()
        return ring is not None and key_of(sealed) == ring.primary


def key_of(sealed: str) -> str:
    """Return the id of the key of a sealed secret; ids may contain dots, so it comes last."""
    version, _, rest = sealed.partition(".")
    return rest.partition(".")[2] if version == _VERSION else ""


def _bound(person: str, account_id: str) -> bytes:
    return canonical_json(["retinue/accounts", person, account_id]).encode()
