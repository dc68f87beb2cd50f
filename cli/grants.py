"""The commands of grants: list, add, revoke."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import date, datetime
from datetime import time as clock_time
from typing import Annotated, TypedDict

import typer

from cli import ask
from cli.connection import open_client
from cli.exits import WrongUsage
from cli.render import say
from retinue.client import Client
from retinue.client.calls import AlsoFor
from retinue.client.models import Grant

_RECORDED_WITHIN = 5.0
_LAST_MINUTE = clock_time(23, 59, 59)

commands = typer.Typer(help="Grants: actions that you allow without an approval.")
AsJson = Annotated[bool, typer.Option("--json", help="Print the API's JSON as it is.")]
Uses = Annotated[int | None, typer.Option(help="Maximum number of uses (default: unlimited).", show_default=False)]
Until = Annotated[
    str | None,
    typer.Option(metavar="DATE", help="Last day, as in 2027-01-31, or a time with its UTC offset.", show_default=False),
]


AlsoSchedules = Annotated[bool, typer.Option("--also-schedules", help="Also applies to scheduled assistants.")]
AlsoKeys = Annotated[
    bool, typer.Option("--also-keys", help="Also applies to assistants that your other API keys start.")
]


class Bounds(TypedDict, total=False):
    """The API's limits of a grant."""

    uses: int
    expires_at: str
    also_for: list[AlsoFor]


@commands.callback(invoke_without_command=True)
def _grants(context: typer.Context) -> None:
    """Grants: actions that you allow without an approval. Without a subcommand they are listed.

    Example: bin/retinue grants
    """
    if context.invoked_subcommand is None:
        list_grants(context)


@commands.command("list")
def list_grants(
    context: typer.Context,
    everything: Annotated[bool, typer.Option("--all", help="Also show revoked, used-up and expired grants.")] = False,
    as_json: AsJson = False,
) -> None:
    """List your grants in plain words.

    Example: bin/retinue grants list --all
    """
    found = open_client(context).grants.list(everything=everything)
    if as_json:
        print(found.json_text())
        return
    for grant in found.grants:
        _show(grant)
    if not found.grants:
        say("No grants: every action that the policy asks about needs an approval.")


@commands.command()
def add(
    context: typer.Context,
    tool: Annotated[str, typer.Argument(help="Full name, as in email.send; see `bin/retinue capabilities`.")],
    patterns: Annotated[
        list[str] | None,
        typer.Option(
            "--arg", metavar="NAME=PATTERN", help="Values that an argument may have; repeatable.", show_default=False
        ),
    ] = None,
    without: Annotated[
        list[str] | None,
        typer.Option("--without", metavar="NAME", help="An argument that must be empty.", show_default=False),
    ] = None,
    whatever: Annotated[bool, typer.Option("--any-arguments", help="Allow any arguments.")] = False,
    uses: Uses = None,
    until: Until = None,
    schedule: Annotated[
        str | None,
        typer.Option(metavar="ID", help="Only for assistants that this schedule starts.", show_default=False),
    ] = None,
    also_schedules: AlsoSchedules = False,
    also_keys: AlsoKeys = False,
    as_json: AsJson = False,
) -> None:
    """Create a grant. Arguments that you do not name may have any value, so name those that matter.

    The grant applies to what you ask for in person; --also-schedules and --also-keys extend it.

    Example: bin/retinue grants add email.send --arg "to=*@example.com" --without cc --uses 10
    """
    args = _scope(patterns or [], without or [])
    if bool(args) == whatever:
        raise WrongUsage("restrict the arguments with --arg and --without, or allow all with --any-arguments")
    client, bounds = open_client(context), limits(uses, until, schedules=also_schedules, keys=also_keys)
    grant = ask.send_once(
        lambda key: client.grants.add(tool, args, schedule_id=schedule, idempotency_key=key, **bounds)
    )
    if as_json:
        print(grant.json_text())
    else:
        _show(grant)


@commands.command()
def revoke(
    context: typer.Context,
    grant_id: Annotated[str, typer.Argument(metavar="ID", help="As `grants list` shows it.")],
    as_json: AsJson = False,
) -> None:
    """Revoke a grant. Similar actions ask again; completed effects stay.

    Example: bin/retinue grants revoke g-3f9c
    """
    grant = open_client(context).grants.revoke(grant_id)
    if as_json:
        print(grant.json_text())
    else:
        say(f"{grant.grant_id} is revoked; similar actions ask again.")


def limits(uses: int | None, until: str | None, *, schedules: bool, keys: bool) -> Bounds:
    """Return the limits of a grant from the options.

    Args:
        uses: Maximum number of uses.
        until: Its last day or moment.
        schedules: Whether it also applies to scheduled runs.
        keys: Whether it also applies to other API keys.

    Raises:
        WrongUsage: The date is invalid.
    """
    bounds: Bounds = {}
    if uses is not None:
        bounds["uses"] = uses
    if until is not None:
        bounds["expires_at"] = last_moment(until)
    wanted: list[tuple[AlsoFor, bool]] = [("schedules", schedules), ("keys", keys)]
    if also_for := [name for name, chosen in wanted if chosen]:
        bounds["also_for"] = also_for
    return bounds


def last_moment(text: str) -> str:
    """Return the end of a local day, or a time with a UTC offset."""
    try:
        if len(text) == len("2027-01-31"):
            return datetime.combine(date.fromisoformat(text), _LAST_MINUTE).astimezone().isoformat()
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise WrongUsage(f"{text!r} is not a date; write 2027-01-31") from None
    if moment.tzinfo is None:
        raise WrongUsage(f"{text!r} has no UTC offset; write 2027-01-31 or 2027-01-31T18:00:00+01:00")
    return moment.isoformat()


def _scope(patterns: Sequence[str], without: Sequence[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {_place(name): [] for name in without}
    for pair in patterns:
        name, equals, pattern = pair.partition("=")
        if not (name and equals and pattern):
            raise WrongUsage(f"{pair!r} allows nothing; write NAME=PATTERN, as in to=*@example.com")
        found.setdefault(_place(name), []).append(pattern)
    return found


def _place(name: str) -> str:
    return name if name.startswith("/") else f"/{name}"


def show_given(client: Client, assistant_id: str, approval_id: str) -> None:
    """Print the grant of a decision, which is recorded shortly after it."""
    deadline = time.monotonic() + _RECORDED_WITHIN
    while time.monotonic() < deadline:
        view = client.assistants.get(assistant_id)
        for approval in view.approvals:
            if approval.id == approval_id and approval.grant_id:
                _show_one(client, approval.grant_id)
                return
        time.sleep(0.2)
    say("The grant is not recorded yet; see `bin/retinue grants` and the assistant's notices.", "yellow")


def _show_one(client: Client, grant_id: str) -> None:
    for grant in client.grants.list(everything=True).grants:
        if grant.grant_id == grant_id:
            _show(grant)


def _show(grant: Grant) -> None:
    used = f"; used {grant.used} times" if grant.used else ""
    say(f"{grant.grant_id}{'' if grant.live else '  (ended)'}{used}", "" if grant.live else "dim")
    say(f"  {grant.says}.")
    if grant.live:
        say(f"  Revoke: bin/retinue grants revoke {grant.grant_id}")
