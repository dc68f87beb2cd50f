"""Reads the tools of a planning request out of its signatures.

type Event = {event_id, title, start: time, end: time}
- calendar.list_events(start: time, query? "words of the title") -> {events: Event[], match?: Event} # reads: ...
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

Tools = dict[str, dict[str, Any]]
_TOOL = re.compile(r"- ([a-z][a-z0-9_-]*\.[a-z][a-z0-9_]*)\(")
_TYPE = re.compile(r"type ([A-Za-z][A-Za-z0-9_]*) = (.+)")
_MARK = re.compile(r'"(?:[^"\\]|\\.)*"|[()\[\]{},#]')
_FIELD = re.compile(r'("(?:[^"\\]|\\.)*"|[A-Za-z_$][A-Za-z0-9_$-]*)\??(?:: ([^"=]*))?')
_OPENS, _CLOSES = "([{", ")]}"


def tools_in(text: str) -> Tools:
    """Return the tools that a text lists, by name, with the fields of their arguments and results.

    Raises:
        ValueError: The line of a tool is not of the expected shape.
    """
    tools: Tools = {}
    types: dict[str, str] = {}
    for line in text.splitlines():
        if line.startswith("## "):
            types = {}
        elif found := _TYPE.fullmatch(line):
            types[found[1]] = found[2]
        elif found := _TOOL.match(line):
            arguments, result = _call(line[found.end() :])
            tools[found[1]] = {"args": _fields(arguments), "result": _fields(_body(result, types))}
    return tools


def _call(text: str) -> tuple[str, str]:
    """Split `arguments) -> result # ...` into its arguments and its result."""
    end = next((place for place, mark, depth in _marks(text) if mark == ")" and depth < 0), None)
    if end is None or not text[end:].startswith((") -> ", ") # ")):
        raise ValueError(f"a tool's line does not read name(arguments) -> result: {text[:80]!r}")
    if text[end:].startswith(") # "):
        return text[:end], ""  # in brief
    rest = text[end + len(") -> ") :]
    says = next((place for place, mark, depth in _marks(rest) if mark == "#" and not depth), len(rest))
    return text[:end], rest[:says].strip()


def _body(result: str, types: Mapping[str, str]) -> str:
    """Return the fields of a result; those of a named type where it is one."""
    body = types.get(result, result)
    return body[1:-1] if body.startswith("{") and body.endswith("}") else ""


def _fields(text: str) -> dict[str, Any]:
    """Return fields as the properties of a JSON schema, with a type where it is one that plans depend on."""
    found = [match for part in _parts(text) if (match := _FIELD.match(part))]
    return {"properties": {match[1].strip('"'): _schema((match[2] or "string").strip()) for match in found}}


def _schema(kind: str) -> dict[str, Any]:
    formats = {"date": "date", "time": "date-time"}
    alternatives = [{"type": "string", "format": formats[one]} for one in kind.split("|") if one in formats]
    return alternatives[0] if len(alternatives) == 1 else {"anyOf": alternatives} if alternatives else {"type": kind}


def _parts(text: str) -> Iterator[str]:
    """Yield what stands between the commas outside of brackets and quotes."""
    start = 0
    for place, mark, depth in _marks(text):
        if mark == "," and not depth:
            yield text[start:place].strip()
            start = place + 1
    yield text[start:].strip()


def _marks(text: str) -> Iterator[tuple[int, str, int]]:
    """Yield brackets, commas and `#` outside of quotes: their place, and how many brackets are open after them."""
    depth = 0
    for found in _MARK.finditer(text):
        mark = found[0]
        depth += (mark in _OPENS) - (mark in _CLOSES)
        if not mark.startswith('"'):
            yield found.start(), mark, depth
