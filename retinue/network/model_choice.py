"""The language model that a person chose among those on this machine: a file in the data folder, which holds no key."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from retinue.network.model_servers import addresses

_NAME = "model.json"
_LONGEST = 64 * 1024


class ModelChoice(BaseModel):
    """A model and its server."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True, frozen=True)

    base_url: str = Field(max_length=500)
    model: str = Field(min_length=1, max_length=200)
    server: str = Field(max_length=100, description="its name, such as Ollama")
    context: int | None = Field(
        None, gt=0, description="tokens that it reads and writes together, if the server says so"
    )

    @field_validator("base_url")
    @classmethod
    def _on_this_machine(cls, value: str) -> str:
        [address] = addresses(value)
        return address


def choice_file(data_dir: Path) -> Path:
    """Return where the choice is kept, the same for all processes of an installation."""
    return data_dir.resolve() / _NAME


def read(file: Path) -> ModelChoice | None:
    """Return the choice; None if there is none.

    Raises:
        ValueError: The file cannot be read, or holds something else.
    """
    try:
        with file.open("rb") as opened:
            return ModelChoice.model_validate_json(opened.read(_LONGEST))
    except FileNotFoundError:
        return None
    except ValidationError:
        raise ValueError(f"{file} holds no choice of a model; delete it and choose again") from None
    except OSError as error:
        raise ValueError(f"{file} cannot be read: {error.strerror}") from None


def write(file: Path, choice: ModelChoice | None) -> None:
    """Keep a choice, readable for this user alone; None removes it. Readers see the old one or the new one.

    Raises:
        OSError: The folder cannot be written to.
    """
    if choice is None:
        file.unlink(missing_ok=True)
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=file.parent, prefix=".model-")  # with mode 0600
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as opened:
            opened.write(choice.model_dump_json(indent=2))
        Path(name).replace(file)
    except OSError:
        Path(name).unlink(missing_ok=True)
        raise
