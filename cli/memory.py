"""The commands of memory: list, add, correct, forget, export."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from cli import ask
from cli.connection import open_client
from cli.exits import ExitCode, WrongUsage
from cli.prompts import is_interactive
from cli.render import say
from retinue.client.calls import FactKind
from retinue.client.models import Fact
from retinue.text import safe_line

KINDS: tuple[FactKind, ...] = ("home_place", "working_hours", "alias", "preference", "fact")
_LONGEST = 400

commands = typer.Typer(help="Memory: what you had remembered.")
AsJson = Annotated[bool, typer.Option("--json", help="Print the API's JSON as it is.")]
FactId = Annotated[str, typer.Argument(metavar="ID", help="As `memory list` shows it.")]
Kind = Annotated[str | None, typer.Option(help=f"One of {', '.join(KINDS)}.", show_default=False)]


@commands.callback(invoke_without_command=True)
def _memory(context: typer.Context) -> None:
    """Memory: what you had remembered. Without a subcommand it is listed.

    Example: bin/retinue memory
    """
    if context.invoked_subcommand is None:
        list_facts(context)


@commands.command("list")
def list_facts(context: typer.Context, kind: Kind = None, as_json: AsJson = False) -> None:
    """List what is remembered, with where it came from.

    Example: bin/retinue memory list --kind preference
    """
    client = open_client(context)
    page = client.memory.list(kind=_known(kind))
    if as_json:
        print(page.json_text())
        return
    if not page.facts:
        say("Nothing is remembered.")
    while True:
        for fact in page.facts:
            _show(fact)
        if page.next is None:
            return
        page = client.memory.list(kind=_known(kind), after=page.next)


@commands.command()
def add(
    context: typer.Context,
    text: Annotated[str, typer.Argument(help="In your words; of a home place the place alone.")],
    kind: Kind = None,
    as_json: AsJson = False,
) -> None:
    """Remember a fact. A new home place, or new working hours, replace the old.

    Example: bin/retinue memory add Lisbon --kind home_place
    """
    client, wanted = open_client(context), _known(kind) or "fact"
    change = ask.send_once(lambda key: client.memory.remember(text, kind=wanted, idempotency_key=key))
    if as_json:
        print(change.json_text())
    else:
        say(f"{'Remembered' if change.created else 'Already remembered'} as {change.fact_id}.")


@commands.command()
def correct(
    context: typer.Context,
    fact_id: FactId,
    text: Annotated[str, typer.Argument(help="What it is in truth.")],
    as_json: AsJson = False,
) -> None:
    """Replace the text of a fact.

    Example: bin/retinue memory correct 3f9c "My shoe size is 43"
    """
    change = open_client(context).memory.correct(fact_id, text)
    if as_json:
        print(change.json_text())
    else:
        say(f"{fact_id} is corrected.")


@commands.command()
def forget(
    context: typer.Context,
    fact_ids: Annotated[
        list[str] | None, typer.Argument(metavar="[ID]...", help="As `memory list` shows them.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Forget everything, or all of --kind.")] = False,
    kind: Kind = None,
    yes: Annotated[bool, typer.Option("--yes", help="With --all: do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Forget facts. They are then gone from the store.

    Example: bin/retinue memory forget 3f9c
    """
    if bool(fact_ids) == everything or (kind and not everything):
        raise WrongUsage("name what to forget, or forget everything with --all (--kind limits it to a kind)")
    client = open_client(context)
    if everything:
        _confirm(kind, yes=yes)
        forgotten = client.memory.forget_all(kind=_known(kind)).forgotten
    else:
        forgotten = sum(client.memory.forget(fact_id).forgotten for fact_id in fact_ids or [])
    if as_json:
        print(json.dumps({"forgotten": forgotten}))
    else:
        say(f"{forgotten} forgotten.")


@commands.command()
def export(context: typer.Context) -> None:
    """Print everything that is remembered as JSON.

    Example: bin/retinue memory export > memory.json
    """
    print(open_client(context).memory.export().json_text())


def _known(kind: str | None) -> FactKind | None:
    found = next((known for known in KINDS if known == kind), None)
    if kind is not None and found is None:
        raise WrongUsage(f"{kind!r} is no kind; write one of {', '.join(KINDS)}")
    return found


def _confirm(kind: str | None, *, yes: bool) -> None:
    """Ask before everything is forgotten.

    Raises:
        WrongUsage: Nobody can answer, and --yes was not given.
        Exit: The answer is no.
    """
    if yes:
        return
    if not is_interactive():
        raise WrongUsage("forgetting everything needs --yes where nobody can be asked")
    if not typer.confirm(f"Forget {'all of ' + kind if kind else 'everything'}?"):
        say("Nothing was changed.")
        raise typer.Exit(ExitCode.FAILED)


def _show(fact: Fact) -> None:
    say(f"{fact.fact_id}  {fact.kind.replace('_', ' ')}: {safe_line(fact.text, _LONGEST)}")
    say(f"  {safe_line(fact.says, _LONGEST)}", "dim")
