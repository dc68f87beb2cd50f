"""The commands of triggers."""

from __future__ import annotations

import json
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import typer
from rich.table import Table
from rich.text import Text

from cli import ask, render
from cli.connection import open_client
from retinue.client.calls import TriggerEvent
from retinue.client.models import Trigger, TriggerTest

_WHEN = "{:%a %d %b %Y %H:%M %z}"

commands = typer.Typer(
    no_args_is_help=True, help="Triggers: assistants that start when mail arrives or an event changes."
)
TriggerId = Annotated[str, typer.Argument(metavar="ID", help="The trigger's id, as `triggers list` shows it.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the API's JSON as it is.")]


@commands.callback()
def _triggers() -> None:
    """Triggers: assistants that start when mail arrives or an event changes."""


@commands.command("list")
def list_triggers(context: typer.Context, as_json: AsJson = False) -> None:
    """List your triggers.

    Example: bin/retinue triggers list
    """
    found = open_client(context).triggers.list()
    if as_json:
        print(found.json_text())
    elif found.triggers:
        render.show(_table(found.triggers))
    else:
        render.say("No triggers. Create one with `bin/retinue triggers add`.")


@commands.command()
def add(
    context: typer.Context,
    message: Annotated[str, typer.Argument(help="What you want, in plain language.")],
    event: Annotated[str, typer.Option(help="mail or calendar: what starts it.", metavar="EVENT")] = "mail",
    senders: Annotated[
        list[str] | None,
        typer.Option("--from", help="An address, or @example.com for anybody there; repeatable.", show_default=False),
    ] = None,
    contact: Annotated[str | None, typer.Option(help="The name of a contact who sent it.", show_default=False)] = None,
    words: Annotated[
        list[str] | None,
        typer.Option("--word", help="A word of the subject or the event's title; repeatable.", show_default=False),
    ] = None,
    folder: Annotated[
        str | None, typer.Option(help="inbox or archive: where the mail arrives.", show_default=False)
    ] = None,
    automatic: Annotated[bool, typer.Option(help="Also mails that programs wrote, and mailing lists.")] = False,
    quiet: Annotated[
        str | None, typer.Option(help="No starts in these hours.", metavar="HH:MM-HH:MM", show_default=False)
    ] = None,
    per_hour: Annotated[int | None, typer.Option(help="The most runs in any hour (10).", show_default=False)] = None,
    per_day: Annotated[int | None, typer.Option(help="The most runs in 24 hours (50).", show_default=False)] = None,
    account: Annotated[
        str | None, typer.Option(help="The account that is watched (default: your default one).", show_default=False)
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name in lists.", show_default=False)] = None,
    timezone: Annotated[
        str | None, typer.Option(help="IANA time zone (default: this machine's).", show_default=False)
    ] = None,
    policy: Annotated[str | None, typer.Option(help="Name of a policy.", show_default=False)] = None,
    as_json: AsJson = False,
) -> None:
    """Create a trigger. What arrives is read as data of strangers; your message alone says what is done.

    Example: bin/retinue triggers add "Add a task to answer it" --from landlord@example.com
    """
    client = open_client(context)
    given = {"senders": senders, "contact": contact, "words": words, "folder": folder, "automatic": automatic or None}
    conditions: dict[str, Any] = {key: value for key, value in given.items() if value}
    made = ask.send_once(
        lambda key: client.triggers.add(
            _event(event),
            message,
            conditions=conditions or None,
            account=account,
            name=name,
            timezone=timezone or ask.local_timezone(),
            quiet_hours=_quiet(quiet),
            per_hour=per_hour,
            per_day=per_day,
            policy=policy,
            idempotency_key=key,
        )
    )
    _print(made, as_json=as_json)


@commands.command()
def show(context: typer.Context, trigger_id: TriggerId, as_json: AsJson = False) -> None:
    """Show a trigger with its last runs and what it left out.

    Example: bin/retinue triggers show t-3f9c
    """
    _print(open_client(context).triggers.get(trigger_id), as_json=as_json)


@commands.command()
def pause(
    context: typer.Context,
    trigger_id: TriggerId,
    note: Annotated[str | None, typer.Option(help="The reason, shown while paused.", show_default=False)] = None,
    as_json: AsJson = False,
) -> None:
    """Pause a trigger. What arrives meanwhile starts nothing.

    Example: bin/retinue triggers pause t-3f9c --note "on holiday"
    """
    _print(open_client(context).triggers.pause(trigger_id, note=note), as_json=as_json)


@commands.command()
def resume(context: typer.Context, trigger_id: TriggerId, as_json: AsJson = False) -> None:
    """Resume a trigger. What arrived meanwhile starts nothing.

    Example: bin/retinue triggers resume t-3f9c
    """
    _print(open_client(context).triggers.resume(trigger_id), as_json=as_json)


@commands.command("test")
def try_out(
    context: typer.Context,
    trigger_id: TriggerId,
    start: Annotated[bool, typer.Option("--start", help="Start an assistant with the newest that fits.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show the latest mails or events, and which of them fit.

    Example: bin/retinue triggers test t-3f9c
    """
    client = open_client(context)
    tested = ask.send_once(lambda key: client.triggers.test(trigger_id, start=start, idempotency_key=key))
    if as_json:
        print(tested.json_text())
    else:
        _tell_test(tested)


@commands.command()
def delete(context: typer.Context, trigger_id: TriggerId, as_json: AsJson = False) -> None:
    """Delete a trigger. Assistants that it started are kept.

    Example: bin/retinue triggers delete t-3f9c
    """
    open_client(context).triggers.delete(trigger_id)
    if as_json:
        print(json.dumps({"id": trigger_id, "deleted": True}))
    else:
        render.say(f"{trigger_id} is deleted.")


def _event(given: str) -> TriggerEvent:
    if given == "mail":
        return "mail"
    if given == "calendar":
        return "calendar"
    raise typer.BadParameter("mail or calendar", param_hint="--event")


def _quiet(given: str | None) -> dict[str, str] | None:
    if given is None:
        return None
    begins, dash, ends = given.partition("-")
    if not (dash and begins and ends):
        raise typer.BadParameter(f"{given!r} is not of the form HH:MM-HH:MM", param_hint="--quiet")
    return {"begins": begins.strip(), "ends": ends.strip()}


def _print(trigger: Trigger, *, as_json: bool) -> None:
    if as_json:
        print(trigger.json_text())
    else:
        _tell(trigger)


def _tell(trigger: Trigger) -> None:
    render.say(trigger.name, "bold")
    render.say(f"{trigger.id}  when {_when(trigger)}  {trigger.timezone}{_paused(trigger)}")
    render.say(f"  at most {trigger.per_hour} an hour and {trigger.per_day} a day{_quiet_words(trigger)}")
    if not trigger.paused and trigger.watching_since is None:
        render.say("  the first look is still to come", "yellow")
    zone = ZoneInfo(trigger.timezone)
    for run in trigger.recent_runs:
        render.say(f"  run   {_WHEN.format(run.started_at.astimezone(zone))}  {run.assistant_id}  {run.because}")
    if trigger.waiting:
        render.say(f"  {trigger.waiting} wait for the end of the quiet hours")
    if trigger.left_out:
        render.say(f"  {trigger.left_out} left out, because of the limits", "yellow")
    for text in ([trigger.problem] if trigger.problem else []) + trigger.resets:
        render.say(f"  {text}", "yellow")


def _when(trigger: Trigger) -> str:
    """Return what starts it, in words."""
    wanted = trigger.conditions
    parts = ["a mail arrives" if trigger.event == "mail" else "an event is added or changed"]
    if wanted.senders:
        parts.append(f"from {' or '.join(wanted.senders)}")
    if wanted.contact:
        parts.append(f"from the contact {wanted.contact}")
    if wanted.words:
        parts.append(f"with {' and '.join(map(repr, wanted.words))}")
    if trigger.account:
        parts.append(f"at {trigger.account}")
    return " ".join(parts)


def _quiet_words(trigger: Trigger) -> str:
    hours = trigger.quiet_hours
    return f", none from {hours.begins[:5]} to {hours.ends[:5]}" if hours else ""


def _paused(trigger: Trigger) -> str:
    return f"  paused: {trigger.note or 'no reason given'}" if trigger.paused else ""


def _tell_test(tested: TriggerTest) -> None:
    for arrival in tested.arrivals:
        mark = "fits   " if arrival.fits else "does not"
        render.say(f"  {mark}  {arrival.sender}  {arrival.title}")
    if not tested.arrivals:
        render.say("Nothing has arrived yet.")
    if tested.assistant_id:
        render.say(f"started {tested.assistant_id}")


def _table(triggers: list[Trigger]) -> Table:
    table = Table(header_style="bold", box=None, padding=(0, 2, 0, 0))
    table.add_column("id", no_wrap=True, min_width=max(len(trigger.id) for trigger in triggers))
    for title in ("state", "runs", "left out"):
        table.add_column(title, no_wrap=True)
    table.add_column("name", overflow="ellipsis", no_wrap=True)
    for trigger in triggers:
        state = Text("paused", "yellow") if trigger.paused else Text("problem" if trigger.problem else "watches")
        counts = (render.plain(str(number)) for number in (len(trigger.recent_runs), trigger.left_out))
        table.add_row(render.plain(trigger.id), state, *counts, render.plain(trigger.name))
    return table
