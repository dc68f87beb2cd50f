"""Terminal output: plans as tables, what runs wait for; foreign text is sanitized first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from retinue.client.models import (
    CHAT,
    Assistant,
    AssistantSummary,
    Budget,
    Capability,
    ModelUse,
    Step,
    StepConsent,
    UndoStep,
    Usage,
    WorkerWait,
)
from retinue.step_order import in_order
from retinue.text import safe

OUT = Console(markup=False, highlight=False, emoji=False)
ERR = Console(stderr=True, markup=False, highlight=False, emoji=False)

_WIDE = 200
_STARTED = "{:%d %b %H:%M}"
_WHEN = "{:%a %d %b %Y %H:%M %z}"
_CLOCK = "{:%H:%M:%S}"
_SPANS = (("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1))
_CONSENT = {"automatic": "automatic", "grant": "by the grant", "approval": "approved"}
_UNDO = {"undone": "undone", "impossible": "CANNOT be undone", "pending": "undo in progress"}
_STYLES = {
    "completed": "green",
    "running": "cyan",
    "planning": "cyan",
    "awaiting_approval": "bold yellow",
    "awaiting_input": "bold yellow",
    "awaiting_worker": "yellow",
    "awaiting_account": "bold yellow",
    "failed": "bold red",
    "unknown": "bold red",
    "rejected": "red",
    "skipped": "dim",
    "cancelled": "dim",
    "undone": "dim",
    "answered": "green",
    "nothing changed": "yellow",
}


def plain(text: str, style: str = "") -> Text:
    """Return foreign text as a renderable, without markup and escape sequences."""
    return Text(safe(text), style=style)


def say(text: str, style: str = "") -> None:
    """Print a line to standard output, without cutting it."""
    OUT.print(plain(text, style), soft_wrap=True)


def tell(text: str, style: str = "") -> None:
    """Print a progress line to standard error."""
    ERR.print(plain(text, style), soft_wrap=True)


def show(renderable: RenderableType) -> None:
    """Print a table or card; to a file or pipe in full width."""
    console = OUT if OUT.is_terminal else Console(file=OUT.file, width=_WIDE)
    console.print(renderable)


def when(moment: datetime) -> str:
    """Return a moment in local time."""
    return _WHEN.format(moment.astimezone())


def ahead(moment: datetime) -> str:
    """Return the rough time until a moment: `in 3 hours`."""
    seconds = (moment - datetime.now(UTC)).total_seconds()
    for name, size in _SPANS:
        if (count := round(seconds / size)) >= 1:
            return f"in {count} {name}{'s' if count > 1 else ''}"
    return "now"


def used_words(usage: Usage) -> str:
    """Return a model usage in words."""
    cost = f", cost {usage.cost:g}" if usage.cost else ""
    estimated = f" ({usage.estimated_tokens} of them estimated)" if usage.estimated_tokens else ""
    tokens = f"{usage.input_tokens + usage.output_tokens} tokens{estimated}"
    return f"{usage.requests} requests to the language model, {tokens}{cost}"


def phase_words(phases: Mapping[str, ModelUse]) -> str:
    """Return what the models were used for, phase by phase: `planning 1 request, 1520 tokens, 2.1 s`."""
    return "; ".join(f"{name} {_phase(use)}" for name, use in phases.items())


def _phase(use: ModelUse) -> str:
    requests = "1 request" if use.requests == 1 else f"{use.requests} requests"
    cost = f", cost {use.cost:g}" if use.cost else ""
    return f"{requests}, {use.input_tokens + use.output_tokens} tokens, {use.seconds:.1f} s{cost}"


def indented_id(step: Step) -> str:
    """Return the step's id, indented for an agent's call."""
    return f"  {step.id}" if step.parent else step.id


def plan_table(view: Assistant) -> Table:
    """Return the plan as a table: each step's status, attempts, and what it waits for."""
    table = Table(title_justify="left", header_style="bold", expand=False)
    for name in ("step", "tool", "status"):
        table.add_column(name, no_wrap=True)
    table.add_column("attempts", justify="right")
    table.add_column("waits for / result", overflow="fold")
    done = {step.id for step in view.steps if step.status == "completed"}
    for step in in_order(view.steps):
        cells = (plain(indented_id(step)), plain(step.tool), status(step.status))
        table.add_row(*cells, str(step.attempts), plain(waits_for(step, done)))
    return table


def run_status(run: Assistant | AssistantSummary) -> str:
    """Return a run's status, or the outcome of a completed run without effects."""
    shown = run.outcome if run.status == "completed" and run.outcome not in (None, "done") else run.status
    return str(shown).replace("_", " ")


def status(word: str) -> Text:
    """Return a status in its colour."""
    return plain(word.replace("_", " "), _STYLES.get(word, ""))


def waits_for(step: Step, done: set[str]) -> str:
    """Return what a step waits for, or its result."""
    if step.status == "awaiting_approval":
        return "your decision"
    if step.status == "awaiting_account":
        return step.error.message if step.error else "an account to be connected again"
    if step.status == "awaiting_worker":
        if step.error is not None:
            return f"{step.error.message}; waiting"
        return f"a worker of {step.capability}; none is available"
    if step.error is not None:
        retried = "will be retried: " if step.status == "running" else ""
        return f"{retried}{step.error.message}"
    if step.is_held and step.held_until:
        return f"held until {_CLOCK.format(step.held_until.astimezone())}; can still be cancelled"
    if step.status == "pending":
        return ", ".join(name for name in step.depends_on if name not in done)
    return _how_it_came(step)


def _how_it_came(step: Step) -> str:
    """Return the consent for an effect, whether it can be undone, and which run did it."""
    if step.status == "undone":
        return "undone"
    parts = [consent_words(step.consent)] if step.consent else []
    if step.effect and step.status == "completed" and not step.undo:
        parts.append("cannot be undone")
    if step.reused_from:
        parts.append(f"done by {step.reused_from}")
    return "; ".join(parts)


def consent_words(consent: StepConsent) -> str:
    """Return how an effect was allowed: `automatic (reversible-writes)`."""
    named = {"automatic": consent.rule, "grant": consent.grant_id, "approval": consent.approval_id}.get(consent.how)
    return f"{_CONSENT.get(consent.how, consent.how)}{f' ({named})' if named else ''}"


def remarks(view: Assistant) -> Iterator[str]:
    """Yield further remarks: missing workers, held steps, the budget, what models were used for, notices."""
    for waiting in view.waiting_for:
        yield from _missing_worker(view, waiting)
    for account in view.accounts_to_connect:
        where = account.link or "on the console's page Accounts"
        yield f"Connect the account {account.name or account.capability} again: {where}. Then it goes on."
    if any(step.is_held for step in view.steps):
        yield f"Cancel held steps: `bin/retinue cancel {view.id}`."
    if view.budget:
        yield f"Budget: {', '.join(_amounts(view.budget))}."
    if view.ended and view.usage.phases:
        yield f"Language model: {phase_words(view.usage.phases)}."
    if view.facts:
        kinds = dict.fromkeys(fact.kind.replace("_", " ") for fact in view.facts)
        yield f"Used from memory: {', '.join(kinds)}."
    yield from view.notices


def _missing_worker(view: Assistant, waiting: WorkerWait) -> Iterator[str]:
    stuck = [step.id for step in view.steps if step.id in waiting.steps and step.status == "awaiting_worker"]
    if not stuck and (waiting.steps or view.status != "awaiting_worker"):
        return  # a worker has taken it
    since, end = _CLOCK.format(waiting.since.astimezone()), when(waiting.times_out_at)
    held_up = f"step {', '.join(stuck)}" if stuck else "planning or the answer"
    if waiting.reason:
        yield f"{waiting.reason[:1].upper()}{waiting.reason[1:]}: {held_up} waits since {since}, times out {end}."
    else:
        yield f"No worker of {waiting.capability} since {since}: {held_up} waits, times out {end}."
    for step_id in stuck:
        yield f"  bin/retinue choose {view.id} {step_id} wait|skip|fail"


def _amounts(budget: Budget) -> Iterator[str]:
    limited = budget.limits.model_dump(exclude_none=True)
    return (f"{budget.used.get(name, 0):g} of {limit:g} {name.replace('_', ' ')}" for name, limit in limited.items())


def undo_lines(undone: Sequence[UndoStep]) -> Iterator[str]:
    """Yield the result of an undo, last effect first."""
    for step in undone:
        words = _UNDO.get(step.status, step.status)
        by = f" by {step.undo}" if step.status == "undone" and step.undo else ""
        error = f": {step.error}" if step.error and step.status != "impossible" else ""
        yield f"{step.step_id} {step.tool}: {words}{by}{error}"


def progress(view: Assistant, *, note: str = "") -> RenderableType:
    """Return a run in progress: status, plan, remarks."""
    return Group(*_progress(view, note))


def _progress(view: Assistant, note: str) -> Iterator[RenderableType]:
    yield Text.assemble(status(run_status(view)), "  ", (safe(view.id), "dim"))
    if view.steps:
        yield plan_table(view)
    yield from (plain(remark, "yellow") for remark in remarks(view))
    if note:
        yield plain(note, "yellow")


def summary(view: Assistant) -> RenderableType:
    """Return a whole run, for `show`."""
    parts: list[RenderableType] = [*_said(view), progress(view)]
    if view.forked_from:
        parts.append(plain(f"Forked from {view.forked_from}.", "dim"))
    parts += [plain(line, "yellow") for line in undo_lines(view.undo)]
    if view.question and not view.ended:
        parts += [Text("Question:", "bold yellow"), plain(view.question)]
    if view.error:
        parts.append(plain(f"{view.error.type}: {view.error.message}", "red"))
    if view.reply:
        parts += [Text(), plain(view.reply)]
    if view.links.temporal_ui:
        parts.append(plain(view.links.temporal_ui, "dim"))
    return Group(*parts)


def _said(view: Assistant) -> Iterator[RenderableType]:
    """Yield the message; of a chat everything before its last answer."""
    if view.mode != CHAT:
        yield plain(view.message, "bold")
        return
    said = view.messages
    if view.reply and said and said[-1].text == view.reply:
        said = said[:-1]
    for message in said:
        yield plain(message.text, "bold" if message.role == "user" else "")


def runs_table(runs: list[AssistantSummary]) -> Table:
    """Return the list of runs. Ids are never cut, so that they can be copied."""
    table = Table(header_style="bold", box=None, padding=(0, 2, 0, 0))
    table.add_column("id", no_wrap=True, min_width=max(len(run.id) for run in runs))
    table.add_column("status", no_wrap=True, min_width=max(len(run_status(run)) for run in runs))
    table.add_column("started", no_wrap=True, min_width=len(_STARTED.format(runs[0].started_at)))
    table.add_column("message", overflow="ellipsis", no_wrap=True)
    for run in runs:
        started = _STARTED.format(run.started_at.astimezone())
        table.add_row(plain(run.id), status(run_status(run)), plain(started), plain(run.message))
    return table


def capabilities_table(capabilities: list[Capability]) -> Table:
    """Return the capabilities with their tools and workers."""
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
