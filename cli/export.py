"""Export runs: each as one line of JSON with all of the API's data about it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TextIO

from cli.exits import CommandError
from retinue.client import Client, NotFound
from retinue.client.models import CHAT, Assistant


def export(client: Client, run_ids: Sequence[str], output: TextIO) -> int:
    """Write runs, by default all of the person's, newest first; return how many.

    Each line is `{"assistant": the view, "receipt": what was done with whose consent, "messages": the conversation}`.

    Raises:
        NotFound: A named run does not exist.
    """
    count = 0
    for line in _named(client, run_ids) if run_ids else _all(client):
        output.write(line + "\n")
        count += 1
    return count


def opened(file: Path) -> TextIO:
    """Open a new file without overwriting an existing one.

    Raises:
        CommandError: It exists, or cannot be written.
    """
    try:
        return file.open("x", encoding="utf-8")
    except OSError as error:
        raise CommandError(f"{file} cannot be written: {error.strerror}") from None


def _named(client: Client, run_ids: Sequence[str]) -> Iterator[str]:
    return (_line(client, client.assistants.get(assistant_id)) for assistant_id in run_ids)


def _all(client: Client) -> Iterator[str]:
    for run in client.assistants.list():
        try:
            yield _line(client, client.assistants.get(run.id))
        except NotFound:
            continue  # its retention ended in between


def _line(client: Client, view: Assistant) -> str:
    whole = view.mode == CHAT and view.earlier_messages and not view.ended
    messages = client.assistants.conversation(view.id) if whole else view.messages
    parts = {
        "assistant": json.loads(view.json_text()),
        "receipt": json.loads(client.assistants.receipt(view.id).json_text()),
        "messages": [json.loads(message.json_text()) for message in messages],
    }
    return json.dumps(parts, ensure_ascii=False)
