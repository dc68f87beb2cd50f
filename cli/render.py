"""What people see: the plan as a table, approvals as cards, and every foreign text made harmless first."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from cli.views import Approval, Assistant, AssistantSummary, Capability, Origin, Step
from retinue.text import safe

OUT = Console(markup=False, highlight=False, emoji=False)
ERR = Console(stderr=True, markup=False, highlight=False, emoji=False)

_WIDE = 200
_STARTED = "{:%d %b %H:%M}"
_STYLES = {
    "completed": "green",
    "running": "cyan",
    "planning": "cyan",
    "awaiting_approval": "bold yellow",
    "awaiting_input": "bold yellow",
    "awaiting_worker": "yellow",
    "failed": "bold red",
    "unknown": "bold red",
    "rejected": "red",
    "skipped": "dim",
    "cancelled": "dim",
    "undone": "dim",
}


def plain(text: str, style: str = "") -> Text:
    """Foreign text as a renderable: no markup, no escape sequences."""
    return Text(safe(text), style=style)


def say(text: str, style: str = "") -> None:
    """Print a line to standard output; long ones are not cut."""
    OUT.print(plain(text, style), soft_wrap=True)


def tell(text: str, style: str = "") -> None:
    """Print a line about what goes on to standard error."""
    ERR.print(plain(text, style), soft_wrap=True)


def show(renderable: RenderableType) -> None:
    """Print a table or card; into a file or pipe as wide as it needs to be."""
    console = OUT if OUT.is_terminal else Console(file=OUT.file, width=_WIDE)
    console.print(renderable)


def plan_table(view: Assistant) -> Table:
    """The plan: each step, where it stands, how often it was tried, what it waits for."""
    table = Table(title_justify="left", header_style="bold", expand=False)
    for name in ("step", "tool", "status"):
        table.add_column(name, no_wrap=True)
    table.add_column("attempts", justify="right")
    table.add_column("waits for, or what happened", overflow="fold")
    done = {step.id for step in view.steps if step.status == "completed"}
    for step in view.steps:
        table.add_row(
            plain(step.id), plain(step.tool), status(step.status), str(step.attempts), plain(waits_for(step, done))
        )
    return table


def status(word: str) -> Text:
    """A status in its colour."""
    return plain(word.replace("_", " "), _STYLES.get(word, ""))


def waits_for(step: Step, done: set[str]) -> str:
    """What keeps a step from going on, or what went wrong with it."""
    if step.status == "awaiting_approval":
        return "your decision"
    if step.status == "awaiting_worker":
        return f"a worker of {step.capability}; none has taken it yet"
    if step.error is not None:
        retried = "to be tried again: " if step.status == "running" else ""
        return f"{retried}{step.error.message}"
    return ", ".join(name for name in step.depends_on if name not in done) if step.status == "pending" else ""


def progress(view: Assistant, *, note: str = "") -> RenderableType:
    """The run as it advances: status, plan, notices."""
    return Group(*_progress(view, note))


def _progress(view: Assistant, note: str) -> Iterator[RenderableType]:
    yield Text.assemble(status(view.status), "  ", (safe(view.id), "dim"))
    if view.steps:
        yield plan_table(view)
    yield from (plain(notice, "yellow") for notice in view.notices)
    if note:
        yield plain(note, "yellow")


def summary(view: Assistant) -> RenderableType:
    """A whole run, for `show`."""
    parts: list[RenderableType] = [plain(view.message, "bold"), progress(view)]
    if view.question and not view.ended:
        parts += [Text("It asks:", "bold yellow"), plain(view.question)]
    if view.error:
        parts.append(plain(f"{view.error.type}: {view.error.message}", "red"))
    if view.reply:
        parts += [Text(), plain(view.reply)]
    if view.links.temporal_ui:
        parts.append(plain(view.links.temporal_ui, "dim"))
    return Group(*parts)


def show_preview(approval: Approval) -> None:
    """Print the action as the API gives it: its true arguments, nothing that a model phrased about them."""
    if OUT.is_terminal:
        OUT.print(Panel(plain(approval.preview), title=plain(f"{approval.id}  {approval.tool}"), expand=False))
    else:
        say(f"approval {approval.id} ({approval.tool})")
        say(approval.preview)


def show_card(approval: Approval) -> None:
    """Print what a person must see before deciding: the action, why it is asked, where its values came from."""
    show_preview(approval)
    if approval.reasons:
        say(f"Asked because {'; '.join(approval.reasons)}.")
    for origin in approval.origins:
        say(f"  {origin.path}: {origin_words(origin)}", "" if origin.trusted else "yellow")
    if approval.expires_at:
        say(f"Expires {approval.expires_at}.")


def origin_words(origin: Origin) -> str:
    """Where a value came from, in words."""
    if origin.source == "user":
        return "typed by you"
    if origin.source == "step":
        doubt = "" if origin.trusted else ", which may hold the words of strangers"
        return f"from step {origin.step_id} ({origin.tool}){doubt}"
    return "chosen by the model; you did not type it"


def show_ways_to_decide(run_id: str, approval: Approval) -> None:
    """Print the commands that decide an approval. Approving is bound to the very arguments shown above."""
    named = f"{run_id} {approval.id}"
    say(f"  bin/retinue approve {named} --args-hash {approval.args_hash}")
    say(f'  bin/retinue reject {named} --comment "why not"')
    say(f"  bin/retinue edit {named} --set NAME=VALUE")


def runs_table(runs: list[AssistantSummary]) -> Table:
    """The list of runs. Ids are never cut: they are there to be copied."""
    table = Table(header_style="bold", box=None, padding=(0, 2, 0, 0))
    table.add_column("id", no_wrap=True, min_width=max(len(run.id) for run in runs))
    table.add_column("status", no_wrap=True, min_width=max(len(run.status) for run in runs))
    table.add_column("started", no_wrap=True, min_width=len(_STARTED.format(runs[0].started_at)))
    table.add_column("request", overflow="ellipsis", no_wrap=True)
    for run in runs:
        started = _STARTED.format(run.started_at.astimezone())
        table.add_row(plain(run.id), status(run.status), plain(started), plain(run.message))
    return table


def capabilities_table(capabilities: list[Capability]) -> Table:
    """The capabilities with their tools and workers."""
    table = Table(header_style="bold", show_lines=True)
    table.add_column("capability", no_wrap=True)
    table.add_column("workers", justify="right")
    table.add_column("what it does")
    table.add_column("tools")
    for item in capabilities:
        workers = Text(str(item.pollers), "green" if item.healthy else "bold red")
        tools = "\n".join(f"{tool.name}: {tool.title}" for tool in item.tools)
        table.add_row(plain(f"{item.name}\n{item.version}"), workers, plain(item.description), plain(tools))
    return table
