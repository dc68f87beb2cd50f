"""How a page is made: templates with every value escaped, the person's clock, and what goes wrong in words."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from fastapi import Request, Response
from fastapi.responses import StreamingResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from console import words
from retinue.client import AsyncClient, ClientError
from retinue.client.models import Approval, Assistant, AssistantSummary
from retinue.provenance.wording import undo_words
from retinue.text import clip, safe

HERE = Path(__file__).parent
PLACES = (
    ("/", "Talk"),
    ("/approvals", "Decisions"),
    ("/schedules", "Schedules"),
    ("/grants", "Grants"),
    ("/budget", "Usage"),
    ("/capabilities", "Capabilities"),
)
_LINK = re.compile(r"https?://[^\s<>\"'`)\]}]+")
_PAUSE = "<!-- content -->"
MESSAGES = {
    "approve": ("good", "Your approval is recorded."),
    "kept": ("warn", "Your decision is recorded. It takes effect when a workflow worker is running again."),
    "reject": ("good", "Your rejection is recorded."),
    "edit": ("good", "Your changes are recorded and approved."),
    "none": ("warn", "Nothing was selected."),
    "sent": ("good", "Sent."),
    "stopped": ("good", "Cancelling."),
    "undone": ("good", "Undoing."),
    "revoked": ("good", "Revoked."),
    "resumed": ("good", "All model pauses are ended."),
    "scheduled": ("good", "Scheduled."),
    "changed": ("good", "Done."),
}


@dataclass(frozen=True)
class Part:
    """A piece of a text; with an address where it is a link."""

    text: str
    url: str = ""
    host: str = ""


@dataclass(frozen=True)
class FlashMessage:
    """What the page says of what the person just did."""

    kind: str
    text: str


def with_links(text: str) -> Iterator[Part]:
    """A text as pieces. Links are made only of plain web addresses, and say whose they are; nothing else becomes markup."""
    end = 0
    for match in _LINK.finditer(text):
        url = match.group().rstrip(".,;:!?")
        host = _host(url)
        if host is None:
            continue
        yield Part(text[end : match.start()])
        yield Part(url, url, host)
        end = match.start() + len(url)
    yield Part(text[end:])


def _host(url: str) -> str | None:
    try:
        parts = urlsplit(url)
        return parts.hostname if parts.hostname and not parts.username and not parts.password else None
    except ValueError:
        return None


def as_json(value: Any) -> str:
    """A value as readable JSON."""
    return json.dumps(value, ensure_ascii=False, indent=2, default=str)


def title_of(step: Any, titles: Mapping[str, str]) -> str:
    """What a step does, in words; where nobody told its tool's title, its name without the capability."""
    if step.tool in titles:
        return titles[step.tool]
    name = step.tool.partition(".")[2] or step.tool or "goal"
    return str(name).replace("_", " ").capitalize()


@dataclass(frozen=True)
class Leaf:
    """When an event takes place, as a leaf of a calendar has it, on the clock that the action names."""

    month: str
    day: str
    weekday: str
    hours: str


def leaf_of(approval: Approval) -> Leaf | None:
    """The leaf of an action that enters or moves an event; None for all others."""
    if approval.card is None or approval.card.form != "event":
        return None
    start, end = _moment(approval.args.get("start")), _moment(approval.args.get("end"))
    if start is None:
        return None
    until = "" if end is None else f"–{end:%H:%M}" if end.date() == start.date() else f"–{end:%a %d %b %Y %H:%M}"
    offset = f"{start:%z}"
    zone = f" (UTC{offset[:3]}:{offset[3:5]})" if offset else ""
    return Leaf(f"{start:%b %Y}", str(start.day), f"{start:%A}", f"{start:%H:%M}{until}{zone}")


def _moment(value: Any) -> datetime | None:
    try:
        return datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None


def status_words(run: Assistant | AssistantSummary) -> str:
    """An assistant's status in words."""
    over = isinstance(run, Assistant) and run.turn_is_over
    return words.chat_status(run.status, turn_is_over=over, outcome=run.outcome)


@cache
def files() -> dict[str, bytes]:
    """The page's own files, by name."""
    return {path.name: path.read_bytes() for path in sorted((HERE / "static").iterdir()) if path.is_file()}


@cache
def digest() -> str:
    """A print of all of them: modules name each other, so that they are of one version or do not work."""
    found = hashlib.sha256()
    for name, content in files().items():
        found.update(f"{name} {len(content)}\n".encode() + content)
    return found.hexdigest()[:16]


def static(name: str) -> str:
    """The address of a file, which changes whenever one of them does, so that browsers may keep it."""
    return f"/static/{digest()}/{name}"


@cache
def templates() -> Environment:
    """The templates. Whatever is put into them is escaped."""
    environment = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
        finalize=lambda value: safe(value) if type(value) is str else value,
    )
    environment.filters["capitalize_first"] = lambda text: text[:1].upper() + text[1:]
    environment.globals |= {
        "static": static,
        "places": PLACES,
        "with_links": with_links,
        "clip": clip,
        "as_json": as_json,
        "title_of": title_of,
        "leaf_of": leaf_of,
        "when_runs": words.when_runs,
        "marks": words.MARK,
        "step_words": words.STEP,
        "decisions": words.DECISION,
        "at_expiry": words.AT_EXPIRY,
        "undo_words": undo_words,
        "buttons": words.BUTTONS,
        "amount": words.amount,
        "took": words.took,
    }
    return environment


async def page(
    request: Request,
    template: str,
    client: AsyncClient | None,
    *,
    code: int = 200,
    then: Callable[[], Awaitable[None]] | None = None,
    **values: Any,
) -> Response:
    """A page.

    Args:
        request: Of the browser.
        template: Its file.
        client: The public client; None on pages for people who are not signed in.
        code: The HTTP status.
        then: Fills in what only the content shows. Browsers get the frame before, and load what it names meanwhile.
        values: For the template.
    """
    where, now = words.zone(request.cookies.get("retinue_tz")), datetime.now(UTC)
    common: dict[str, Any] = {
        "page": template.removesuffix(".html"),
        "said": _flash(request),
        "stream": None,
        "refresh": None,
        "again": None,
        "me": None,
        "count": None,
        "back": None,
        "pause": _PAUSE,
        "zone_name": str(where),
        "moment": lambda at: words.moment(at, where, now=now),
        "time_left": lambda until: words.left(until, now=now),
    }
    if client is not None:
        common |= await _about(client, values)
    pieces = templates().get_template(template).generate({**common, **values})
    headers = {"Referrer-Policy": "same-origin"}
    if then is None:
        return Response("".join(pieces), code, media_type="text/html", headers=headers)
    return StreamingResponse(_in_two(pieces, then), code, media_type="text/html", headers=headers)


async def _in_two(pieces: Iterator[str], then: Callable[[], Awaitable[None]]) -> AsyncIterator[str]:
    """The frame, and what stands in it: templates are rendered piece by piece."""
    yield "".join(iter(lambda: next(pieces), _PAUSE))
    await then()
    yield "".join(pieces)


def _flash(request: Request) -> FlashMessage | None:
    found = MESSAGES.get(request.query_params.get("said", ""))
    return FlashMessage(*found) if found else None


async def _about(client: AsyncClient, values: dict[str, Any]) -> dict[str, Any]:
    """What every page shows: who the person is, and how much waits for them."""
    found: dict[str, Any] = {}
    try:
        if "me" not in values:
            found["me"] = await client.me()
        if "count" not in values:
            found["count"] = (await client.approvals.list(limit=0)).waiting
    except ClientError:  # the page itself is worth more than what stands above it
        pass
    return found
