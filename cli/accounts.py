"""The commands of accounts elsewhere: list, add, connect again, test, rename, choose the default, remove."""

from __future__ import annotations

import json
import sys
import time
import webbrowser
from collections.abc import Mapping, Sequence
from typing import Annotated, TypeGuard, get_args

import typer
from pydantic import SecretStr

from cli import render
from cli.connection import open_client
from cli.exits import CommandError, ExitCode, WrongUsage
from cli.loopback import Loopback
from cli.prompts import is_interactive, typed
from cli.render import say
from retinue.client import Client, ClientError
from retinue.client.calls import AccountUse, PasswordProvider
from retinue.client.models import Account, AccountProvider, DeviceConsentBegun, FoundServers
from retinue.text import safe_line

GOOD_FOR = 600.0
"""Seconds for which a consent that has begun is valid."""
_LOOK = 2.0
_SIGNING_IN = 60.0
"""Seconds that a client waits while the service signs in elsewhere."""
_LONGEST = 200
_PASSWORD_KINDS: Mapping[str, PasswordProvider] = {
    "mail": "imap",
    "imap": "imap",
    "caldav": "caldav",
    "carddav": "carddav",
}
_STATES = {"connected": "works", "disconnected": "must be connected again", "unreadable": "its key is missing"}

commands = typer.Typer(help="Your accounts elsewhere: mail, calendar, contacts.")
AsJson = Annotated[bool, typer.Option("--json", help="Print the API's JSON as it is.")]
Named = Annotated[str, typer.Argument(metavar="NAME", help="The account's name or id, as `accounts` shows it.")]
Uses = Annotated[
    list[str] | None,
    typer.Option("--for", metavar="USE", help="calendar, contacts or email; repeatable.", show_default=False),
]
PasswordStdin = Annotated[
    bool, typer.Option("--password-stdin", help="Read the app password from standard input; else it is prompted.")
]
AtLoopback = Annotated[
    bool, typer.Option("--loopback", help="The provider sends the browser to this command instead of the console.")
]
OnADevice = Annotated[
    bool, typer.Option("--device", help="Agree on another device, by a code, where the provider offers that.")
]
ReadOnly = Annotated[
    bool | None,
    typer.Option(
        "--read-only/--read-write",
        help="Ask for reading alone, or for all rights (default: as the account has it, a new one all).",
        show_default=False,
    ),
]
NoBrowser = Annotated[bool, typer.Option("--no-browser", help="Print the link and open no browser.")]


@commands.callback(invoke_without_command=True)
def _accounts(context: typer.Context) -> None:
    """Your accounts elsewhere: mail, calendar, contacts. Without a subcommand they are listed.

    Example: bin/retinue accounts
    """
    if context.invoked_subcommand is None:
        list_accounts(context)


@commands.command("list")
def list_accounts(context: typer.Context, as_json: AsJson = False) -> None:
    """List your accounts: whether they work, what your assistants may do with them.

    Example: bin/retinue accounts list
    """
    found = open_client(context).accounts.list()
    if as_json:
        print(found.json_text())
        return
    for account in found.accounts:
        _show(account)
    if not found.accounts:
        say("No account is connected. `bin/retinue accounts add google` connects one; `--help` names the others.")


@commands.command()
def add(
    context: typer.Context,
    where: Annotated[
        str, typer.Argument(metavar="WHERE", help="google, microsoft, mail, caldav, carddav, or another provider.")
    ],
    address: Annotated[
        str | None,
        typer.Argument(
            metavar="[ADDRESS]", help="For mail your address; for caldav and carddav also the server's URL."
        ),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="What to call it (default: the address).", show_default=False)
    ] = None,
    uses: Uses = None,
    username: Annotated[
        str | None, typer.Option(help="To sign in with, if it is not the address.", show_default=False)
    ] = None,
    read_only: ReadOnly = None,
    loopback: AtLoopback = False,
    device: OnADevice = False,
    no_browser: NoBrowser = False,
    password_stdin: PasswordStdin = False,
    as_json: AsJson = False,
) -> None:
    """Connect an account: by consent in a browser, or by an app password, which is prompted and never an argument.

    For google and microsoft the link is opened and printed; the command waits until you have agreed there. For mail,
    caldav and carddav the servers are looked up and shown before anything is sent.

    Example: bin/retinue accounts add google --for calendar --for email --name work
    """
    client = open_client(context, timeout=_SIGNING_IN)
    kind = _PASSWORD_KINDS.get(where)
    if kind is not None:
        found = _servers(client, kind, address)
        account = _by_password(client, kind, found, username=username, name=name, from_stdin=password_stdin)
    else:
        provider = _provider(client, where)
        chosen = _uses(uses) or [use for use in provider.capabilities if _is_use(use)]
        account = _by_consent(
            client,
            provider.id,
            chosen,
            name=name,
            read_only=_read_only(read_only, chosen),
            loopback=loopback,
            device=device,
            browser=not no_browser,
        )
    _tell(account, "is connected", as_json=as_json)


@commands.command()
def again(
    context: typer.Context,
    account: Named,
    read_only: ReadOnly = None,
    loopback: AtLoopback = False,
    device: OnADevice = False,
    no_browser: NoBrowser = False,
    password_stdin: PasswordStdin = False,
    as_json: AsJson = False,
) -> None:
    """Connect an account again, as when its provider no longer accepts it. Steps that waited for it go on.

    Example: bin/retinue accounts again work
    """
    client = open_client(context, timeout=_SIGNING_IN)
    old = _account(client, account)
    kind = _PASSWORD_KINDS.get(old.provider)
    if old.kind == "password" and kind is not None:
        servers = FoundServers(provider_id=old.provider_id, endpoints=old.endpoints)
        new = _by_password(
            client, kind, (old.address, servers), name=old.name, account_id=old.account_id, from_stdin=password_stdin
        )
    else:
        uses = [use for use in old.capabilities if _is_use(use)]
        new = _by_consent(
            client,
            old.provider_id,
            uses,
            account_id=old.account_id,
            loopback=loopback,
            device=device,
            browser=not no_browser,
            read_only=_read_only(read_only, uses),
        )
    _tell(new, "is connected again", as_json=as_json)


@commands.command("test")
def try_account(
    context: typer.Context,
    account: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="An account's name or id (default: all).", show_default=False)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Sign in and out again, to see whether an account works now. Exit code 1 if one does not.

    Example: bin/retinue accounts test work
    """
    client = open_client(context, timeout=_SIGNING_IN)
    chosen = [_account(client, account)] if account else client.accounts.list().accounts
    results = {each.name: client.accounts.test(each.account_id) for each in chosen}
    if as_json:
        print(json.dumps({name: result.model_dump() for name, result in results.items()}))
    for name, result in results.items() if not as_json else ():
        say(f"{name}: {'works' if result.works else safe_line(result.problem, _LONGEST)}")
    raise typer.Exit(ExitCode.DONE if all(result.works for result in results.values()) else ExitCode.FAILED)


@commands.command()
def rename(
    context: typer.Context,
    account: Named,
    name: Annotated[str, typer.Argument(metavar="NEW", help="Its new name.")],
    as_json: AsJson = False,
) -> None:
    """Rename an account. Requests name accounts by it: "answer from work".

    Example: bin/retinue accounts rename anna@example.com work
    """
    client = open_client(context)
    changed = client.accounts.change(_account(client, account).account_id, name=name)
    _tell(changed, "is its name", as_json=as_json)


@commands.command()
def default(context: typer.Context, account: Named, uses: Uses = None, as_json: AsJson = False) -> None:
    """Use an account where a request names none: for all it is used for, or only for what --for says.

    Example: bin/retinue accounts default work --for email
    """
    client = open_client(context)
    found = _account(client, account)
    chosen = _uses(uses) or [use for use in found.capabilities if _is_use(use)]
    kept = [use for use in found.default_for if _is_use(use)]
    changed = client.accounts.change(found.account_id, default_for=list(dict.fromkeys([*kept, *chosen])))
    _tell(changed, f"is used for {', '.join(changed.default_for)} where you name no account", as_json=as_json)


@commands.command()
def remove(
    context: typer.Context,
    account: Named,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Remove an account: its secret is deleted, and your consent withdrawn where the provider offers that.

    Nothing is deleted in the account itself.

    Example: bin/retinue accounts remove work
    """
    client = open_client(context, timeout=_SIGNING_IN)
    found = _account(client, account)
    if not yes:
        if not is_interactive():
            raise WrongUsage("nothing was changed; add --yes if you agree")
        if not typer.confirm(f"Remove {found.name}?"):
            say("Nothing was changed.")
            raise typer.Exit(ExitCode.FAILED)
    client.accounts.revoke(found.account_id)
    if as_json:
        print(json.dumps({"account_id": found.account_id, "removed": True}))
    else:
        say(f"{found.name} is removed.")


def _account(client: Client, named: str) -> Account:
    """Return the account of that name or id.

    Raises:
        WrongUsage: There is none.
    """
    found = client.accounts.list().accounts
    fitting = [one for one in found if named == one.account_id or named.casefold() == one.name.casefold()]
    if not fitting:
        names = ", ".join(one.name for one in found) or "none"
        raise WrongUsage(f"you have no account {named!r}; there is: {names}")
    return fitting[0]


def _provider(client: Client, named: str) -> AccountProvider:
    """Return a provider whose accounts are connected by consent.

    Raises:
        WrongUsage: There is no such provider, or it cannot be used here.
    """
    known = client.accounts.providers().providers
    found = next((one for one in known if one.id == named and one.kind == "bearer"), None)
    if found is None:
        names = [one.id for one in known if one.kind == "bearer"]
        raise WrongUsage(f"there is no provider {named!r}; write one of {', '.join([*names, *_PASSWORD_KINDS])}")
    if not found.allowed:
        raise WrongUsage(f"your organisation does not allow accounts of {found.title}")
    if not found.ready:
        raise WrongUsage(f"{found.title} is not set up here; the operator sets its client id (docs/accounts.md)")
    return found


def _is_use(text: str) -> TypeGuard[AccountUse]:
    return text in get_args(AccountUse)


def _uses(given: Sequence[str] | None) -> list[AccountUse]:
    chosen = [use for use in given or () if _is_use(use)]
    if len(chosen) != len(given or ()):
        raise WrongUsage(f"--for takes one of {', '.join(get_args(AccountUse))}")
    return chosen


def _servers(client: Client, kind: PasswordProvider, address: str | None) -> tuple[str, FoundServers]:
    """Return the person's address and its servers, after showing these.

    Raises:
        WrongUsage: The address is missing.
    """
    if not address:
        raise WrongUsage(f"say which: bin/retinue accounts add {'mail' if kind == 'imap' else kind} ADDRESS")
    found = [one for one in client.accounts.discover(address).found if one.provider_id == kind]
    servers = found[0] if found else FoundServers(provider_id=kind, endpoints=_as_server(kind, address))
    for protocol, url in servers.endpoints.items():
        say(f"{protocol}: {safe_line(url, _LONGEST)}{f' (found {servers.source})' if servers.source else ''}")
    if not servers.endpoints:
        say("No server was found by this address; signing in may still find it.")
    return ("" if "://" in address else address), servers


def _as_server(kind: PasswordProvider, address: str) -> dict[str, str]:
    return {kind: address} if "://" in address and kind != "imap" else {}


def _by_password(
    client: Client,
    kind: PasswordProvider,
    found: tuple[str, FoundServers],
    *,
    username: str | None = None,
    name: str | None = None,
    account_id: str | None = None,
    from_stdin: bool,
) -> Account:
    address, servers = found
    login = username or servers.username
    address = address or login or _asked("User name there: ")
    password = sys.stdin.readline().rstrip("\r\n") if from_stdin else _asked_password(login or address)
    if not password:
        raise WrongUsage("there is no password; nothing was sent")
    return client.accounts.connect(
        kind,
        address,
        SecretStr(password),
        username=login or None,
        endpoints=servers.endpoints or None,
        name=name,
        account_id=account_id,
    )


def _asked(prompt: str) -> str:
    if not is_interactive():
        raise WrongUsage("give the user name with --username")
    return typed(prompt)


def _asked_password(login: str) -> str:
    if not is_interactive():
        raise WrongUsage("there is no terminal to ask for the app password; pipe it in with --password-stdin")
    password: str = typer.prompt(f"App password of {login}", hide_input=True)
    return password


def _read_only(wanted: bool | None, uses: Sequence[AccountUse]) -> Sequence[AccountUse] | None:
    """Return for what reading is enough; None: as the account has it."""
    return None if wanted is None else uses if wanted else []


def _by_consent(
    client: Client,
    provider_id: str,
    uses: Sequence[AccountUse],
    *,
    name: str | None = None,
    account_id: str | None = None,
    read_only: Sequence[AccountUse] | None,
    loopback: bool,
    device: bool,
    browser: bool,
) -> Account:
    """Lead the person's browser to the provider, and return the account once they have agreed."""
    if device:
        begun_there = client.accounts.begin_device(
            provider_id, uses, name=name, account_id=account_id, read_only=read_only
        )
        return _on_a_device(client, begun_there)
    if not loopback:
        before = _stamps(client, provider_id)
        begun = client.accounts.begin(provider_id, uses, name=name, account_id=account_id, read_only=read_only)
        _lead(begun.authorize_url, browser=browser)
        say(f"The browser comes back to {client.url}, where you must be signed in.", "dim")
        return _awaited(client, provider_id, before)
    # Microsoft lets operators register a loopback address by this name alone
    with Loopback("localhost" if provider_id == "microsoft" else "127.0.0.1") as here:
        begun = client.accounts.begin(
            provider_id,
            uses,
            name=name,
            account_id=account_id,
            redirect_uri=here.redirect_uri,
            read_only=read_only,
        )
        here.expect(begun.state)
        _lead(begun.authorize_url, browser=browser)
        brought = here.wait(seconds=GOOD_FOR)
    return client.accounts.finish(begun.state, code=brought.code, iss=brought.iss, error=brought.error)


def _on_a_device(client: Client, begun: DeviceConsentBegun) -> Account:
    """Show the code, and return the account once the person has agreed.

    Raises:
        CommandError: Nobody agreed in time.
    """
    say(f"Open {begun.verification_uri} on any device and type {begun.user_code}; Ctrl-C stops waiting.")
    deadline = time.monotonic() + begun.expires_in
    while time.monotonic() < deadline:
        time.sleep(begun.interval)
        found = client.accounts.poll_device(begun.state).account
        if found is not None:
            return found
    raise CommandError("nobody agreed in time; nothing was connected")


def _lead(url: str, *, browser: bool) -> None:
    render.tell("Open this in a browser, sign in and agree; Ctrl-C stops waiting:")
    print(url, flush=True)
    if browser:
        webbrowser.open(url)


def _stamps(client: Client, provider_id: str) -> dict[str, Account]:
    return {one.account_id: one for one in client.accounts.list().accounts if one.provider_id == provider_id}


def _awaited(client: Client, provider_id: str, before: Mapping[str, Account]) -> Account:
    """Return the account that was connected since.

    Raises:
        CommandError: Nobody agreed in time.
    """
    deadline = time.monotonic() + GOOD_FOR
    while time.monotonic() < deadline:
        time.sleep(_LOOK)
        try:
            now = _stamps(client, provider_id)
        except ClientError:
            continue
        for account_id, account in now.items():
            known = before.get(account_id)
            if known is None or known.connected_at != account.connected_at:
                return account
    raise CommandError("nobody agreed in time; nothing was connected")


def _tell(account: Account, what: str, *, as_json: bool) -> None:
    if as_json:
        print(account.json_text())
    else:
        say(f"{account.name} {what}.")


def _show(account: Account) -> None:
    address = f" ({safe_line(account.address, _LONGEST)})" if account.address not in ("", account.name) else ""
    say(
        f"{safe_line(account.name, _LONGEST)}{address}  {account.provider_id}: {_STATES.get(account.state, account.state)}"
    )
    if account.problem:
        say(f"  {safe_line(account.problem, _LONGEST)}", "yellow")
    if not account.works:
        say(f"  bin/retinue accounts again {account.account_id}", "yellow")
    used = f"last used {render.when(account.last_used_at)}" if account.last_used_at else "not used yet"
    default = f"used for {', '.join(account.default_for)} by default" if account.default_for else "used when named"
    say(f"  may {'; '.join(account.may)} · {default} · {used}", "dim")
