"""Lists the capabilities and loads one. Importing this package imports none of them.

Each folder with a `worker.py` is one capability, a microservice; so is each configured MCP server and A2A agent, which has
no folder (docs/decisions/0016, 0022). `names()` only reads the disk, so it costs no imports.
"""

from importlib import import_module
from pathlib import Path
from types import ModuleType

_CONFIGURED = ("mcp", "a2a")
"""Folders that serve configured capabilities. If two claim a name, the first one serves it."""


def names() -> list[str]:
    """Return the capabilities of this installation, sorted: those of this checkout (or image) and the configured ones."""
    found = folders()
    for kind in _kinds():
        found += import_module(f"activities.{kind}.config").names(found)
    return sorted(found)


def _kinds() -> list[str]:
    """Return the folders of `_CONFIGURED` that exist, since the image of one capability contains no other."""
    return [kind for kind in _CONFIGURED if (Path(__file__).parent / kind).is_dir()]


def folders() -> list[str]:
    """Return the capabilities in this checkout (or image), sorted: folders with a `worker.py`."""
    return sorted(folder.parent.name for folder in Path(__file__).parent.glob("*/worker.py"))


def load(name: str) -> ModuleType:
    """Import one capability's `worker` module; for a configured one, create a module of the same form.

    Raises:
        LookupError: There is no such capability, or its configuration is wrong; the message names the existing ones.
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
