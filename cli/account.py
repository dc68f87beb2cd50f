"""Log in and out, and manage personal API keys."""

from __future__ import annotations

import json
import os
import sys
from typing import Annotated

import typer
from pydantic import SecretStr
from rich.table import Table

from cli import credentials, render
from cli.connection import address, client_of, open_client
from cli.credentials import Login
from cli.exits import WrongUsage
from cli.grants import Until, last_moment
from cli.prompts import is_interactive
from retinue.client import NotAllowed, NotAuthenticated
from retinue.client.models import ApiKey, Me
from retinue.client.wire import Door

_LONGEST_KEY = 10_000
keys = typer.Typer(no_args_is_help=True, help="Your personal API keys.")
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def login(
    context: typer.Context,
    key_stdin: Annotated[bool, typer.Option("--key-stdin", help="Read the key from standard input.")] = False,
    plain_http: Annotated[
        bool, typer.Option("--plain-http", help="Send the key unencrypted to another machine, readable on the way.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Store the address of an API and your key for it in your config folder, readable only by you (0600).

    The key is prompted for, or read from standard input or RETINUE_API_KEY; it is never an argument, since arguments stay
    in the shell's history. A single-user stack needs no key.

    Example: bin/retinue --url https://retinue.example.com login
    """
    url = address(context).rstrip("/")
    key = _given_key(from_stdin=key_stdin)
    me = None if key else _without_key(url)
    if me is None:
        key = key or _asked_key(url)
        _check_encrypted(url, allowed=plain_http)
        me = client_of(url, api_key=key).me()
    file = credentials.store(Login(url=url, api_key=SecretStr(key) if key else None))
    if as_json:
        print(json.dumps({"url": url, "stored_in": str(file), "key": bool(key), "me": json.loads(me.json_text())}))
        return
    if not key:
        render.say(f"{url} is a single-user stack: no key is needed.")
    _show_me(me)
    render.say(f"Stored in {file}; `bin/retinue logout` removes it.")


def logout(as_json: AsJson = False) -> None:
    """Remove what `login` stored. The key itself stays valid until `bin/retinue keys revoke`.

    Example: bin/retinue logout
    """
    removed = credentials.forget()
    if as_json:
        print(json.dumps({"removed": removed}))
    else:
        render.say("Removed." if removed else "Nothing was stored.")


def whoami(context: typer.Context, as_json: AsJson = False) -> None:
    """Show the authenticated caller and its permissions. Exit code 5 if not authenticated.

    Example: bin/retinue whoami
    """
    me = open_client(context).me()
    if as_json:
        print(me.json_text())
    else:
        _show_me(me)


@keys.callback()
def _keys() -> None:
    """Your personal API keys."""


@keys.command("list")
def list_keys(context: typer.Context, as_json: AsJson = False) -> None:
    """List your keys, without their secrets.

    Example: bin/retinue keys list
    """
    found = open_client(context).keys.list()
    if as_json:
        print(found.json_text())
    elif found.keys:
        render.show(_table(found.keys))
    else:
        render.say("No API keys. Create one with `bin/retinue keys add`.")


@keys.command()
def add(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Name in lists.")],
    scopes: Annotated[
        list[str] | None,
        typer.Option("--scope", help="Only this permission, as `whoami` shows them; repeatable.", show_default=False),
    ] = None,
    until: Until = None,
    as_json: AsJson = False,
) -> None:
    """Create an API key. It is printed only once.

    Example: bin/retinue keys add laptop --scope read --scope ask --until 2027-06-30
    """
    made = open_client(context).keys.add(name, scopes=scopes, expires_at=last_moment(until) if until else None)
    if as_json:
        print(made.json_text())
        return
    render.tell("Shown only once; use it as RETINUE_API_KEY or with `bin/retinue login`:")
    print(made.key)


@keys.command()
def revoke(
    context: typer.Context,
    key_id: Annotated[str, typer.Argument(metavar="ID", help="As `keys list` shows it.")],
    as_json: AsJson = False,
) -> None:
    """Revoke a key at once.

    Example: bin/retinue keys revoke k-3f9c
    """
    open_client(context).keys.revoke(key_id)
    if as_json:
        print(json.dumps({"id": key_id, "revoked": True}))
    else:
        render.say(f"{key_id} is revoked.")


def _given_key(*, from_stdin: bool) -> str:
    key = sys.stdin.read(_LONGEST_KEY).strip() if from_stdin else os.environ.get("RETINUE_API_KEY", "").strip()
    if from_stdin and not key:
        raise WrongUsage("there is no key on standard input")
    return key


def _without_key(url: str) -> Me | None:
    """Return the caller without a key; None if the API requires one."""
    try:
        return client_of(url, api_key="").me()
    except (NotAuthenticated, NotAllowed):
        return None


def _asked_key(url: str) -> str:
    if not is_interactive():
        raise WrongUsage(f"{url} requires a key; pipe it in with --key-stdin, or set RETINUE_API_KEY")
    key: str = typer.prompt(f"API key for {url}", hide_input=True)
    return key.strip()


def _check_encrypted(url: str, *, allowed: bool) -> None:
    """Refuse to send a key unencrypted to another machine."""
    if url.startswith("http://") and not Door.of(url, "").is_this_machine and not allowed:
        raise WrongUsage(
            f"{url} is not encrypted, so others could read your key; use https, or allow it with --plain-http"
        )


def _show_me(me: Me) -> None:
    of = f" of {me.tenant}" if me.tenant else ""
    render.say(f"You are {me.name}{of}.", "bold")
    if me.roles:
        render.say(f"Roles: {', '.join(me.roles)}.")
    if me.permissions:
        render.say(f"You may: {', '.join(me.permissions)}.")
    if me.notice:
        render.say(me.notice, "yellow")


def _table(found: list[ApiKey]) -> Table:
    table = Table(header_style="bold", box=None, padding=(0, 2, 0, 0))
    for title in ("id", "begins with", "name", "may", "until", "last used"):
        table.add_column(title, no_wrap=title == "id")
    for key in found:
        until = render.when(key.expires_at)
        used = render.when(key.last_used_at) if key.last_used_at else "never"
        cells = (key.id, key.prefix, key.name, ", ".join(key.scopes) or "everything you may", until, used)
        table.add_row(*(render.plain(cell) for cell in cells))
    return table
