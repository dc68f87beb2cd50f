"""The commands of schedules."""

from __future__ import annotations

import json
from typing import Annotated
from zoneinfo import ZoneInfo

import typer
from pydantic import JsonValue
from rich.table import Table
from rich.text import Text

from cli import ask, render
from cli.connection import open_client
from retinue.client.models import RunTime, Schedule, ScheduleSummary

_WHEN = "{:%a %d %b %Y %H:%M %z}"

commands = typer.Typer(no_args_is_help=True, help="Schedules: assistants that start at fixed times.")
ScheduleId = Annotated[str, typer.Argument(metavar="ID", help="The schedule's id, as `schedules list` shows it.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the API's JSON as it is.")]


@commands.callback()
def _schedules() -> None:
    """Schedules: assistants that start at fixed times."""


@commands.command("list")
def list_schedules(context: typer.Context, as_json: AsJson = False) -> None:
    """List your schedules with their next starts.

    Example: bin/retinue schedules list
    """
    found = open_client(context).schedules.list(limit=200)
    if as_json:
        print(found.json_text())
    elif found.schedules:
        render.show(_table(found.schedules))
    else:
        render.say("No schedules. Create one with `bin/retinue schedules add`.")


@commands.command()
def add(
    context: typer.Context,
    message: Annotated[str | None, typer.Argument(help="What you want, in plain language.", show_default=False)] = None,
    cron: Annotated[
        str, typer.Option(help="Minute, hour, day of the month, month, weekday.", metavar="'M H D M W'")
    ] = "0 8 * * *",
    plan: Annotated[
        str | None, typer.Option(help="Run this plan in code instead of a message, as in briefing.", show_default=False)
    ] = None,
    args: Annotated[
        list[str] | None,
        typer.Option("--arg", metavar="NAME=VALUE", help="An argument of the plan; repeatable.", show_default=False),
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name in lists.", show_default=False)] = None,
    timezone: Annotated[
        str | None, typer.Option(help="IANA time zone (default: this machine's).", show_default=False)
    ] = None,
    policy: Annotated[str | None, typer.Option(help="Name of a policy.", show_default=False)] = None,
    ends_at: Annotated[
        str | None, typer.Option(help="No starts after this time, as in 2027-12-31T00:00:00+01:00.", show_default=False)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Create a schedule. Times are local to the time zone, also when clocks change.

    Example: bin/retinue schedules add --plan briefing --arg place=Lisbon --cron "0 8 * * mon-fri"
    """
    client, plan_args = open_client(context), _plan_args(args) or None
    made = ask.send_once(
        lambda key: client.schedules.add(
            cron,
            message=message,
            plan=plan,
            plan_args=plan_args,
            name=name,
            timezone=timezone or ask.local_timezone(),
            policy=policy,
            ends_at=ends_at,
            idempotency_key=key,
        )
    )
    _print(made, as_json=as_json)


@commands.command()
def show(context: typer.Context, schedule_id: ScheduleId, as_json: AsJson = False) -> None:
    """Show a schedule with its next and last starts.

    Example: bin/retinue schedules show s-3f9c
    """
    _print(open_client(context).schedules.get(schedule_id), as_json=as_json)


@commands.command()
def pause(
    context: typer.Context,
    schedule_id: ScheduleId,
    note: Annotated[str | None, typer.Option(help="The reason, shown while paused.", show_default=False)] = None,
    as_json: AsJson = False,
) -> None:
    """Pause a schedule. An assistant that is running continues.

    Example: bin/retinue schedules pause s-3f9c --note "on holiday"
    """
    _print(open_client(context).schedules.pause(schedule_id, note=note), as_json=as_json)


@commands.command()
def resume(context: typer.Context, schedule_id: ScheduleId, as_json: AsJson = False) -> None:
    """Resume a schedule at its next time. Missed times are not caught up.

    Example: bin/retinue schedules resume s-3f9c
    """
    _print(open_client(context).schedules.resume(schedule_id), as_json=as_json)


@commands.command()
def run(context: typer.Context, schedule_id: ScheduleId, as_json: AsJson = False) -> None:
    """Start an assistant of this schedule now, even if it is paused.

    Example: bin/retinue schedules run s-3f9c
    """
    _print(open_client(context).schedules.run(schedule_id), as_json=as_json)


@commands.command()
def delete(context: typer.Context, schedule_id: ScheduleId, as_json: AsJson = False) -> None:
    """Delete a schedule. Assistants that it started are kept.

    Example: bin/retinue schedules delete s-3f9c
    """
    open_client(context).schedules.delete(schedule_id)
    if as_json:
        print(json.dumps({"id": schedule_id, "deleted": True}))
    else:
        render.say(f"{schedule_id} is deleted.")


def _plan_args(given: list[str] | None) -> dict[str, JsonValue]:
    pairs = [text.partition("=") for text in given or []]
    if wrong := [name for name, equals, _ in pairs if not (name and equals)]:
        raise typer.BadParameter(f"{wrong[0]!r} is not of the form NAME=VALUE", param_hint="--arg")
    return {name: value for name, _, value in pairs}


def _print(schedule: Schedule, *, as_json: bool) -> None:
    if as_json:
        print(schedule.json_text())
    else:
        _tell(schedule)


def _tell(schedule: Schedule) -> None:
    render.say(schedule.name, "bold")
    render.say(f"{schedule.id}  {schedule.cron}  {schedule.timezone}{_paused(schedule)}")
    if schedule.plan:
        args = " ".join(f"{name}={value}" for name, value in schedule.plan_args.items())
        render.say(f"runs the plan {schedule.plan} {args}".rstrip())
    for time in schedule.next_runs:
        render.say(f"  next  {_when(time)}")
    zone = ZoneInfo(schedule.timezone)
    for past in schedule.recent_runs:
        going = "  running" if past.running else ""
        render.say(f"  run   {_WHEN.format(past.started_at.astimezone(zone))}  {past.assistant_id}{going}")
    if schedule.skipped:
        render.say(f"  {schedule.skipped} skipped, because the assistant before was still running", "yellow")
    if schedule.missed:
        render.say(f"  {schedule.missed} missed, because Temporal was unavailable for too long", "yellow")


def _paused(schedule: ScheduleSummary) -> str:
    return f"  paused: {schedule.note or 'no reason given'}" if schedule.paused else ""


def _when(time: RunTime | None) -> str:
    return _WHEN.format(time.local) if time else ""


def _table(schedules: list[ScheduleSummary]) -> Table:
    table = Table(header_style="bold", box=None, padding=(0, 2, 0, 0))
    table.add_column("id", no_wrap=True, min_width=max(len(schedule.id) for schedule in schedules))
    for title in ("when", "zone", "next run"):
        table.add_column(title, no_wrap=True)
    table.add_column("name", overflow="ellipsis", no_wrap=True)
    for schedule in schedules:
        next_run = Text("paused", "yellow") if schedule.paused else render.plain(_when(schedule.next_run))
        cells = (render.plain(text) for text in (schedule.id, schedule.cron, schedule.timezone))
        table.add_row(*cells, next_run, render.plain(schedule.name))
    return table
