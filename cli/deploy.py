"""The commands of deployments: which version of the workers gets new work. The work is done in `cli.deploying`."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Annotated, Any, NoReturn

import typer

from cli import local
from retinue.settings import ROOT

_OPERATORS = (
    "Versions of workers: which get new work. A tool for operators: it speaks to Temporal at TEMPORAL_ADDRESS, not to the "
    "API; who may change that Temporal namespace may use it."
)

commands = typer.Typer(no_args_is_help=True, help=_OPERATORS)
Build = Annotated[str, typer.Argument(metavar="BUILD", help="The version's build id, as `deploy status` shows it.")]
Of = Annotated[str, typer.Option("--of", metavar="WORKERS", help="Whose version: workflows, or a capability.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the deployment's state afterwards as JSON.")]


@commands.callback()
def _deploy() -> None:
    """Versions of workers: which get new work. A tool for operators.

    It speaks to Temporal at TEMPORAL_ADDRESS, with the namespace, API key and TLS of the other TEMPORAL_* variables, and not
    to the API: who may change that namespace may use it. docs/deploying.md walks through a rollout.
    """


@commands.command()
def status(
    of: Annotated[
        str, typer.Option("--of", metavar="WORKERS", help="Only these: workflows, or a capability (default: all).")
    ] = "",
    as_json: AsJson = False,
) -> None:
    """List the versions of workers: what Temporal does with each, whether workers poll, which assistants are on it.

    Example: bin/retinue deploy status
    """
    _do("status", of=of, as_json=as_json)


@commands.command()
def ramp(
    build: Build,
    percent: Annotated[float, typer.Argument(min=0, max=100, help="Share of new work; 0 ends the ramp.")],
    of: Of = "workflows",
    as_json: AsJson = False,
) -> None:
    """Give a version a share of the new work; the rest goes on to the current version.

    Example: bin/retinue deploy ramp 2026-12-01 10
    """
    _do("ramp", build=build, percent=percent, of=of, as_json=as_json)


@commands.command()
def promote(build: Build, of: Of = "workflows", as_json: AsJson = False) -> None:
    """Make a version the current one: all new work goes to it. Running assistants stay on their version.

    Example: bin/retinue deploy promote 2026-12-01
    """
    _do("promote", build=build, of=of, as_json=as_json)


@commands.command()
def rollback(
    of: Of = "workflows",
    to: Annotated[
        str | None,
        typer.Option(metavar="BUILD", help="To this version (default: the last current one).", show_default=False),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """End a ramp; without one, make the version current that was current before.

    Assistants that began on the other version stay there: keep its workers until `deploy drain` says that they can stop.

    Example: bin/retinue deploy rollback
    """
    _do("rollback", build=to, of=of, as_json=as_json)


@commands.command()
def drain(
    build: Build,
    of: Of = "workflows",
    wait: Annotated[bool, typer.Option("--wait", help="Wait until no assistant is on it, however long.")] = False,
    move_to: Annotated[
        str | None,
        typer.Option(
            metavar="BUILD",
            help="Move its assistants to this version, whose code must be able to replay them; then wait.",
            show_default=False,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say whether the workers of a version can stop. Exit code 1 while open assistants are on it.

    Example: bin/retinue deploy drain 2026-11-01 --wait
    """
    _do("drain", build=build, of=of, wait=wait, move_to=move_to, as_json=as_json)


def _do(action: str, **options: Any) -> NoReturn:
    """Run an action in a process of its own, since one that used Temporal's runtime may abort at its exit."""
    command = [sys.executable, "-P", "-m", "cli.deploying", action, json.dumps(options)]
    done = subprocess.run(command, cwd=ROOT, env=local.temporal_environment(), check=False)
    raise typer.Exit(done.returncode)
