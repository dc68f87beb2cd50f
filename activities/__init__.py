"""The hall of the capabilities: which there are, and how to load one. It imports none of them.

Each folder with a `worker.py` is one capability, a microservice of its own; so is each MCP server and each A2A agent of
the configuration, which has no folder (docs/decisions/0016, 0022). `names()` only looks at the disk, so a front door or
a supervisor can ask without paying for anybody's imports.
"""

from importlib import import_module
from pathlib import Path
from types import ModuleType

_CONFIGURED = ("mcp", "a2a")
"""Folders that serve what is configured. Where two claim a name, the first has it."""


def names() -> list[str]:
    """The capabilities of this installation, sorted: those of this checkout (or image) and the configured ones."""
    found = folders()
    for kind in _kinds():
        found += import_module(f"activities.{kind}.config").names(found)
    return sorted(found)


def _kinds() -> list[str]:
    """The image of one capability holds no other."""
    return [kind for kind in _CONFIGURED if (Path(__file__).parent / kind).is_dir()]


def folders() -> list[str]:
    """The capabilities that this checkout (or image) contains, sorted; a folder counts when it has a `worker.py`."""
    return sorted(folder.parent.name for folder in Path(__file__).parent.glob("*/worker.py"))


def load(name: str) -> ModuleType:
    """Import one capability's `worker` module; for a configured one, make a module of the same form.

    Raises:
        LookupError: There is no such capability, or its configuration is wrong; the message says which there are.
    """
    if name in folders():
        return import_module(f"activities.{name}.worker")
    taken = folders()
    for kind in _kinds():
        found = import_module(f"activities.{kind}.config").names(taken)
        if name in found:
            module: ModuleType = import_module(f"activities.{kind}.capability").module(name, taken)
            return module
        taken += found
    raise LookupError(f"there is no capability {name!r} in this installation; it has {', '.join(sorted(taken))}")
