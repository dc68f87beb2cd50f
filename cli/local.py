"""The local stack: its settings, starting it, importing files into a capability's store."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from pydantic import ValidationError

from cli.exits import WrongUsage
from retinue.settings import ROOT, RetinueSettings, temporal_address

_EVERY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104  # read, not bound to


def settings() -> RetinueSettings:
    """Return the `RETINUE_*` variables.

    Raises:
        WrongUsage: One of them is invalid.
    """
    try:
        return RetinueSettings()
    except ValidationError as error:
        wrong = (f"RETINUE_{'_'.join(map(str, item['loc'])).upper()}: {item['msg']}" for item in error.errors())
        raise WrongUsage("; ".join(wrong)) from None


def api_url() -> str:
    """Return the local address of the local stack's API."""
    local = settings()
    host = _EVERY_ADDRESS.get(local.host, local.host)
    return f"http://{f'[{host}]' if ':' in host else host}:{local.port}"


def data_dir() -> Path:
    """Return the data folder. A relative one is relative to the repository's root, where the stack runs."""
    return (ROOT / settings().data_dir).resolve()


def project() -> dict[str, Any]:
    """Return the project table of pyproject.toml."""
    content: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return content


def workers_command(*arguments: str) -> list[str]:
    """Return the command line of `python -m workers` with this interpreter."""
    return [sys.executable, "-P", "-m", "workers", *arguments]


def workers_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment in which `python -m workers` imports the project, and only the project."""
    return {**environment, "PYTHONPATH": str(ROOT)}


def temporal_environment() -> dict[str, str]:
    """Return the environment of a process that speaks to Temporal itself: at TEMPORAL_ADDRESS, else the local stack's."""
    own = settings()
    address = temporal_address() or f"{own.host}:{own.temporal_port}"
    return {**workers_environment(os.environ), "TEMPORAL_ADDRESS": address}


def up(companions: Sequence[str] = ()) -> NoReturn:
    """Replace this process by the supervisor of the local stack, with companion servers."""
    os.chdir(ROOT)
    # execve, so that Ctrl-C and signals reach the supervisor directly.
    options = [part for name in companions for part in ("--with", name)]
    os.execve(sys.executable, workers_command("up", *options), workers_environment(os.environ))  # noqa: S606  # no shell is wanted


def import_files(capability: str, files: Sequence[Path], *, person: str = "") -> int:
    """Run a capability's import on files, for a person, and return its exit code.

    Raises:
        WrongUsage: A file does not exist.
    """
    if missing := [str(file) for file in files if not file.is_file()]:
        raise WrongUsage(f"there is no file {', '.join(missing)}")
    for_person = ["--person", person] if person else []
    command = workers_command("import", capability, *for_person, *(str(file.resolve()) for file in files))
    return subprocess.run(command, cwd=ROOT, env=workers_environment(os.environ), check=False).returncode
