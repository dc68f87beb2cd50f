"""The commands. Each does no more than read its arguments and call the module that does the work."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from cli import (
    account,
    accounts,
    backup,
    cards,
    control,
    crash,
    decide,
    demo,
    deploy,
    doctor,
    edits,
    export,
    grants,
    histories,
    local,
    memory,
    models,
    policies,
    render,
    scaffold,
    schedules,
    triggers,
)
from cli.ask import limits, local_timezone, start, start_briefing
from cli.connection import address, open_client
from cli.evaluation import command as evaluation
from cli.exits import CommandError, ExitCode, code_of, words_of
from cli.watch import show_what_waits, watch
from retinue.client import Client, ClientError
from retinue.client.models import Assistant


class Commands(TyperGroup):
    """Turns expected errors into a sentence and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except (CommandError, ClientError) as error:
            for line in (words_of(error), *getattr(error, "__notes__", ())):
                render.tell(line)
            raise typer.Exit(code_of(error)) from None
        except KeyboardInterrupt:
            raise typer.Exit(ExitCode.INTERRUPTED) from None


app = typer.Typer(
    cls=Commands, no_args_is_help=True, add_completion=True, pretty_exceptions_enable=False, rich_markup_mode="rich"
)

RunId = Annotated[str, typer.Argument(metavar="ID", help="The assistant's id, as `ask` and `list` show it.")]
ApprovalId = Annotated[
    str | None,
    typer.Argument(metavar="[APPROVAL_ID]", help="Optional if exactly one approval is pending.", show_default=False),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the API's JSON as it is.")]
Comment = Annotated[str | None, typer.Option(help="Recorded with the decision.", show_default=False)]
ArgsHash = Annotated[
    str | None,
    typer.Option(help="Decide only if the action still has this hash, as shown before.", show_default=False),
]
Files = Annotated[list[Path], typer.Argument(metavar="FILE...", help="Relative to the current folder.")]
ForPerson = Annotated[str, typer.Option("--person", help="Whose it becomes. Required where people are told apart.")]
Wait = Annotated[bool, typer.Option("--wait/--no-wait", help="Watch the assistant, or only start it.")]


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"retinue {local.project()['version']}")
        raise typer.Exit


@app.callback()
def main(
    context: typer.Context,
    url: Annotated[
        str | None,
        typer.Option(
            envvar="RETINUE_URL", help="Address of the API (default: where you logged in, else the local stack)."
        ),
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Retinue, a durable personal assistant: start assistants, watch them, decide approvals.

    [bold]Example[/bold]: bin/retinue ask "What is on my calendar tomorrow?"

    [bold]Exit codes[/bold]: 0 done, 1 failed, 2 wrong usage, 3 waits for a person,
    4 cannot reach Retinue, 5 not allowed or not logged in, 130 interrupted (the assistant continues).
    """
    context.obj = url


def _end(code: int) -> NoReturn:
    raise typer.Exit(code)


def _follow(client: Client, started: Assistant, *, wait: bool, as_json: bool, talks: bool = True) -> None:
    """Watch an assistant, or print its id."""
    if wait:
        _end(watch(client, started.id, as_json=as_json, talks=talks))
    print(started.json_text() if as_json else started.id)


def _show_view(view: Assistant, *, as_json: bool) -> None:
    """Print an assistant and what is pending in it."""
    if as_json:
        print(view.json_text())
        return
    render.show(render.summary(view))
    if view.pending or view.status == "awaiting_input":
        show_what_waits(view, answered=True)


@app.command()
def up(
    beside: Annotated[
        list[str] | None,
        typer.Option(
            "--with",
            metavar="SERVER",
            help="Also start this server. Supported: radicale (calendar, contacts), observability (Prometheus).",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Start the whole local stack in the foreground; Ctrl-C stops it and keeps all state.

    Example: bin/retinue up --with radicale
    """
    local.up(beside or [])


@app.command()
def ask(
    context: typer.Context,
    message: Annotated[str, typer.Argument(help="What you want, in plain language.")],
    timezone: Annotated[
        str | None, typer.Option(help="IANA time zone (default: this machine's).", show_default=False)
    ] = None,
    chat: Annotated[bool, typer.Option("--chat", help="Chat: prompt for the next message after each answer.")] = False,
    preview: Annotated[bool, typer.Option("--preview", help="Show the plan and ask before it runs.")] = False,
    policy: Annotated[str | None, typer.Option(help="Name of a policy in the policy file.", show_default=False)] = None,
    budget: Annotated[
        str | None,
        typer.Option(metavar="LIMITS", help="Budget, as in steps=50,requests=20.", show_default=False),
    ] = None,
    wait: Wait = True,
    as_json: AsJson = False,
) -> None:
    """Start an assistant and watch it.

    At a terminal you are prompted for pending approvals and questions. Otherwise they are printed and the exit code is 3.
    Ctrl-C stops watching; the assistant continues. Leave a chat with an empty line or Ctrl-D; it stays open.

    Example: bin/retinue ask "Move my dentist appointment to Friday" --timezone Europe/Lisbon
    """
    client = open_client(context)
    options = {
        "mode": "chat" if chat else None,
        "preview": preview or None,
        "policy": policy,
        "budget": limits(budget),
    }
    started = start(client, message, timezone=timezone or local_timezone(), **options)
    _follow(client, started, wait=wait, as_json=as_json)


@app.command()
def briefing(
    context: typer.Context,
    place: Annotated[
        str | None, typer.Option(help="Town for the weather section (default: none).", show_default=False)
    ] = None,
    timezone: Annotated[
        str | None, typer.Option(help="IANA time zone (default: this machine's).", show_default=False)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Print a daily briefing: weather, events, unread mail, open tasks. Sources that fail are listed.

    Example: bin/retinue briefing --place Lisbon
    """
    client = open_client(context)
    started = start_briefing(client, place=place, timezone=timezone or local_timezone())
    _end(watch(client, started.id, as_json=as_json))


@app.command()
def show(
    context: typer.Context,
    assistant_id: RunId,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Keep watching and deciding, as `ask` does.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show an assistant: its plan, pending approvals, answer.

    Example: bin/retinue show a-3f9c --follow
    """
    client = open_client(context)
    if follow:
        _end(watch(client, assistant_id, as_json=as_json))
    _show_view(client.assistants.get(assistant_id), as_json=as_json)


@app.command("watch")
def watch_run(
    context: typer.Context,
    assistant_id: RunId,
    events: Annotated[bool, typer.Option("--events", help="Print each event as a line of JSON until the end.")] = False,
    after: Annotated[
        str | None, typer.Option(metavar="EVENT", help="With --events: only events after this one.", show_default=False)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Watch an assistant, as `ask` does, and decide its approvals.

    Example: bin/retinue watch a-3f9c
    """
    client = open_client(context)
    if not events:
        _end(watch(client, assistant_id, as_json=as_json))
    for event in client.assistants.events(assistant_id, after=after):
        print(event.model_dump_json(), flush=True)


@app.command("list")
def list_runs(
    context: typer.Context,
    status: Annotated[
        str | None, typer.Option(help="Only assistants with this status, as in awaiting_approval.", show_default=False)
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=100, help="Page size.")] = 20,
    cursor: Annotated[str | None, typer.Option(help="Cursor of the next page.", show_default=False)] = None,
    as_json: AsJson = False,
) -> None:
    """List your assistants, newest first.

    Example: bin/retinue list --status awaiting_approval
    """
    page = open_client(context).assistants.page(status=status, limit=limit, cursor=cursor)
    if as_json:
        print(page.json_text())
        return
    if page.assistants:
        render.show(render.runs_table(page.assistants))
    else:
        render.say("No assistants yet. Start one with `bin/retinue ask`.")
    if page.next_cursor:
        render.say(f"Next page: --cursor {page.next_cursor}")


@app.command()
def approvals(context: typer.Context, as_json: AsJson = False) -> None:
    """Show the pending approvals of all assistants.

    Example: bin/retinue approvals
    """
    inbox = open_client(context).approvals.list()
    if as_json:
        print(inbox.json_text())
        return
    for item in inbox.approvals:
        render.say(item.request, "bold")
        cards.show_card(item)
        cards.show_ways_to_decide(item.assistant_id, item)
        render.say("")
    if not inbox.approvals:
        render.say("No pending approvals.")


@app.command()
def approve(
    context: typer.Context,
    assistant_id: RunId,
    approval_id: ApprovalId = None,
    comment: Comment = None,
    args_hash: ArgsHash = None,
    from_now_on: Annotated[
        bool,
        typer.Option("--from-now-on", help="Also create a grant: allow similar actions in future. Prints the grant."),
    ] = False,
    uses: grants.Uses = None,
    until: grants.Until = None,
    also_schedules: grants.AlsoSchedules = False,
    also_keys: grants.AlsoKeys = False,
    as_json: AsJson = False,
) -> None:
    """Approve a pending action, plan or budget. It is printed first; the approval is bound to exactly what is printed.

    With --from-now-on similar actions no longer ask: the same tool with the same destinations, or with exactly the same
    arguments if the tool has no destination. The grant applies to what you ask for in person; --also-schedules and
    --also-keys extend it. `bin/retinue grants revoke` ends it.

    Example: bin/retinue approve a-3f9c ap-s3
    """
    if not from_now_on and (uses is not None or until is not None or also_schedules or also_keys):
        raise typer.BadParameter("--uses, --until, --also-schedules and --also-keys belong to --from-now-on")
    grant = grants.limits(uses, until, schedules=also_schedules, keys=also_keys) if from_now_on else None
    client = open_client(context)
    given: dict[str, Any] = {"comment": comment, "args_hash": args_hash, "grant": grant, "as_json": as_json}
    decide.decide(client, assistant_id, approval_id, "approve", **given)


@app.command()
def reject(
    context: typer.Context,
    assistant_id: RunId,
    approval_id: ApprovalId = None,
    comment: Comment = None,
    args_hash: ArgsHash = None,
    as_json: AsJson = False,
) -> None:
    """Reject a pending action. The assistant reads your comment.

    Example: bin/retinue reject a-3f9c ap-s3 --comment "not to the whole team"
    """
    given: dict[str, Any] = {"comment": comment, "args_hash": args_hash, "as_json": as_json}
    decide.decide(open_client(context), assistant_id, approval_id, "reject", **given)


@app.command()
def edit(
    context: typer.Context,
    assistant_id: RunId,
    approval_id: ApprovalId = None,
    args: Annotated[str | None, typer.Option(help="All arguments as JSON.", show_default=False)] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Change one argument; repeatable.", show_default=False),
    ] = None,
    comment: Comment = None,
    as_json: AsJson = False,
) -> None:
    """Approve a pending action with changed arguments. Without --args and --set, $EDITOR opens.

    Example: bin/retinue edit a-3f9c ap-s3 --set subject="Weather for tomorrow" --set to=ana@example.com
    """
    if args is not None and settings:
        raise typer.BadParameter("give --args or --set, not both")
    given: dict[str, Any] = {"args": args, "settings": settings or [], "comment": comment, "as_json": as_json}
    decide.edit(open_client(context), assistant_id, approval_id, **given)


@app.command()
def answer(
    context: typer.Context,
    assistant_id: RunId,
    text: Annotated[str, typer.Argument(help="Your answer.")],
    as_json: AsJson = False,
) -> None:
    """Answer the question that an assistant asked.

    Example: bin/retinue answer a-3f9c "The dentist on Hill Street"
    """
    view = control.say_more(open_client(context), assistant_id, text)
    if as_json:
        print(view.json_text())
        return
    render.say(
        f"The answer is recorded. The assistant is {view.status.replace('_', ' ')}; see `bin/retinue show {view.id}`."
    )


@app.command()
def say(
    context: typer.Context,
    assistant_id: RunId,
    text: Annotated[str, typer.Argument(help="Your message.")],
    wait: Wait = True,
    as_json: AsJson = False,
) -> None:
    """Send the next message of a chat, or the answer to a question, and watch the assistant.

    Example: bin/retinue say a-3f9c "And on Saturday?"
    """
    client = open_client(context)
    _follow(client, control.say_more(client, assistant_id, text), wait=wait, as_json=as_json, talks=False)


@app.command()
def cancel(
    context: typer.Context,
    assistant_id: RunId,
    undo: Annotated[bool, typer.Option("--undo", help="Undo completed effects, last first.")] = False,
    as_json: AsJson = False,
) -> None:
    """Cancel an assistant. No further step starts; completed effects stay unless --undo is given.

    With --undo the exit code is 1 if an effect could not be undone.

    Example: bin/retinue cancel a-3f9c --undo
    """
    _end(control.cancel(open_client(context), assistant_id, undo=undo, as_json=as_json))


@app.command()
def undo(context: typer.Context, assistant_id: RunId, as_json: AsJson = False) -> None:
    """Undo the effects of an ended assistant, last first. Exit code 1 if an effect could not be undone.

    Example: bin/retinue undo a-3f9c
    """
    _end(control.undo(open_client(context), assistant_id, as_json=as_json))


@app.command()
def fork(
    context: typer.Context,
    assistant_id: RunId,
    step: Annotated[str, typer.Argument(help="The step to run again, with the steps that depend on it.")],
    message: Annotated[
        str | None, typer.Option(help="Another message: the remaining steps are planned again.", show_default=False)
    ] = None,
    args: Annotated[str | None, typer.Option(help="All arguments of the step, as JSON.", show_default=False)] = None,
    preview: Annotated[bool, typer.Option("--preview", help="Show the plan and ask before it runs.")] = False,
    wait: Wait = True,
    as_json: AsJson = False,
) -> None:
    """Start a new assistant from a step of an earlier one. Completed steps are kept and not repeated.

    Example: bin/retinue fork a-3f9c s2 --args '{"place": "Porto", "start": "2027-01-31", "end": "2027-01-31"}'
    """
    if message is not None and args is not None:
        raise typer.BadParameter("give --message or --args, not both")
    changed = edits.from_json(args) if args is not None else None
    client = open_client(context)
    started = control.fork(client, assistant_id, step, message=message, args=changed, preview=preview)
    _follow(client, started, wait=wait, as_json=as_json)


@app.command()
def choose(
    context: typer.Context,
    assistant_id: RunId,
    step: Annotated[str, typer.Argument(help="A step with status awaiting_worker or awaiting_account.")],
    choice: Annotated[control.Choice, typer.Argument(help="wait, skip or fail")],
    as_json: AsJson = False,
) -> None:
    """Decide what happens to a step that waits for a worker.

    Example: bin/retinue choose a-3f9c s2 skip
    """
    _show_view(open_client(context).assistants.choose(assistant_id, step, choice.value), as_json=as_json)


@app.command()
def receipt(context: typer.Context, assistant_id: RunId, as_json: AsJson = False) -> None:
    """Print a receipt: what an assistant did, with whose consent, on which data, its cost, how to undo it.

    Example: bin/retinue receipt a-3f9c
    """
    text = control.receipt(open_client(context), assistant_id, as_json=as_json)
    if as_json:
        print(text)
    else:
        render.say(text)


@app.command()
def capabilities(context: typer.Context, as_json: AsJson = False) -> None:
    """List the capabilities and whether a worker is running.

    Example: bin/retinue capabilities
    """
    found = open_client(context).capabilities()
    if as_json:
        print(found.json_text())
    else:
        render.show(render.capabilities_table(found.capabilities))


@app.command("doctor")
def examine(
    context: typer.Context,
    clear_pauses: Annotated[
        bool, typer.Option("--clear-pauses", help="First end the pauses of language models.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check this installation and the running stack, with advice for each fault. Exit code 1 if a check fails.

    Example: bin/retinue doctor
    """
    _end(doctor.run(address(context), as_json=as_json, clear_pauses=clear_pauses))


@app.command("backup")
def back_up(file: Annotated[Path, typer.Argument(help="A new file.")]) -> None:
    """Back up the data folder of the local stack, which may run meanwhile: databases, keys, large payloads.

    The file holds keys and all data: keep it where nobody else can read it.

    Example: bin/retinue backup retinue.tar
    """
    count, left_out = backup.backup(file, local.data_dir())
    render.tell(f"{count} files are in {file}; it holds keys, so keep it safe.")
    for words in left_out:
        render.tell(f"Not in it: {words}.")


@app.command("restore")
def restore_backup(file: Annotated[Path, typer.Argument(help="A file that `backup` wrote.")]) -> None:
    """Restore a backup into an empty data folder. Start the stack afterwards.

    What assistants of before may have done since the backup is asked, so that nothing is done twice.

    Example: bin/retinue restore retinue.tar
    """
    count = backup.restore(file, local.data_dir())
    render.tell(f"{count} files were restored to {local.data_dir()}.")


@app.command("demo")
def demonstrate(
    keep: Annotated[bool, typer.Option("--keep", help="Keep the data folder and its logs.")] = False,
) -> None:
    """Run an assistant end to end on a temporary private stack. Needs no key and no running stack.

    Example: bin/retinue demo
    """
    _end(demo.run(keep=keep))


@app.command("eval")
def evaluate(
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[CASES]...", help="YAML files or folders (default: the shipped cases).", show_default=False
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="The model's name at its endpoint (default: the offline model).", show_default=False),
    ] = None,
    base_url: Annotated[
        str | None, typer.Option(help="The endpoint; its key is read from OPENAI_API_KEY.", show_default=False)
    ] = None,
    repeat: Annotated[int, typer.Option(min=1, max=100, help="Attempts at each case.")] = 1,
    jobs: Annotated[int, typer.Option(min=1, max=32, help="Attempts at the same time.")] = 2,
    limit: Annotated[float, typer.Option(min=1, help="Seconds for one attempt.")] = 120,
    match: Annotated[
        str, typer.Option(help="Only cases with this in their id, or of this area.", show_default=False)
    ] = "",
    label: Annotated[str | None, typer.Option(help="Title of the report.", show_default=False)] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the report as JSON.", show_default=False)
    ] = None,
    html_file: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write the report as HTML.", show_default=False)
    ] = None,
    compare: Annotated[
        tuple[Path, Path] | None,
        typer.Option(metavar="A.json B.json", help="Run nothing; compare two reports.", show_default=False),
    ] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the data folder and its logs.")] = False,
) -> None:
    """Measure a language model: run cases on a private stack and report what was done, and what was done wrong.

    Example: bin/retinue eval --model qwen3 --base-url http://localhost:11434/v1 --repeat 3 --html report.html
    """
    options = evaluation.Options(
        model=model,
        base_url=base_url,
        label=label,
        match=match,
        repeat=repeat,
        jobs=jobs,
        limit=limit,
        json=json_file,
        html=html_file,
        keep=keep,
    )
    _end(evaluation.compare_files(*compare, options) if compare else evaluation.run(files or [], options))


@app.command("crash")
def crash_workers(
    keep: Annotated[bool, typer.Option("--keep", help="Keep the data folder and its logs.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON; progress goes to stderr.")] = False,
) -> None:
    """Kill workers while an assistant runs on a private stack, and watch it complete anyway.

    Exit code 0 only if a worker died between its effect and its report, and the effect is in the store once.

    Example: bin/retinue crash
    """
    _end(crash.run(keep=keep, as_json=as_json))


@app.command("replay")
def replay_history(
    what: Annotated[str, typer.Argument(metavar="ID|FILE", help="An assistant's id, or a history as a .json file.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print the verdict as JSON.")] = False,
) -> None:
    """Replay the history of an assistant with the workflows of this checkout. Exit code 1 if they do not match.

    The history is read from Temporal at TEMPORAL_ADDRESS.

    Example: bin/retinue replay a-3f9c
    """
    _end(histories.replay(what, as_json=as_json))


@app.command("export")
def export_runs(
    context: typer.Context,
    run_ids: Annotated[
        list[str] | None,
        typer.Argument(metavar="[ID]...", help="Assistants (default: all of yours).", show_default=False),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Write to this new file instead of standard output.", show_default=False),
    ] = None,
    history: Annotated[
        bool, typer.Option("--history", help="Export the Temporal history of one assistant, for `replay`.")
    ] = False,
) -> None:
    """Export your assistants: one line of JSON each, with view, receipt and messages.

    Example: bin/retinue export --output runs.jsonl
    """
    named = run_ids or []
    if history and len(named) != 1:
        raise typer.BadParameter("--history takes exactly one id")
    with contextlib.ExitStack() as open_things:
        target = open_things.enter_context(export.opened(output)) if output else sys.stdout
        if history:
            print(histories.history(named[0]), file=target)
            return
        count = export.export(open_client(context), named, target)
    render.tell(f"{count} assistant{'' if count == 1 else 's'} exported.")


mail = typer.Typer(no_args_is_help=True, help="The mailbox of the mail capability.")
calendar = typer.Typer(no_args_is_help=True, help="The calendar of the calendar capability.")
contacts = typer.Typer(no_args_is_help=True, help="The address book of the contacts capability.")
app.add_typer(mail, name="mail")
app.add_typer(calendar, name="calendar")
app.add_typer(contacts, name="contacts")
app.add_typer(schedules.commands, name="schedules")
app.add_typer(triggers.commands, name="triggers")
app.add_typer(grants.commands, name="grants")
app.add_typer(memory.commands, name="memory")
app.add_typer(accounts.commands, name="accounts")
app.add_typer(policies.commands, name="policy")
app.add_typer(models.commands, name="model")
app.add_typer(deploy.commands, name="deploy")
app.add_typer(account.keys, name="keys")
app.command()(account.login)
app.command()(account.logout)
app.command()(account.whoami)


new = typer.Typer(no_args_is_help=True, help="Scaffold new code in this checkout.")
app.add_typer(new, name="new")


@new.callback()
def _new() -> None:
    """Scaffold new code in this checkout."""


@new.command("capability")
def new_capability(
    name: Annotated[str, typer.Argument(help="Lowercase letters, digits, underscores. Cannot be changed later.")],
) -> None:
    """Scaffold a working capability: one tool that reads, one with an effect, and passing tests.

    No existing file is overwritten. Next steps: docs/adding-a-capability.md.

    Example: bin/retinue new capability reading_list
    """
    print(scaffold.new_capability(name))


@mail.callback()
def _mail() -> None:
    """The mailbox of the mail capability."""


@mail.command()
def deliver(files: Files, person: ForPerson = "") -> None:
    """Deliver mails from .eml and mbox files to the inbox. Duplicates are delivered once.

    Example: bin/retinue mail deliver invitation.eml
    """
    _end(local.import_files("email", files, person=person))


@calendar.callback()
def _calendar() -> None:
    """The calendar of the calendar capability."""


@calendar.command("import")
def import_calendar(files: Files, person: ForPerson = "") -> None:
    """Import events from .ics files into the calendar. Skipped events are listed with the reason.

    Example: bin/retinue calendar import holidays.ics
    """
    _end(local.import_files("calendar", files, person=person))


@contacts.callback()
def _contacts() -> None:
    """The address book of the contacts capability."""


@contacts.command("import")
def import_contacts(files: Files, person: ForPerson = "") -> None:
    """Import contacts from .vcf files into the address book. Skipped contacts are listed with the reason.

    Example: bin/retinue contacts import people.vcf
    """
    _end(local.import_files("contacts", files, person=person))
