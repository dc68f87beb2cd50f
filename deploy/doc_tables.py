"""Writes into the docs what the code knows better: `python -P -m deploy.doc_tables`, part of `make format`.

- A table stands between `<!-- table: NAME ARGUMENTS -->` and `<!-- end -->`; the functions in `TABLES` make the rows.
- A link to a function or class, such as [`Ledger.once`](../retinue/ledger.py#L123), gets the line at which it begins.

`tests/docs/test_generated_tables.py` fails while a page differs from the code.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from importlib import import_module
from inspect import getmembers, isclass
from pathlib import Path
from typing import Any

from fastapi.routing import APIRoute

from api.app import create_app
from api.deps import Needs
from cli.evaluation import report, tables
from retinue.capability import Annotations, Capability, ToolOptions, ToolSpec

ROOT = Path(__file__).resolve().parent.parent
MARKED = re.compile(r"(<!-- table: (\w+) ?([^\n]*?) -->\n)(.*?)(<!-- end -->)", re.DOTALL)
SYMBOL = re.compile(r"(\[`([\w.]+)`\]\(([^)#]+\.py)#L)\d+")
VARIABLE = re.compile(r"#([A-Z][A-Z0-9_]*)=(.*)")
LIMITS = (
    ("body of a request, in bytes", "api.http.body_limits.MAX_BODY"),
    ("seconds in which a body must arrive", "api.http.body_limits.BODY_SECONDS"),
    ("message, in characters", "api.services.schemas.MAX_MESSAGE"),
    ("schedules of one person", "api.services.schedules.MAX_SCHEDULES"),
    ("triggers of one person for mails, and as many for events", "workflows.account_watch.MAX_TRIGGERS"),
    ("approvals in the inbox come from this many assistants", "api.services.inbox.MOST"),
    ("steps in a plan", "retinue.plan.MAX_STEPS"),
    ("steps that wait for each other in a chain", "retinue.plan.MAX_CHAIN"),
    ("steps that wait for one and the same step", "retinue.plan.MAX_FAN_OUT"),
    ("arguments of a step as planned, in bytes", "retinue.plan.MAX_ARGS_BYTES"),
    ("levels of nesting in arguments", "retinue.plan.MAX_DEPTH"),
    ("checks of one set of arguments against its schema", "retinue.schemas.arguments.MOST_CHECKS"),
    ("result of a tool, in bytes", "retinue.activity_adapter.MAX_RESULT_BYTES"),
    ("payload that stays in the history, in bytes", "retinue.temporal.blobs.INLINE_BYTES"),
    ("view recorded as the result, in bytes", "workflows.run.result.MAX_RECORDED_BYTES"),
    ("planning calls to repair one plan", "workflows.assistant.MAX_REPAIRS"),
    ("rounds of planning for one message", "workflows.assistant.MAX_ROUNDS"),
    ("questions before there is a plan", "workflows.assistant.MAX_QUESTIONS"),
    ("turns of a capability's agent", "workflows.steps.delegation.MAX_TURNS"),
    ("calls in one turn of an agent", "workflows.steps.delegation.MAX_CALLS"),
    ("repetitions of one effect with unknown outcome", "workflows.steps.unknown_outcome.MOST_REPEATS"),
    ("effects that a chat keeps for undo", "workflows.assistant.MAX_EFFECTS"),
    ("decided approvals that a chat keeps", "workflows.consent.approvals.MAX_KEPT"),
    ("facts that are remembered of one person", "activities.memory.contract.MOST_FACTS"),
    ("text of a remembered fact, in characters", "activities.memory.contract.LONGEST_TEXT"),
    (
        "remembered facts that a planner is shown, in characters of their texts",
        "activities.memory.contract.RECALLED_CHARS",
    ),
    ("answer of a model, in characters", "activities.reasoning.streamed.MAX_ANSWER_CHARS"),
    ("requests to models for one step", "activities.reasoning.tries.MAX_REQUESTS"),
    ("attachments of one mail, and one saved file, in bytes", "activities.email.files.LARGEST"),
    ("saved files of one organisation", "activities.email.files.MOST_SAVED"),
    ("saved files of one organisation together, in bytes", "activities.email.files.MOST_BYTES"),
    ("models in one list", "activities.reasoning.model_routing.MAX_MODELS"),
)


def routes(_: str) -> Iterator[list[str]]:
    """Every route of the API's document with the permission that it needs."""
    yield ["route", "permission", "does"]
    for route in api_routes(create_app().routes):
        for method in sorted(route.methods or ()) if route.include_in_schema else ():
            needed = permission(route)
            yield [f"`{method} {route.path}`", needed if needed == "-" else f"`{needed}`", str(route.summary)]


def api_routes(found: Any) -> Iterator[APIRoute]:
    """Every route, also those of included routers."""
    for route in found:
        if isinstance(route, APIRoute):
            yield route
        else:
            yield from api_routes(getattr(getattr(route, "original_router", route), "routes", []))


def permission(route: APIRoute) -> str:
    """The permission that a route needs, or "-"."""
    needed = [one.dependency.permission for one in route.dependencies if isinstance(one.dependency, Needs)]
    return str(needed[0]) if needed else "-"


def tools(capability: str) -> Iterator[list[str]]:
    """The tools of one capability: what they do, their effect, and what undoes them."""
    contract = import_module(f"activities.{capability}.contract")
    [found] = [
        each
        for _, each in getmembers(contract, isclass)
        if issubclass(each, Capability) and each.__module__ == contract.__name__
    ]
    yield ["tool", "does", "effect", "undone by"]
    for spec in found.manifest().tools:
        undo = spec.annotations.undo
        yield [f"`{spec.name}`", _does(spec), effect(spec.annotations), f"`{undo}`" if undo else ""]


def _does(spec: ToolSpec) -> str:
    first = " ".join(spec.description.partition("\n\n")[0].split())
    return first if spec.plannable else f"{first} Not in plans: only workflows call it."


def effect(annotations: Annotations) -> str:
    """What a tool does to the world, in a word."""
    if annotations.read_only:
        return "reads"
    if annotations.open_world:
        return "reaches outside"
    return "destroys" if annotations.destructive else "changes"


def variables(prefixes: str) -> Iterator[list[str]]:
    """The variables of `.env.example` that begin with one of these prefixes, with their comments."""
    yield ["variable", "example or default", "means"]
    for values, comment in _documented():
        wanted = {name: value for name, value in values.items() if name.startswith(tuple(prefixes.split()))}
        if wanted:
            value = next(iter(wanted.values()))
            yield [", ".join(f"`{name}`" for name in wanted), f"`{value}`" if value else "", comment]


def _documented() -> Iterator[tuple[dict[str, str], str]]:
    """Each block of `.env.example`: its variables with their values, and the comment above them."""
    comment: list[str] = []
    values: dict[str, str] = {}
    for line in [*(ROOT / ".env.example").read_text(encoding="utf-8").splitlines(), ""]:
        if found := VARIABLE.fullmatch(line):
            values[found[1]] = found[2]
            continue
        if values:
            yield values, " ".join(comment)
            comment, values = [], {}
        comment = [*comment, line.removeprefix("# ")] if line.startswith("# ") and "---" not in line else []


def limits(_: str) -> Iterator[list[str]]:
    """The limits of `LIMITS`, read from the constants themselves."""
    yield ["limit", "at most", "constant"]
    for what, place in LIMITS:
        module, _, name = place.rpartition(".")
        yield [what, f"{getattr(import_module(module), name):,}".removesuffix(".0"), f"`{place}`"]


def options(_: str) -> Iterator[list[str]]:
    """How tools are scheduled by default, and two capabilities that differ."""
    contracts = [import_module(f"activities.{name}.contract") for name in ("email", "reasoning")]
    specs = {
        spec.name: spec.options
        for each in (contracts[0].Email, contracts[1].Reasoning)
        for spec in each.manifest().tools
    }
    yield ["option", "default", "`email.send`", "`reasoning.plan`", "means"]
    for name, field in ToolOptions.model_fields.items():
        shown = [getattr(each, name) for each in (ToolOptions(), specs["email.send"], specs["reasoning.plan"])]
        yield [f"`{name}`", *(f"{value:,g}" for value in shown), str(field.description)]


def evaluation(name: str) -> Iterator[list[str]]:
    """The figures of a committed report of `retinue eval`, over all cases and by area."""
    found = report.read(ROOT / "examples/evaluation/reports" / f"{name}.json")
    yield [f"{found.model}, {found.at:%Y-%m-%d}, {found.machine}", "mean of a case", "95 % interval"]
    for figure, mean, interval in tables.totals(found)[1]:
        yield [f"{figure} ({len(found.results)} cases, {found.repeats} attempts each)", mean, interval]
    for area, cases, done, interval, _ in tables.by_area(found)[1]:
        yield [f"tasks done: {area} ({cases})", done, interval]


TABLES: dict[str, Callable[[str], Iterator[list[str]]]] = {
    each.__name__: each for each in (routes, tools, variables, limits, options, evaluation)
}


def table(name: str, arguments: str) -> str:
    """One table as Markdown, with a line feed at its end."""
    head, *rows = TABLES[name](arguments)
    lines = [
        head,
        ["---"] * len(head),
        *([cell.replace("|", "\\|").replace("<", "&lt;") for cell in row] for row in rows),
    ]
    return "".join(f"| {' | '.join(cells)} |\n".replace("|  |", "| |").replace("|  |", "| |") for cells in lines)


def line_of(symbol: str, file: Path) -> int:
    """The line of a function, class or method (`Class.method`) in a file.

    Raises:
        ValueError: It is not there.
    """
    found: ast.AST = ast.parse(file.read_text(encoding="utf-8"))
    for name in symbol.split("."):
        kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
        here = [one for one in ast.iter_child_nodes(found) if isinstance(one, kinds) and one.name == name]
        if not here:
            raise ValueError(f"{file.relative_to(ROOT)} has no {symbol}; change the link")
        found = here[0]
    return here[0].lineno


def refreshed(page: Path) -> str:
    """The text of a page with its tables and line numbers as the code has them now."""
    text = MARKED.sub(lambda found: found[1] + table(found[2], found[3]) + found[5], page.read_text(encoding="utf-8"))
    return SYMBOL.sub(lambda found: f"{found[1]}{line_of(found[2], (page.parent / found[3]).resolve())}", text)


def pages() -> list[Path]:
    """Every page that may hold such tables and links."""
    return sorted(
        [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/*.md"), *ROOT.glob("activities/*/README.md")]
    )


def main() -> None:
    """Refresh every page."""
    for page in pages():
        if (new := refreshed(page)) != page.read_text(encoding="utf-8"):
            page.write_text(new, encoding="utf-8")
            print(f"{page.relative_to(ROOT)}: refreshed")


if __name__ == "__main__":
    main()
