"""How many tokens a plan's request takes with many tools, and how many of the needed tools it lists.

    python -P -m bench.prompt_tokens

With five hundred invented tools (`bench.many_tools`) beside the built-in capabilities. Tokens are counted by OpenAI's encoding
o200k_base where the package `bpe-openai` is installed, and else estimated as three characters each, which is too many.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import activities
from activities.reasoning import prompts
from activities.reasoning.contract import PlanRequest
from activities.reasoning.offering import Catalog
from activities.reasoning.settings import DEFAULT_TOOL_TOKENS
from bench.many_tools import Wanted, manifests, requests
from retinue.conversation import Message, Role

_COUNTS = (0, 30, 100, 500)


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
    for invented in _COUNTS:
        known = [*built_in, *(manifests(invented) if invented else [])]
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
            _listed(Catalog(manifests(invented)), wanted),
        ]


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
