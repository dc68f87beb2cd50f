"""Foreign text is shown as text."""

from __future__ import annotations

import pytest

from cli.render import remarks
from retinue.client.models import Assistant
from retinue.text import safe
from tests.cli.conftest import FakeApi, Run, view, waiting


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[2J\x1b[31mred", "␛[2J␛[31mred"),
        ("a\rb\x07\x00", "a␍b␇␀"),
        ("\x9b2J\x7f", "<U+009B>2J<U+007F>"),
        ("moc.elpmaxe\u202e", "moc.elpmaxe<U+202E>"),
        ("in\u200bvisible\u2028", "in<U+200B>visible<U+2028>"),
        ("half \ud800", "half <U+D800>"),
        ("tab\tand\r\nlines\n", "tab\tand\nlines\n"),
        ("Zoë 👩\u200d🔬 日本", "Zoë 👩\u200d🔬 日本"),
    ],
)
def test_what_could_deceive_becomes_visible(text: str, shown: str) -> None:
    assert safe(text) == shown


def test_a_preview_can_neither_drive_the_terminal_nor_use_markup(retinue: Run, api: FakeApi) -> None:
    preview = "Send a mail\nbody: [red]now[/red] [link=http://x]here[/link] :smile: \x1b]8;;http://x\x07"
    api.views = [waiting(preview=preview)]

    result = retinue("approvals")

    assert "\x1b" not in result.output
    assert "\x07" not in result.output
    assert "[red]now[/red] [link=http://x]here[/link] :smile:" in result.stdout


def test_a_long_line_of_a_preview_is_neither_cut_nor_broken(retinue: Run, api: FakeApi) -> None:
    line = "body: " + "word " * 200 + "end"
    api.views = [waiting(preview=line)]
    assert line in retinue("approvals").stdout


def test_what_was_used_from_memory_is_named_once_by_kind() -> None:
    facts = [
        {"fact_id": "f1", "kind": "home_place", "text": "Lisbon"},
        {"fact_id": "f2", "kind": "fact", "text": "Tea"},
        {"fact_id": "f3", "kind": "fact", "text": "Window seats"},
    ]
    shown = Assistant.model_validate(view("completed", facts=facts))
    assert "Used from memory: home place, fact." in list(remarks(shown))
