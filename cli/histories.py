"""Temporal histories of runs: replay them with this checkout's workflows, or export them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from cli import local
from cli.exits import CommandError, ExitCode, WrongUsage
from cli.render import say
from retinue.settings import ROOT

_TIME = 120.0
"""Time limit in seconds. A history at Temporal's limits replays in a fraction of that."""
_UNREADABLE = 2


def replay(what: str, *, as_json: bool) -> ExitCode:
    """Replay a run's history, from Temporal or from a file, and print whether it fits.

    Raises:
        WrongUsage: There is no such run or file.
        CommandError: The replay process failed.
    """
    answer = _asked(str(Path(what).resolve()) if what.endswith(".json") else what)
    verdict: dict[str, Any] = json.loads(answer)
    if as_json:
        print(json.dumps(verdict))
    elif verdict["fits"]:
        say(f"{_named(verdict)} fits the workflows of this checkout.")
    else:
        say(
            f"{_named(verdict)} does NOT fit the workflows of this checkout; a running assistant would be stuck.",
            "bold red",
        )
        say(str(verdict["why"]))
    return ExitCode.DONE if verdict["fits"] else ExitCode.FAILED


def history(assistant_id: str) -> str:
    """Return a run's history as Temporal's JSON, which `replay` and Temporal's Web UI read. Errors as for `replay`."""
    return _asked("--export", assistant_id)


def _named(verdict: dict[str, Any]) -> str:
    return f"{verdict['workflow_type']} {verdict['workflow_id']} with {verdict['events']} events"


def _asked(*arguments: str) -> str:
    command = [sys.executable, "-P", "-m", "cli.replaying", *arguments]
    try:
        done = subprocess.run(
            command,
            cwd=ROOT,
            env=local.temporal_environment(),
            capture_output=True,
            text=True,
            timeout=_TIME,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise CommandError(f"the replay did not end in {_TIME:.0f} s") from None
    if done.returncode == _UNREADABLE:
        raise WrongUsage(done.stderr.strip())
    if not done.stdout.strip():
        raise CommandError(f"the replay broke:\n{done.stderr.strip()[-2000:]}")
    return done.stdout.strip().splitlines()[-1]  # Temporal's log may precede it
