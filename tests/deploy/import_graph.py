"""Which locked packages a part's code can come to import, read from source without importing anything.

Imports in functions and behind `try` count: what only may be imported is needed too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from importlib import metadata
from pathlib import Path

from deploy import lock_parts
from retinue.settings import ROOT
from tests.deploy.image import pins

ROOMS = {
    "accounts": ["accounts", "retinue"],
    "api": ["api", "console", "workflows", "retinue"],
    "offline": ["offline"],
    "workflows": ["workflows", "workers", "retinue"],
}
"""The folders of each image that is no capability's."""
_IMPORT = re.compile(
    r"""^[ \t]*(?:from[ \t]+(\.*)([\w.]*)[ \t]+import[ \t]*(\([^)]*\)|[^\n(]*)|import[ \t]+([\w., \t]+))"""
    r"""|(?:import_module|__import__)\(\s*["']([\w.]+)""",
    re.MULTILINE,
)


def unused(part: str) -> set[str]:
    """The packages of a part's lock that no module which it may import belongs to."""
    locked = list(pins(lock_parts.LOCKS / f"{part}.lock"))
    owners = {module: (name, path) for name in locked for module, path in _modules(name).items()}
    todo = {name for path in _code(part) for name in _imports(path, _module(path.relative_to(ROOT)))}
    seen: set[str] = set()
    used: set[str] = set()
    while todo:
        for name in _with_parents(todo.pop()):
            if name not in seen and name in owners:
                package, path = owners[name]
                used.add(package)
                todo |= _imports(path, name)
            seen.add(name)
    return set(locked) - used


def _code(part: str) -> Iterator[Path]:
    for folder in ROOMS.get(part, ["retinue", "workers", f"activities/{part}"]):
        yield from (ROOT / folder).rglob("*.py")


def _with_parents(name: str) -> Iterator[str]:
    while name:
        yield name
        name = name.rpartition(".")[0]


def _module(path: Path) -> str:
    return ".".join([*path.parts[:-1], path.name.split(".")[0]]).removesuffix(".__init__")


@cache
def _modules(name: str) -> dict[str, Path]:
    """The modules of an installed package."""
    distribution = metadata.distribution(name)
    files = [file for file in distribution.files or [] if file.suffix in (".py", ".so") and file.parts[0] != ".."]
    return {_module(Path(file)): Path(str(distribution.locate_file(file))) for file in files}


@cache
def _imports(path: Path, module: str) -> frozenset[str]:
    """The names that a module's source imports; of `from a import b` both `a` and `a.b`."""
    if path.suffix != ".py":
        return frozenset()
    package = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
    found: set[str] = set()
    for dots, of, names, plain, dynamic in _IMPORT.findall(path.read_text(encoding="utf-8", errors="replace")):
        found |= {name.split()[0] for name in plain.split(",") if name.split()}
        if dynamic:
            found.add(dynamic)
        if of or dots:
            parents = package[: len(package) - len(dots) + 1] if dots else []
            base = ".".join([*parents, *filter(None, [of])])
            found |= {base, *(f"{base}.{name}" for name in re.findall(r"\w+", re.sub(r"#.*|\bas\s+\w+", "", names)))}
    return frozenset(found)
