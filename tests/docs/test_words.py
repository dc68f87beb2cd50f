"""Texts for people: one word for one thing, and no private idioms. Code, quotations and identifiers are left out."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import typer

from api.app import create_app
from cli.app import app
from console import rendering, words

ROOT = Path(__file__).parents[2]
IDIOMS = {
    r"from now on": "in future; a grant",
    r"the like": "similar actions",
    r"(take|taking|taken|takes|took) (\w+ )?back": "undo",
    r"anew": "again",
    r"by (itself|themselves)": "automatically, alone",
    r"who(so|m)?ever": "anyone who; the caller",
    r"standing (permission|thing)s?": "grant",
    r"(front )?doors?": "protocol; the API",
    r"all the same": "anyway",
    r"to be had": "available",
    r"nobody knows": "unknown",
    r"leaves? the house": "is sent elsewhere",
}
ONE_WORD = {
    r"(a|an|the|this|that|your|each|every|of|ended|new|old) runs?(?! (now|of|to|again|\w+ed))": "assistant",
    r"stop(s|ped)? (a|an|the|this|it)": "cancel",
}
CONVERSATION = {r"conversations?": "assistant; messages"}
"""Not for protocols, where clients have conversations of their own."""
RIGHT = ("Ctrl-C stops it",)  # a process, not an assistant
SEEN = frozenset({"aria-label", "placeholder", "title", "data-sure", "alt"})


class Visible(HTMLParser):
    """Collects what people see of a page: text, labels, hints."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def handle_data(self, data: str) -> None:
        """Collect text."""
        self.texts.append(data)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collect attributes that are shown or read aloud."""
        self.texts += [value for name, value in attrs if name in SEEN and value]


def literals(expression: re.Match[str]) -> str:
    """Return the texts that a template's expression may insert."""
    return " . ".join(double or single for double, single in re.findall(r'"([^"]*)"|\'([^\']*)\'', expression.group()))


def console() -> Iterator[tuple[str, str]]:
    """Yield every visible text of the console."""
    for file in sorted((ROOT / "console/templates").glob("*.html")):
        page = Visible()
        source = re.sub(r"{#.*?#}|{%.*?%}", "", file.read_text(encoding="utf-8"), flags=re.DOTALL)
        page.feed(re.sub(r"{{.*?}}", literals, source, flags=re.DOTALL))
        yield from ((file.name, text) for text in page.texts if text.strip())
    tables: Mapping[str, Any] = vars(words) | {"messages": rendering.MESSAGES, "places": dict(rendering.NAVIGATION)}
    for name, table in tables.items():
        if isinstance(table, dict) and not name.startswith("_"):
            yield from ((name, str(text)) for text in table.values())


def commands(command: Any = None, path: str = "retinue") -> Iterator[tuple[str, str]]:
    """Yield every text of every `--help`."""
    command = command or typer.main.get_command(app)
    yield path, command.help or ""
    yield from ((f"{path} {one.name}", getattr(one, "help", None) or "") for one in command.params)
    for name, inner in getattr(command, "commands", {}).items():
        yield from commands(inner, f"{path} {name}")


def openapi(node: Any = None, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield every summary and description of the OpenAPI document."""
    node = create_app().openapi() if node is None else node
    for key, value in node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ():
        if key in ("summary", "description") and isinstance(value, str):
            yield f"{path}/{key}", value
        else:
            yield from openapi(value, f"{path}/{key}") if isinstance(value, dict | list) else ()


def docs() -> Iterator[tuple[str, str]]:
    """Yield the prose of every page, by line."""
    for file in sorted((ROOT / "docs").glob("*.md")):
        prose = re.sub(r"^```.*?^```|^    .*?$", "", file.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
        yield from ((file.name, line) for line in prose.splitlines())


def wrong(texts: Iterator[tuple[str, str]], forbidden: Mapping[str, str]) -> list[str]:
    """Return what is wrong with these texts."""
    found = []
    for place, text in texts:
        plain = re.sub(r"`[^`]*`|\]\([^)]*\)", "", text)
        for right in RIGHT:
            plain = plain.replace(right, "")
        for word, better in forbidden.items():
            if match := re.search(rf"\b{word}\b", plain, re.IGNORECASE):
                found.append(f"{place}: {match.group()!r} in {text.strip()[:120]!r}; better: {better}")
    return found


@pytest.mark.parametrize(
    ("texts", "more"),
    [(console, CONVERSATION), (commands, CONVERSATION), (openapi, {})],
    ids=["console", "help", "openapi"],
)
def test_people_read_one_word_for_one_thing(texts: Any, more: Mapping[str, str]) -> None:
    assert wrong(texts(), {**IDIOMS, **ONE_WORD, **more}) == []


def test_docs_have_no_private_idioms() -> None:
    assert wrong(docs(), IDIOMS) == []


def test_a_wrong_word_is_found() -> None:
    texts = iter([("a", "Allow the like from now on."), ("b", "`from now on` is code"), ("c", "Stop the assistant")])
    assert [line.partition(":")[0] for line in wrong(texts, IDIOMS | ONE_WORD)] == ["a", "a", "c"]
