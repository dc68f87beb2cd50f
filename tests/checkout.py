"""A copy of this checkout, in which commands can be run that change files."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from retinue.settings import ROOT

_LEFT_OUT = (".git", ".venv", ".retinue", ".*_cache", "__pycache__", "node_modules", "out", "examples")


@dataclass
class Checkout:
    """The copy: its root, and the files that it had at first."""

    root: Path
    files: dict[Path, bytes] = field(default_factory=dict, repr=False)

    def changed(self) -> list[str]:
        """Files of the beginning that are different now, or gone."""
        return sorted(
            str(path.relative_to(self.root))
            for path, text in self.files.items()
            if not path.exists() or path.read_bytes() != text
        )

    def run(self, command: str) -> subprocess.CompletedProcess[str]:
        """Run a line of shell there, as a person would, away from this process's settings."""
        own = ("RETINUE_", "TEMPORAL_", "OPENAI_", "PYTEST_", "WEATHER_")
        environment = {name: value for name, value in os.environ.items() if not name.startswith(own)}
        return subprocess.run(
            ["bash", "-euo", "pipefail", "-c", command],
            cwd=self.root,
            env={**environment, "PYTHONPATH": str(self.root), "RETINUE_DATA_DIR": str(self.root / ".retinue")},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    def pytest(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run some of the copy's tests; that there are none counts as a failure."""
        words = " ".join(f"'{argument}'" for argument in arguments)
        return self.run(f".venv/bin/python -P -m pytest -q -p no:cacheprovider {words}")

    def listing(self) -> list[str]:
        """All its files, but for what Python and tools leave behind."""
        found = (path.relative_to(self.root) for path in self.root.rglob("*") if path.is_file())
        return sorted(str(path) for path in found if not any(part.startswith((".", "__")) for part in path.parts[:-1]))


def copied(folder: Path) -> Checkout:
    """Copy this checkout into `folder`; the environment is shared, since nothing is installed."""
    shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(*_LEFT_OUT), dirs_exist_ok=True)
    reports = Path("examples/evaluation/reports")  # the docs' tables are made of them
    shutil.copytree(ROOT / reports, folder / reports)
    (folder / ".venv").symlink_to(ROOT / ".venv")
    files = [path for path in folder.rglob("*") if path.is_file() and ".venv" not in path.parts]
    return Checkout(folder, {path: path.read_bytes() for path in files})
