"""Changed arguments of an action: from JSON, from `name=value` pairs typed by the tool's schema, or from an editor."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from cli.exits import WrongUsage
from retinue.client.models import Approval
from retinue.text import safe

Arguments = dict[str, JsonValue]
_DEFAULT_EDITOR = "vi"


def from_json(text: str) -> Arguments:
    """Parse all arguments from a JSON object.

    Raises:
        WrongUsage: It is not a JSON object.
    """
    try:
        value = json.loads(text)
    except ValueError as error:
        raise WrongUsage(f"the arguments are not JSON: {error}") from None
    if not isinstance(value, dict):
        raise WrongUsage('the arguments must be a JSON object, as in {"subject": "Hello"}')
    return value


def from_settings(approval: Approval, settings: Sequence[str]) -> Arguments:
    """Return the shown arguments with changes; each value gets the type of the tool's schema.

    Raises:
        WrongUsage: A pair without `=`, an unknown name, or a value of another type.
    """
    return {**approval.args, **dict(_setting(approval.args_schema, pair) for pair in settings)}


def _setting(schema: Mapping[str, Any], pair: str) -> tuple[str, JsonValue]:
    name, equals, text = pair.partition("=")
    if not equals or not name:
        raise WrongUsage(f"{pair!r} sets nothing; write NAME=VALUE")
    known = schema.get("properties", {})
    if known and name not in known:
        raise WrongUsage(f"there is no argument {name!r}; there are {', '.join(known)}")
    return name, _typed(name, text, known.get(name, {}), schema)


def _typed(name: str, text: str, wanted: Mapping[str, Any], root: Mapping[str, Any]) -> JsonValue:
    """Parse `text` as one of the schema's types; a string stays a string even if it looks like a number."""
    forms = list(_forms(wanted, root))
    types = {form.get("type") for form in forms}
    if types == {"string"}:
        return text
    value = _json_or_none(text)
    if (value is not None and (not types or _type(value) & types)) or (text == "null" and "null" in types):
        return value
    for form in forms:
        if form.get("type") == "array":
            items = form.get("items", {})
            return [_typed(name, part.strip(), items, root) for part in text.split(",") if part.strip()]
    if not types or types & {"string", None}:
        return text
    raise WrongUsage(f"{name} must be {' or '.join(sorted(filter(None, types)))}, not {text!r}")


def _forms(wanted: Mapping[str, Any], root: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield the alternatives of a schema, with local references resolved."""
    if "$ref" in wanted:
        target: Any = root
        for part in str(wanted["$ref"]).removeprefix("#/").split("/"):
            target = target.get(part, {}) if isinstance(target, dict) else {}
        yield from _forms(target, root)
    elif alternatives := wanted.get("anyOf") or wanted.get("oneOf"):
        for alternative in alternatives:
            yield from _forms(alternative, root)
    elif isinstance(wanted.get("type"), list):
        yield from ({**wanted, "type": kind} for kind in wanted["type"])
    else:
        yield wanted


def _json_or_none(text: str) -> JsonValue:
    try:
        value: JsonValue = json.loads(text)
    except ValueError:
        return None
    return value


def _type(value: JsonValue) -> set[str | None]:
    """Return JSON Schema's names of the value's type, except for strings."""
    if isinstance(value, bool):
        return {"boolean"}
    if isinstance(value, int):
        return {"integer", "number"}
    if isinstance(value, float):
        return {"number"}
    return {"array"} if isinstance(value, list) else {"object"} if isinstance(value, dict) else set()


def from_editor(approval: Approval) -> Arguments | None:
    """Open the arguments in the person's editor; return None if unchanged.

    Raises:
        WrongUsage: The editor cannot be started or failed, or its file is not a JSON object.
    """
    before = _editable(approval.args)
    with tempfile.TemporaryDirectory(prefix="retinue-edit-") as folder:
        file = Path(folder) / "arguments.json"
        file.write_text(before, encoding="utf-8")
        _edit(file)
        after = file.read_text(encoding="utf-8")
    changed = from_json(after)
    return None if changed == approval.args else changed


def _editable(args: Arguments) -> str:
    """Return readable JSON; fully escaped if it has characters that an editor might not show."""
    readable = json.dumps(args, indent=2, ensure_ascii=False) + "\n"
    return readable if safe(readable) == readable else json.dumps(args, indent=2) + "\n"


def _edit(file: Path) -> None:
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR") or _DEFAULT_EDITOR
    try:
        code = subprocess.run([*shlex.split(editor), str(file)], check=False).returncode
    except (OSError, ValueError):
        raise WrongUsage(f"the editor {editor!r} cannot be started; set EDITOR, or use --set or --args") from None
    if code != 0:
        raise WrongUsage(f"the editor ended with code {code}; nothing was sent")
