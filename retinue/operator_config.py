"""Configuration files of external servers and agents: read within limits, validated, filled from variables.

Their values stay in the worker: they are `SecretStr`, and no message repeats one.
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
"""Names with another meaning: commands of `python -m workers`, queues, processes, files and variables of a stack."""
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}", re.ASCII)
_SHORTEST_SECRET = 6
_HIDDEN = "[secret]"

Entry = TypeVar("Entry", bound=BaseModel)


def entries(path: Path | None, key: str) -> dict[str, Any]:
    """Return the object at `key` in a file of the form `{key: {name: {...}}}`, unchecked; empty without a file.

    Raises:
        InvalidArguments: The file cannot be read, or has another form.
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
        raise InvalidArguments(f"{path} is not valid JSON: {_place(error)}") from None
    except (KeyError, TypeError):
        raise InvalidArguments(f'{path} needs the form {{"{key}": {{"name": {{...}}}}}}') from None
    if not isinstance(found, dict) or len(found) > _MAX_ENTRIES:
        raise InvalidArguments(f"`{key}` in {path} must be an object of at most {_MAX_ENTRIES} entries")
    return found


def _place(error: Exception) -> str:
    """Return where the error is. The parser's message is not repeated, since a line of the file may be a secret."""
    return f"line {error.lineno}" if isinstance(error, json.JSONDecodeError) else "it is not text, or nested too deeply"


def checked(name: str, entry: object, model: type[Entry], *, taken: Collection[str], kind: str) -> Entry:
    """Return one entry as a model.

    Args:
        name: Of the entry; it becomes the name of a capability.
        entry: From the file.
        model: Validates it.
        taken: Names of other entries.
        kind: Of the entry, in a sentence: "MCP server".

    Raises:
        InvalidArguments: Its name or its content is invalid; the message says where, without the value.
    """
    if not _NAME.fullmatch(name):
        raise InvalidArguments(
            f"{name[:60]!r} is not a valid name: lower case letters, digits, - and _, at most 40, a letter first"
        )
    if name in taken or name in _RESERVED:
        raise InvalidArguments(f"the name {name!r} is taken; give the {kind} another one")
    try:
        return model.model_validate(entry)
    except ValidationError as error:
        raise InvalidArguments(f"the {kind} {name}: {'; '.join(_problems(error))}") from None


def _problems(error: ValidationError) -> Iterator[str]:
    """Yield each problem's position and rule, never the input."""
    for found in error.errors(include_input=False, include_url=False)[:5]:
        yield f"{'/'.join(str(part)[:60] for part in found['loc']) or 'it'}: {found['msg']}"


def filled(value: SecretStr, environment: Mapping[str, str]) -> SecretStr:
    """Return the value with `${VARIABLE}` and `${VARIABLE:-default}` replaced.

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
    """Return the values that came from variables; they count as secret everywhere."""
    return {environment.get(name, "") for value in values for name, _ in _VARIABLE.findall(value.get_secret_value())}


def of_headers(headers: Mapping[str, SecretStr]) -> set[str]:
    """Return the values of headers, and the parts after a scheme like `Bearer`."""
    texts = [value.get_secret_value() for value in headers.values()]
    return {*texts, *(part for text in texts for part in text.split()[1:])}


def worth_hiding(secrets: Iterable[str]) -> frozenset[str]:
    """Return the secrets that are long enough to differ from ordinary words."""
    return frozenset(secret for secret in secrets if len(secret) >= _SHORTEST_SECRET)


class Redaction:
    """Hides the operator's secrets wherever a server repeats them."""

    def __init__(self, secrets: Iterable[str]) -> None:
        # longer ones first: one may be a part of another
        self._secrets = sorted(secrets, key=len, reverse=True)

    def text(self, text: str) -> str:
        """Return the text with each secret replaced, and without characters that databases and JSON parsers refuse."""
        for secret in self._secrets:
            text = text.replace(secret, _HIDDEN)
        return whole(text.replace("\x00", ""))

    def value(self, value: Any) -> Any:
        """Return a JSON value with `text` applied to every text inside it."""
        return map_texts(value, self.text)
