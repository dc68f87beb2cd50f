"""Credentials stored by `login`: one file in the person's config folder, readable only by them."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

from pydantic import BaseModel, ConfigDict, SecretStr, ValidationError, field_serializer

from cli.exits import CommandError


class Login(BaseModel):
    """The stored credentials."""

    model_config = ConfigDict(frozen=True)

    url: str
    api_key: SecretStr | None = None

    @field_serializer("api_key", when_used="json")
    def _plain(self, value: SecretStr | None) -> str | None:
        return value.get_secret_value() if value else None


def path() -> Path:
    """Return the file: `retinue/login.json` in `XDG_CONFIG_HOME`, else in `~/.config`."""
    chosen = os.environ.get("XDG_CONFIG_HOME", "")
    folder = Path(chosen) if Path(chosen).is_absolute() else Path.home() / ".config"
    return folder / "retinue" / "login.json"


def stored() -> Login | None:
    """Return the stored credentials; None without any.

    Raises:
        CommandError: The file cannot be read.
    """
    try:
        return Login.model_validate_json(path().read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError):
        raise CommandError(f"{path()} cannot be read; `bin/retinue logout` removes it") from None


def key_for(url: str) -> str:
    """Return the stored key, if it was stored for this address; otherwise an empty text, which sends none."""
    found = stored()
    if found is None or found.api_key is None or found.url != url.rstrip("/"):
        return ""
    return found.api_key.get_secret_value()


def store(login: Login) -> Path:
    """Store the credentials atomically, readable only by the person (0600).

    Raises:
        CommandError: It cannot be written.
    """
    file = path()
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle, temporary = tempfile.mkstemp(dir=file.parent, prefix=".login-")  # 0600 from the first moment
        with os.fdopen(handle, "w", encoding="utf-8") as output:
            output.write(login.model_dump_json())
        Path(temporary).replace(file)
    except OSError as error:
        raise CommandError(f"{file} cannot be written: {error.strerror}") from None
    return file


def forget() -> bool:
    """Remove the stored credentials; return whether there were any."""
    with contextlib.suppress(FileNotFoundError):
        path().unlink()
        return True
    return False
