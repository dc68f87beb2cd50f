"""Policy files: reads policies from TOML, with errors that name policy, rule and field, and writes them as TOML."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from typing import Any

from pydantic import JsonValue, ValidationError

from workflows.rules.budget import Limits
from workflows.rules.policy import DEFAULT_POLICY, UNITS, Asking, Policy, Rule

_MAX_FILE_CHARS = 64 * 1024
_ASKING = tuple(Asking.model_fields)
_RULE_FIELDS = (*(name for name in Rule.model_fields if name not in _ASKING), *_ASKING)
"""The order of a rule's fields when written: conditions, decision, then who is asked and when."""


def parse_policies(text: str) -> dict[str, Policy]:
    """Read a policy file (TOML): its policies by name, and the built-in default unless the file defines it.

    `extends = "default"` appends the default's rules to a policy's own and takes over the fields that it does not set.
    In the policy `default` it means the built-in one.

    Raises:
        ValueError: The file is invalid. The message names every problem with its policy, rule and field.
    """
    tables = _tables(text)
    problems: list[str] = []
    found = {DEFAULT_POLICY.name: DEFAULT_POLICY}
    for name in sorted(tables, key=lambda name: name != DEFAULT_POLICY.name):
        try:
            found[name] = _policy(name, tables[name], found[DEFAULT_POLICY.name])
        except ValidationError as error:
            problems += [_complaint(name, tables[name], one) for one in error.errors()]
        except ValueError as error:
            problems.append(f"policy {name!r}: {error}")
    if problems:
        raise ValueError("\n".join(problems))
    return found


def _tables(text: str) -> dict[str, Any]:
    if len(text) > _MAX_FILE_CHARS:
        raise ValueError(f"the policy file is longer than {_MAX_FILE_CHARS} characters")
    try:
        file = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"the policy file is not valid TOML: {error}") from None
    if unknown := sorted(file.keys() - {"policies"}):
        raise ValueError(f"the policy file has {unknown[0]!r} at its top; write [policies.<name>] around it")
    tables = file.get("policies", {})
    if not isinstance(tables, dict):
        raise ValueError("`policies` is a table of policies; write [policies.<name>]")
    return tables


def _policy(name: str, table: object, default: Policy) -> Policy:
    if not isinstance(table, dict):
        raise ValueError(f"it is a table; write [policies.{name}]")
    if "name" in table:
        raise ValueError(f"field 'name': the name stands in the heading [policies.{name}]; leave it out")
    table = {"name": name, **table}
    base = table.pop("extends", None)
    if base is not None:
        if base != DEFAULT_POLICY.name:
            raise ValueError(f"field 'extends': only {DEFAULT_POLICY.name!r} can be extended")
        table = {field: getattr(default, field) for field in ("hold", "run_budget", "day_budget")} | table
        table["rules"] = _extended(table.get("rules", []), default)
    return Policy.model_validate(table)


def _extended(own: object, default: Policy) -> object:
    """Return a policy's own rules and then the default's; validation reports a value that is not a list."""
    return [*own, *default.rules] if isinstance(own, list) else own


def _complaint(policy: str, table: Mapping[str, Any], error: Mapping[str, Any]) -> str:
    place = [part for part in error["loc"] if part != "[key]"]
    where = f"policy {policy!r}"
    if place[:1] == ["rules"] and len(place) > 1:
        where += f", rule {place[1] + 1}{_called(table['rules'][place[1]])}"
        place = place[2:]
    if place:
        where += f", field {' '.join(map(str, place))!r}"
    return f"{where}: {_plain_words(error)}"


def _called(rule: object) -> str:
    return f" ({rule['name']!r})" if isinstance(rule, dict) and isinstance(rule.get("name"), str) else ""


def _plain_words(error: Mapping[str, Any]) -> str:
    if error["type"] == "value_error":
        return str(error["ctx"]["error"])
    words = {
        "extra_forbidden": "there is no such field",
        "missing": "it is missing",
        "tuple_type": "it should be a list: [ ] around values, [[ ]] around the heading of rules",
        "model_type": "it should be a table",
    }
    return words.get(error["type"], str(error["msg"]))


def to_toml(policy: Policy) -> str:
    """Return a policy as TOML that `parse_policies` reads back as the same policy."""
    head = [
        f"[policies.{policy.name}]",
        f"hold = {_toml_time(policy.hold)}",
        f"run_budget = {_toml_limits(policy.run_budget)}",
    ]
    if policy.day_budget:
        head.append(f"day_budget = {_toml_limits(policy.day_budget)}")
    return "\n\n".join(["\n".join(head), *(_toml_rule(policy.name, rule) for rule in policy.rules)]) + "\n"


def _toml_limits(limits: Limits | None) -> str:
    return _toml(limits.model_dump(exclude_none=True)) if limits else "{}"


def _toml_rule(policy: str, rule: Rule) -> str:
    said = rule.model_dump(mode="json", exclude_defaults=True)
    lines = [f"{name} = {_toml_field(name, said[name])}" for name in _RULE_FIELDS if name in said]
    return "\n".join([f"[[policies.{policy}.rules]]", *lines])


def _toml_field(name: str, value: Any) -> str:
    if name in ("expires_after", "escalate_after"):
        return _toml_time(value)
    if name == "remind_after":
        return f"[{', '.join(map(_toml_time, value))}]"
    return _toml(value)


def _toml_time(seconds: float) -> str:
    for unit, size in UNITS.items():
        if seconds and seconds % size == 0:
            return f'"{int(seconds // size)}{unit}"'
    return _toml(seconds)


def _toml(value: JsonValue) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{_toml_key(key)} = {_toml(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    # JSON of the other values is TOML too, once DEL, the control character that JSON does not escape, is escaped
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _toml_key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else _toml(key)
