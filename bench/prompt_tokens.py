"""How many tokens a plan's request takes with many tools, and how many of the needed tools it lists.

    python -P -m bench.prompt_tokens

With the built-in tools, some of them, or up to five hundred with invented ones (`bench.many_tools`). Tokens are counted by OpenAI's encoding
o200k_base where the package `bpe-openai` is installed, and else estimated as three characters each, which is too many.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import zip_longest
from typing import Any

import activities
from activities.reasoning import prompts
from activities.reasoning.contract import PlanRequest
from activities.reasoning.offering import Catalog
from activities.reasoning.settings import DEFAULT_TOOL_TOKENS
from bench.many_tools import Wanted, manifests, requests
from retinue.capability import Manifest
from retinue.conversation import Message, Role

_COUNTS = (7, 30, 55, 105, 505)
"""Tools in all. Up to the number of built-in ones these alone, in turn from each capability."""


def main() -> None:
    """Print the table."""
    count, how = _counter()
    print(f"Tokens: {how}. The budget for tools is {DEFAULT_TOOL_TOKENS} of three characters each.\n")
    print(
        "| tools | a request with all | a request | tools listed | needed tools listed | of the invented ones alone |"
    )
    print("|---|---|---|---|---|---|")
    for row in rows(count):
        print(f"| {' | '.join(row)} |")


def rows(count: Callable[[str], int]) -> Iterator[list[str]]:
    """Yield a row for each number of invented tools: sizes, and what share of the needed tools a request lists."""
    built_in = [activities.load(name).CONTRACT.manifest() for name in activities.folders()]
    own = sum(spec.plannable for one in built_in for spec in one.tools)
    for number in _COUNTS:
        invented = max(0, number - own)
        known = [*_some(built_in, number), *(manifests(invented) if invented else [])]
        catalog, wanted = Catalog(known), requests(known) or [Wanted("Put on some jazz", ())]
        everything = catalog.offer(_request("Hello"))
        found = [(one, catalog.offer(_request(one.text), budget=DEFAULT_TOOL_TOKENS)) for one in wanted]
        sizes = [count(_text(prompts.for_plan(_request(one.text), offer))) for one, offer in found]
        yield [
            str(len(everything.tools)),
            f"{count(_text(prompts.for_plan(_request('Hello'), everything))):,}",
            f"{sum(sizes) // len(sizes):,}",
            f"{sum(len(offer.tools) for _, offer in found) // len(found)}",
            _listed(catalog, wanted),
            _listed(Catalog(manifests(invented)), wanted) if invented else "",
        ]


def _some(known: list[Manifest], number: int) -> list[Manifest]:
    """Return capabilities with so many of their tools: the first of each, then the second, and so on."""
    tools = [[spec for spec in one.tools if spec.plannable] for one in known]
    in_turn = [spec.name for row in zip_longest(*tools) for spec in row if spec is not None][:number]
    kept = [one.model_copy(update={"tools": [spec for spec in one.tools if spec.name in in_turn]}) for one in known]
    return [one for one in kept if one.tools]


def _listed(catalog: Catalog, wanted: list[Wanted]) -> str:
    needed = [(one.text, tool) for one in wanted for tool in one.tools]
    if not needed:
        return ""
    offers = {one.text: catalog.offer(_request(one.text), budget=DEFAULT_TOOL_TOKENS) for one in wanted}
    found = sum(tool in {spec.name for spec in offers[text].tools} for text, tool in needed)
    return f"{found} of {len(needed)} ({100 * found / len(needed):.1f} %)"


def _request(text: str) -> PlanRequest:
    said = [Message(role=Role.USER, text=text)]
    return PlanRequest(messages=said, timezone="Europe/Lisbon", now=datetime(2026, 11, 30, 9, tzinfo=UTC))


def _text(messages: list[dict[str, str]]) -> str:
    return "\n".join(message["content"] for message in messages)


def _counter() -> tuple[Callable[[str], int], str]:
    try:
        encoding: Any = importlib.import_module("bpe_openai").get_encoding("o200k_base")
    except ModuleNotFoundError:
        return lambda text: -(-len(text) // 3), "estimated, three characters each"
    return lambda text: len(encoding.encode(text)), "o200k_base"


if __name__ == "__main__":
    main()
