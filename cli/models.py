"""The commands of language models: list, use, test."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from cli.connection import open_client
from cli.exits import ExitCode, WrongUsage
from cli.render import say
from retinue.client.models import LanguageModels

BUILT_IN = "offline"
"""The name of the built-in model."""
_TEST_TAKES = 60.0
"""Seconds that a client waits for a test, which the API bounds."""
_SOURCES = {
    "environment": "as the environment says",
    "choice": "chosen with `bin/retinue model use`",
    "built_in": "the built-in one, which follows rules",
}

commands = typer.Typer(help="Language models: which are used, and those on this machine.")
AsJson = Annotated[bool, typer.Option("--json", help="Print the API's JSON as it is.")]


@commands.callback(invoke_without_command=True)
def _models(context: typer.Context) -> None:
    """Language models: which are used, and those on this machine. Without a subcommand they are listed.

    Example: bin/retinue model
    """
    if context.invoked_subcommand is None:
        list_models(context)


@commands.command("list")
def list_models(context: typer.Context, as_json: AsJson = False) -> None:
    """List the models in use and those that servers on this machine offer. Nothing of yours is sent to a server.

    Example: bin/retinue model list
    """
    found = open_client(context).language_models()
    if as_json:
        print(found.json_text())
        return
    say(f"In use, {_SOURCES.get(found.source, found.source)}:")
    for one in found.roles:
        say(f"  {one.role:<6} {', '.join(one.models)}")
    for form in found.forms:
        say(f"  {form.model} {form.words}")
    for server in found.servers:
        say(f"{server.name} at {server.address} offers:")
        for model in server.models:
            say(f"  {model}")
    if not found.servers:
        say("No server on this machine offers models. docs/models.md says how to set up others.")


@commands.command()
def use(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help=f"A model that `list` shows; {BUILT_IN} for the built-in one.")],
    server: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Its server, where several offer such a model.", show_default=False),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Use another model from the next request on. What it will be sent, and where to, is shown and asked first.

    It applies to everybody of this installation and needs the permission `operate`. Variables of the environment that name
    a model go before it.

    Example: bin/retinue model use qwen3:4b
    """
    client = open_client(context)
    if name == BUILT_IN and server is None:
        after = client.use_built_in_model()
        done = "The built-in model is used again."
    else:
        found = client.language_models()
        address = _server_of(found, name, server)
        _confirm(f"{name} at {address} will be sent {found.is_sent}.", yes=yes)
        after = client.use_model(address, name)
        done = f"{name} is used from the next request on. `bin/retinue model test` tries it."
    print(after.json_text()) if as_json else say(done)


@commands.command("test")
def try_model(context: typer.Context, as_json: AsJson = False) -> None:
    """Send one small, fixed request to the model that plans, with nothing of yours. Exit code 1 if it fails.

    Example: bin/retinue model test
    """
    found = open_client(context, timeout=_TEST_TAKES).test_model()
    if as_json:
        print(found.json_text())
    elif found.test:
        used = found.test.usage
        say(f"{', '.join(found.roles[0].models)}: {found.test.words}")
        say(f"{found.test.seconds:g} s, {used.input_tokens} tokens read, {used.output_tokens} written")
    raise typer.Exit(ExitCode.DONE if found.test and found.test.ok else ExitCode.FAILED)


def _server_of(found: LanguageModels, name: str, server: str | None) -> str:
    """Return the address of the server that offers a model.

    Raises:
        WrongUsage: None does, or several do.
    """
    offering = [one.address for one in found.servers if name in one.models and server in (None, one.address)]
    if not offering:
        raise WrongUsage(f"no server on this machine offers {name!r}; see `bin/retinue model list`")
    if len(offering) > 1:
        raise WrongUsage(f"several servers offer {name!r}; choose one with --server: {', '.join(offering)}")
    return offering[0]


def _confirm(what: str, *, yes: bool) -> None:
    """Show what is sent where, and ask.

    Raises:
        WrongUsage: Nobody can be asked.
        Exit: The answer is no.
    """
    say(what)
    if yes:
        return
    if not sys.stdin.isatty():
        raise WrongUsage("nothing was changed; add --yes if you agree")
    if not typer.confirm("Use it?"):
        say("Nothing was changed.")
        raise typer.Exit(ExitCode.FAILED)
