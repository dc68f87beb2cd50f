"""`bin/retinue new capability NAME`: scaffold a working capability.

The templates are in `cli/templates`; names are substituted, and ruff formats the result. Nothing is overwritten: two
files of the project get a line, everything else is new.
"""

from __future__ import annotations

import keyword
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from string import Template

from cli.exits import CommandError, WrongUsage
from retinue.settings import ROOT

_TEMPLATES = Path(__file__).parent / "templates"
_ROOMS = {"activities": "capability", "tests/activities": "tests"}
"""Target folders and their templates."""
_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
_LONGEST = 30
_RESERVED = {
    *("api", "cli", "console", "deploy", "offline", "retinue", "tests", "workers", "workflows"),  # folders and queues
    *("accept", "import", "new", "up"),  # words of `python -m workers`
    *("editor", "openai", "postgres", "python", "temporal"),  # prefixes of other variables
}
_WORDS_OF_THE_CODE = {
    *("Activity", "AddEntry", "Annotations", "AsyncSession", "BaseModel", "BaseSettings", "Capability", "Column"),
    *("ConfigDict", "Entry", "Field", "FindEntries", "FoundEntries", "Ledger", "Path", "Store", "StoredEntry", "Text"),
}


def new_capability(name: str, root: Path = ROOT) -> str:
    """Write the capability `name` into the checkout `root`; return a report with next steps.

    Raises:
        WrongUsage: The name is invalid.
        CommandError: The name is taken; nothing was written.
    """
    _check_name(name)
    written = dict(_files(name, root))
    if taken := [path for path in (*(root / room / name for room in _ROOMS), *written) if path.exists()]:
        raise CommandError(f"{taken[0].relative_to(root)} exists already; nothing was written")
    changed = dict(_changes(name, root))
    for path, text in {**written, **changed}.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    _format([path for path in written if path.suffix == ".py"], root)
    return _next_steps(name, [path.relative_to(root) for path in written], [path.relative_to(root) for path in changed])


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name) or len(name) > _LONGEST:
        raise WrongUsage(
            f"{name!r} cannot be a capability's name: lowercase letters, digits and single underscores, beginning with a "
            f"letter, at most {_LONGEST}, as in reading_list"
        )
    if keyword.iskeyword(name) or name in _RESERVED or _class_name(name) in _WORDS_OF_THE_CODE:
        raise WrongUsage(f"{name!r} is a reserved name; choose another")


def _class_name(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))


def _files(name: str, root: Path) -> Iterator[tuple[Path, str]]:
    """Yield every new file and its text."""
    names = {
        "name": name,
        "Name": _class_name(name),
        "NAME": name.upper(),
        "title": name.replace("_", " ").capitalize(),
    }
    for room, kind in _ROOMS.items():
        for template in sorted((_TEMPLATES / kind).rglob("*.txt")):
            path = Template(str(template.relative_to(_TEMPLATES / kind).with_suffix(""))).substitute(names)
            yield root / room / name / path, Template(template.read_text(encoding="utf-8")).substitute(names)
    # It needs no further packages yet, like the workflow worker.
    yield root / f"deploy/locks/{name}.lock", (root / "deploy/locks/workflows.lock").read_text(encoding="utf-8")


def _changes(name: str, root: Path) -> Iterator[tuple[Path, str]]:
    """Yield the files that get a line, with it."""
    yield _with_line(
        root / "docker-compose.yml", r"  - activities/\w+/compose\.yaml", f"  - activities/{name}/compose.yaml"
    )
    address = f"#{name.upper()}_DATABASE_URL=sqlite+aiosqlite:////absolute/path/{name}.db"
    yield _with_line(root / ".env.example", r"#\w+_DATABASE_URL=sqlite\+aiosqlite:////absolute/path/\w+\.db", address)


def _with_line(path: Path, like: str, line: str) -> tuple[Path, str]:
    """Return the file with one more such line, in order."""
    lines = path.read_text(encoding="utf-8").splitlines()
    places = [number for number, other in enumerate(lines) if re.fullmatch(like, other)]
    if not places or line in lines:
        raise CommandError(f"{path.name} has no place for {line.strip()!r}; nothing was written")
    place = next((number for number in places if lines[number] > line), places[-1] + 1)
    return path, "\n".join([*lines[:place], line, *lines[place:], ""])


def _format(files: list[Path], root: Path) -> None:
    """Format the files, since the name changes lines and import order. Without ruff, `make format` does it later."""
    ruff = shutil.which("ruff", path=str(Path(sys.executable).parent))
    if ruff is None:
        return
    for command in (["check", "--select", "I", "--fix"], ["format"]):
        subprocess.run([ruff, *command, "--quiet", *files], cwd=root, check=False)


def _next_steps(name: str, written: list[Path], changed: list[Path]) -> str:
    lines = [
        *(f"  new      {path}" for path in written),
        *(f"  changed  {path}" for path in changed),
        "",
        "It works as generated. Next:",
        f"  PYTHONPATH=. .venv/bin/python -P -m pytest tests/activities/{name}",
        f"  edit activities/{name}/contract.py: models, tools, annotations",
        "  make up, and try it; see docs/adding-a-capability.md",
    ]
    return "\n".join(lines)
