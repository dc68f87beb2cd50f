"""The commands of policies: print the rules, validate a file before a stack uses it. Needs no running stack."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.exits import CommandError, WrongUsage
from cli.render import say

if TYPE_CHECKING:
    from workflows.rules.policy import Policy

DEFAULT = "default"
commands = typer.Typer(
    no_args_is_help=True, help="Policies: which actions are automatic, need an approval or are denied."
)


@commands.callback()
def _policy() -> None:
    """Policies: which actions are automatic, need an approval or are denied."""


@commands.command()
def show(
    name: Annotated[str, typer.Argument(help="Name of a policy in the file.")] = DEFAULT,
    file: Annotated[
        Path | None, typer.Option(help="A policy file (default: the built-in policy).", show_default=False)
    ] = None,
) -> None:
    """Print a policy as TOML, with the rules it inherits from the default policy.

    Example: bin/retinue policy show > policy.toml
    """
    from workflows.rules.policy_file import to_toml  # imported here: other commands do not need its libraries

    known = _read(file)
    if name not in known:
        raise WrongUsage(f"there is no policy {name!r}; there are {', '.join(sorted(known))}")
    print(to_toml(known[name]), end="")


@commands.command()
def check(file: Annotated[Path, typer.Argument(help="The file for RETINUE_POLICY.")]) -> None:
    """Validate a policy file. Exit code 1 if it has mistakes; all of them are listed.

    Example: bin/retinue policy check policy.toml
    """
    for name, policy in sorted(_read(file).items()):
        say(f"{name}: {len(policy.rules)} rules")
    say(f"{file} is valid: RETINUE_POLICY={file}")


def _read(file: Path | None) -> dict[str, Policy]:
    from workflows.rules.policy_file import parse_policies

    try:
        return parse_policies(file.read_text(encoding="utf-8") if file else "")
    except (OSError, UnicodeDecodeError) as error:
        raise WrongUsage(f"{file} cannot be read: {error}") from None
    except ValueError as error:
        raise CommandError(str(error)) from None
