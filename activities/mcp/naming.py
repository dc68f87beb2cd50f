"""What a server's tools are called here: `capability.verb_object`, once and for ever."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping

from retinue.plan import AGENT_VERB

_LONGEST_FUNCTION = 64
"""Characters of a function's name that models take; there a tool is called `capability__verb_object`."""
_HUMPS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


def name_all(capability: str, tools: Iterable[str], known: Mapping[str, str], *, prefix: str = "") -> dict[str, str]:
    """Our full name for each of a server's tools.

    Args:
        capability: Whose tools they are.
        tools: The server's own names.
        known: Names that were given before, by the server's. They stay, and none is given twice: a plan that waits for
            an approval must not find another tool under the name that was approved.
        prefix: What the server's names begin with and ours need not.
    """
    named = dict(known)
    used = set(known.values())
    # who needs no change keeps the plain name, whatever the order of the list
    for tool in sorted(set(tools) - known.keys(), key=lambda tool: (_verb(tool, prefix) != tool, tool)):
        name = _free_name(capability, tool, prefix, used)
        named[tool] = name
        used.add(name)
    return named


def _free_name(capability: str, tool: str, prefix: str, used: set[str]) -> str:
    room = _LONGEST_FUNCTION - len(capability) - 2
    verb = _verb(tool, prefix)
    mark = hashlib.sha256(tool.encode()).hexdigest()[:6]
    plain = f"{capability}.{verb}"
    if len(verb) <= room and plain not in used and verb != AGENT_VERB:
        return plain
    return f"{capability}.{verb[: room - 7]}_{mark}"


def _verb(tool: str, prefix: str) -> str:
    """`createIssue`, `create-issue` and `repo/create.issue` in our spelling."""
    rest = tool.removeprefix(prefix) or tool
    words = re.sub(r"[^a-z0-9]+", "_", _HUMPS.sub("_", rest).lower(), flags=re.ASCII).strip("_")
    return words if words[:1].isalpha() else f"tool_{words}".rstrip("_")
