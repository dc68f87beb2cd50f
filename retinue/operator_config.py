"""Files in which the operator names servers and agents elsewhere: read within bounds, checked, filled from variables.

What is written in them stays in the worker: values are `SecretStr`, and no message here repeats one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, SecretStr, ValidationError

from retinue.errors import InvalidArguments
from retinue.json_values import map_texts
from retinue.text import whole

_MAX_FILE_BYTES = 256 * 1024
_MAX_ENTRIES = 50
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,39}", re.ASCII)
_RESERVED = frozenset(
    {"a2a", "agent", "api", "import", "mcp", "offline", "retinue", "temporal", "up", "accept", "workflows"}
    | {"workflows-people"}
)
"""Words of `python -m workers`, queues, and names of other processes, files and variables of a stack."""
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}", re.ASCII)
_SHORTEST_SECRET = 6
_HIDDEN = "[secret]"

Entry = TypeVar("Entry", bound=BaseModel)


def entries(path: Path | None, key: str) -> dict[str, Any]:
    """What stands under `key` in a file of the form `{key: {name: {...}}}`, unchecked; nothing without a file.

    Raises:
        InvalidArguments: The file cannot be read, or is not of that form.
    """
    if path is None:
        return {}
    try:
        with path.open("rb") as opened:
            content = opened.read(_MAX_FILE_BYTES + 1)
    except OSError as error:
        raise InvalidArguments(f"{path} cannot be read: {error.strerror}") from None
    if len(content) > _MAX_FILE_BYTES:
        raise InvalidArguments(f"{path} is larger than {_MAX_FILE_BYTES // 1024} KiB")
    try:
        found = json.loads(content)[key]
    except (ValueError, RecursionError) as error:
        raise InvalidArguments(f"{path} is no JSON: {_place(error)}") from None
    except (KeyError, TypeError):
        raise InvalidArguments(f'{path} needs the form {{"{key}": {{"name": {{...}}}}}}') from None
    if not isinstance(found, dict) or len(found) > _MAX_ENTRIES:
        raise InvalidArguments(f"`{key}` in {path} is an object of at most {_MAX_ENTRIES} entries")
    return found


def _place(error: Exception) -> str:
    """Where, and not what: a message of the parser would do, but a line of the file may be a secret."""
    return f"line {error.lineno}" if isinstance(error, json.JSONDecodeError) else "it is not text, or nested too deeply"


def checked(name: str, entry: object, model: type[Entry], *, taken: Collection[str], kind: str) -> Entry:
    """One entry as a model.

    Args:
        name: What it is called; it becomes the name of a capability.
        entry: As it stands in the file.
        model: What it is to be.
        taken: Names that others have.
        kind: What it is, in a sentence: "MCP server".

    Raises:
        InvalidArguments: Its name cannot be given, or something is wrong with it; the message says where, not what.
    """
    if not _NAME.fullmatch(name):
        raise InvalidArguments(
            f"{name[:60]!r} is no name: lower case letters, digits, - and _, at most 40, a letter first"
        )
    if name in taken or name in _RESERVED:
        raise InvalidArguments(f"the name {name!r} is taken; give the {kind} another one")
    try:
        return model.model_validate(entry)
    except ValidationError as error:
        raise InvalidArguments(f"the {kind} {name}: {'; '.join(_problems(error))}") from None


def _problems(error: ValidationError) -> Iterator[str]:
    """Places and rules; never the input."""
    for found in error.errors(include_input=False, include_url=False)[:5]:
        yield f"{'/'.join(str(part)[:60] for part in found['loc']) or 'it'}: {found['msg']}"


def filled(value: SecretStr, environment: Mapping[str, str]) -> SecretStr:
    """The value with `${VARIABLE}` and `${VARIABLE:-default}` replaced.

    Raises:
        InvalidArguments: A variable is not set.
    """

    def found(match: re.Match[str]) -> str:
        text = environment.get(match[1]) or match[2]
        if text is None:
            raise InvalidArguments(f"the variable {match[1]} is not set, which the configuration names")
        return text

    return SecretStr(_VARIABLE.sub(found, value.get_secret_value()))


def from_variables(values: Iterable[SecretStr], environment: Mapping[str, str]) -> set[str]:
    """What came from variables: it counts as secret wherever it stands."""
    return {environment.get(name, "") for value in values for name, _ in _VARIABLE.findall(value.get_secret_value())}


def of_headers(headers: Mapping[str, SecretStr]) -> set[str]:
    """The values of headers, and what follows a scheme like `Bearer` in them."""
    texts = [value.get_secret_value() for value in headers.values()]
    return {*texts, *(part for text in texts for part in text.split()[1:])}


def worth_hiding(secrets: Iterable[str]) -> frozenset[str]:
    """Those that are long enough to be told from ordinary words."""
    return frozenset(secret for secret in secrets if len(secret) >= _SHORTEST_SECRET)


class Redaction:
    """Hides the operator's secrets, wherever a server repeats what it was given."""

    def __init__(self, secrets: Iterable[str]) -> None:
        # longer ones first: one may be a part of another
        self._secrets = sorted(secrets, key=len, reverse=True)

    def text(self, text: str) -> str:
        """The text with each secret replaced, and without what no database and no JSON parser keeps."""
        for secret in self._secrets:
            text = text.replace(secret, _HIDDEN)
        return whole(text.replace("\x00", ""))

    def value(self, value: Any) -> Any:
        """The same for every text inside a JSON value."""
        return map_texts(value, self.text)
