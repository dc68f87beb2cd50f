"""The hall of the capabilities: which folders there are, and how to load one. It imports none of them.

Each folder below is one capability, a microservice of its own. `names()` only looks at the disk, so a front door or a
supervisor can ask without paying for anybody's imports.
"""

from importlib import import_module
from pathlib import Path
from types import ModuleType


def names() -> list[str]:
    """The capabilities that this checkout (or image) contains, sorted; a folder counts when it has a `worker.py`."""
    return sorted(folder.parent.name for folder in Path(__file__).parent.glob("*/worker.py"))


def load(name: str) -> ModuleType:
    """Import one capability's `worker` module.

    Raises:
        LookupError: There is no such folder; the message names those that exist.
    """
    if name not in names():
        raise LookupError(f"there is no capability {name!r} in this installation; it has {', '.join(names())}")
    return import_module(f"activities.{name}.worker")
