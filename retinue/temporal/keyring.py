"""Reads and creates an installation's secret keys, for encryption and for proofs of decisions.

python -P -m retinue.temporal.keyring new-key      prints a line for a key file or variable
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hmac
import os
import re
import secrets
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pydantic import SecretStr

KEY_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}")
"""The form of a key's id."""
SCHEDULE_SUFFIX = re.compile(r"-\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
"""The suffix that Temporal appends to the workflow id of a schedule's action."""
_KEY_BYTES = 32
_MAX_KEYS = 20
_MAX_TEXT = 64 * 1024


@dataclass(frozen=True, repr=False)
class Keyring:
    """Secrets by id. The first one encrypts or signs, the others only decrypt or verify."""

    keys: Mapping[str, bytes]

    @property
    def primary(self) -> str:
        """The id of the key that encrypts or signs."""
        return next(iter(self.keys))

    def mac(self, name: str, content: bytes) -> str | None:
        """Return the HMAC-SHA-256 (hex) by one key; None if the keyring does not have it."""
        secret = self.keys.get(name)
        return hmac.new(secret, content, "sha256").hexdigest() if secret else None


def parse_keys(text: str, *, kind: str) -> Keyring:
    """Read keys as `id:key` by comma or line. Empty lines and those that begin with # are skipped.

    Args:
        text: The keys.
        kind: Their use, for messages: "decision".

    Raises:
        ValueError: There is none, one is malformed, or an id occurs twice. The message contains no part of a key.
    """
    lines = [line.strip() for part in text.split(",") for line in part.splitlines()]
    entries = [line.partition(":") for line in lines if line and not line.startswith("#")]
    keys = {name: _secret(f"{kind} key {number}", name, coded) for number, (name, _, coded) in enumerate(entries, 1)}
    if not keys:
        raise ValueError(f"there is no {kind} key; `python -P -m retinue.temporal.keyring new-key` makes one")
    if len(keys) != len(entries) or len(keys) > _MAX_KEYS:
        raise ValueError(f"each {kind} key needs its own id, and there may be at most {_MAX_KEYS}")
    return Keyring(keys)


def read_keys(keys: SecretStr | None, file: Path | None, *, kind: str) -> Keyring | None:
    """Return the keys in `RETINUE_<KIND>_KEYS`, or in the file named by `RETINUE_<KIND>_KEY_FILE`; None without both.

    Raises:
        ValueError: Both are set, the file cannot be read, or a key is malformed. The message holds no part of a key.
    """
    variable = f"RETINUE_{kind.upper()}_KEY"
    if keys is not None and file is not None:
        raise ValueError(f"set either {variable}S or {variable}_FILE")
    if keys is not None:
        return parse_keys(keys.get_secret_value(), kind=kind)
    return parse_keys(_read(file, f"{variable}_FILE"), kind=kind) if file is not None else None


def _read(file: Path, variable: str) -> str:
    try:
        with file.open(encoding="ascii") as content:
            return content.read(_MAX_TEXT)
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{variable} cannot be read: {type(error).__name__}") from None


def _secret(which: str, name: str, coded: str) -> bytes:
    if not KEY_NAME.fullmatch(name):
        raise ValueError(f"{which} needs the form id:key; ids have 1 to 40 of A-Z, a-z, 0-9, . _ and -")
    try:
        secret = base64.b64decode(coded.strip().rstrip("=") + "=", altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        secret = b""
    if len(secret) != _KEY_BYTES:
        raise ValueError(f"{which} is not {_KEY_BYTES} bytes in URL-safe base64")
    return secret


def new_key() -> str:
    """Return a new key as a line of a key file."""
    name = f"k{datetime.now(UTC):%Y%m%d}-{secrets.token_hex(2)}"
    return f"{name}:{base64.urlsafe_b64encode(secrets.token_bytes(_KEY_BYTES)).decode().rstrip('=')}"


def create_key_file(file: Path) -> Path:
    """Create a key file of mode 0600 if it is missing; of two concurrent processes the first one wins."""
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        draft = file.with_suffix(f".{secrets.token_hex(8)}")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as content:
            content.write(f"{new_key()}\n")
        with contextlib.suppress(FileExistsError):
            os.link(draft, file)
        draft.unlink()
    return file


def main(arguments: Sequence[str]) -> int:
    """Run `python -m retinue.temporal.keyring`; returns the exit code."""
    if list(arguments) != ["new-key"]:
        sys.stderr.write(__doc__ or "")
        return 2
    sys.stdout.write(f"{new_key()}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
