"""What an image would hold, without an engine: the Dockerfile's COPY lines carried out in a folder, its lock as packages.

It understands what our Dockerfile uses and refuses what it does not, so that it cannot silently check something else.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

from retinue.settings import ROOT

INSTALLED = Path(str(metadata.distribution("temporalio").locate_file("")))
PACKAGES = "/opt/retinue"
_IGNORED = shutil.ignore_patterns("__pycache__", "compose.yaml", "README.md", ".env*")
"""As .dockerignore says; `tests/deploy` looks that it does."""


@dataclass
class Image:
    """One stage as built: its files, its packages, and what it runs."""

    root: Path
    copied: list[str] = field(default_factory=list)
    lock: Path | None = None
    checks: list[list[str]] = field(default_factory=list)
    command: list[str] = field(default_factory=list)
    stages: dict[str, Image] = field(default_factory=dict)
    """The other stages that it copies from."""

    @property
    def app(self) -> Path:
        """Where the rooms stand."""
        return self.root / "app"

    def python(self) -> list[str]:
        """The interpreter, blind for what is installed here: `-S` leaves this environment's packages out."""
        return [sys.executable, "-S"]

    def environment(self, **more: str) -> dict[str, str]:
        """Variables under which only the image's code and packages can be imported."""
        return {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": f"{self.app}{os.pathsep}{self.root / 'packages'}",
            "RETINUE_DATA_DIR": str(self.root / "data"),
            **more,
        }

    def run(self, command: Sequence[str], **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a `python` command as the image would."""
        return subprocess.run(
            [*self.python(), *command[1:]],
            cwd=self.root,
            env=self.environment(**environment),
            capture_output=True,
            text=True,
            timeout=50,
            check=False,
        )


def build(target: str, folder: Path, **arguments: str) -> Image:
    """Build `target` of the Dockerfile into a folder, with links to the packages of its lock."""
    stages = _stages()
    image = _build(target, folder, stages, arguments)
    assert image.lock is not None, f"stage {target} installs no lock"
    link_packages(image.lock, image.root / "packages")
    return image


def _build(target: str, folder: Path, stages: dict[str, tuple[str, list[str]]], arguments: dict[str, str]) -> Image:
    base, lines = stages[target]
    image = _build(base, folder, stages, arguments) if base in stages else Image(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for line in lines:
        word, _, rest = re.sub(r"\$\{(\w+)\}", lambda found: arguments[found[1]], line).partition(" ")
        match word:
            case "COPY":
                _copy(image, shlex.split(rest), stages, arguments)
            case "RUN":
                _run(image, rest)
            case "CMD":
                image.command = re.findall(r'"([^"]*)"', rest)
            case _:
                assert word in {"ARG", "ENV", "LABEL", "WORKDIR", "USER", "EXPOSE", "HEALTHCHECK", "ENTRYPOINT"}, line
    return image


def _copy(image: Image, words: list[str], stages: dict[str, tuple[str, list[str]]], arguments: dict[str, str]) -> None:
    if words[0].startswith("--from="):
        stage = words.pop(0).removeprefix("--from=")
        if stage not in image.stages:
            image.stages[stage] = _build(stage, image.root / "stages" / stage, stages, arguments)
        other = image.stages[stage]
        if words[0] == PACKAGES:
            image.lock = other.lock
            return
        source_root = other.root
        image.copied += other.copied
    else:
        source_root = ROOT
        image.copied += words[:-1]
    for word in words[:-1]:
        source, target = source_root / word.lstrip("/"), image.root / words[-1].lstrip("/")
        assert source.exists(), f"the Dockerfile copies {word}, which is not there"
        if source.is_dir():
            shutil.copytree(source, target, ignore=_IGNORED, dirs_exist_ok=True)
        else:
            (target if words[-1].endswith("/") else target.parent).mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target)


def _run(image: Image, line: str) -> None:
    """A lock that is installed, a `find` that removes files, a check that runs Python; the rest needs an engine."""
    for command in line.split(" && "):
        words = [word for word in shlex.split(command) if not word.startswith("--mount=")]
        match words:
            case ["python", "-P", "/tools/image_files.py", "packages", lock]:
                image.lock = ROOT / "deploy" / lock.lstrip("/")
            case ["python", "-P", "/tools/image_files.py", "code"] | ["python", "-P", "-m", "deploy.sbom", *_]:
                pass
            case ["PYTHONPATH=/app", *_]:  # imports what the checks below do
                pass
            case ["find", path, *rest]:
                subprocess.run(["find", image.root / path.lstrip("/"), *rest], check=True)
            case ["python", "-P", *_]:
                image.checks.append(words)
            case _:
                assert words[:3] == ["python", "-m", "venv"] or words[0] in {"echo", "install"}, command


def _stages() -> dict[str, tuple[str, list[str]]]:
    """Each stage's base and instructions."""
    text = re.sub(r"\\\n\s*", "", re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(encoding="utf-8"), flags=re.M))
    found: dict[str, tuple[str, list[str]]] = {}
    for line in filter(None, text.splitlines()):
        if stage := re.fullmatch(r"FROM (\S+) AS (\S+)", line):
            lines: list[str] = []
            found[stage[2]] = (stage[1], lines)
        elif found:
            lines.append(line)
    return found


def pins(lock: Path) -> dict[str, str]:
    """Package to version, as a lock pins them, without those for other systems or Pythons than this."""
    lines = re.findall(r"^([\w.-]+)==([^\s;]+)( ;)?", lock.read_text(encoding="utf-8"), re.MULTILINE)
    installed = {normal(one.metadata["Name"]) for one in metadata.distributions()}
    return {normal(name): version for name, version, marker in lines if not marker or normal(name) in installed}


def normal(name: str) -> str:
    """A package's name as registries compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def link_packages(lock: Path, folder: Path) -> None:
    """Make a folder in which the packages of a lock can be imported, and no others: links to what is installed here."""
    folder.mkdir()
    shared = Counter(top for one in metadata.distributions() for top in _tops(one))
    for name in pins(lock):
        distribution = metadata.distribution(name)
        for top in _tops(distribution):
            if shared[top] == 1:
                (folder / top).symlink_to(INSTALLED / top)
        for file in distribution.files or []:
            if shared[file.parts[0]] > 1:
                (folder / file).parent.mkdir(parents=True, exist_ok=True)
                (folder / file).symlink_to(INSTALLED / file)


def _tops(distribution: metadata.Distribution) -> set[str]:
    """The names that a distribution puts into site-packages. One that several use, as `google`, belongs to none alone."""
    return {file.parts[0] for file in distribution.files or [] if file.parts[0] not in ("..", "__pycache__")}
