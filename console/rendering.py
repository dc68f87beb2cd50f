"""Renders pages: templates with escaped values, times in the person's time zone, messages."""

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
NAVIGATION = (
    ("/", "Talk"),
    ("/approvals", "Decisions"),
    ("/schedules", "Schedules"),
    ("/triggers", "Triggers"),
    ("/grants", "Grants"),
    ("/memory", "Memory"),
    ("/accounts", "Accounts"),
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
    "model": ("good", "Used from the next request on."),
    "scheduled": ("good", "Scheduled."),
    "triggered": ("good", "The trigger is created."),
    "changed": ("good", "Done."),
    "remembered": ("good", "Remembered."),
    "corrected": ("good", "Corrected."),
    "forgotten": ("good", "Forgotten."),
    "connected": ("good", "Connected."),
    "removed": ("good", "Removed."),
    "declined": ("bad", "Nothing was connected: you did not agree there, or your organisation does not allow it."),
    "other-account": ("bad", "Nothing was changed: you signed in there with another account than this one."),
    "stale-consent": (
        "bad",
        "Nothing was connected: this consent is unknown, was finished or has expired. Begin again.",
    ),
    "provider-away": ("bad", "Nothing was connected: the provider does not answer. Try again later."),
}


@dataclass(frozen=True)
class Part:
    """A piece of a text; with an address if it is a link."""

    text: str
    url: str = ""
    host: str = ""


@dataclass(frozen=True)
class FlashMessage:
    """A message about the person's last action."""

    kind: str
    text: str


def with_links(text: str) -> Iterator[Part]:
    """Split a text into pieces. Only plain web addresses become links, with their host; nothing else becomes markup."""
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
    """Return a value as readable JSON."""
    return json.dumps(value, ensure_ascii=False, indent=2, default=str)


def title_of(step: Any, titles: Mapping[str, str]) -> str:
    """Return the title of a step's tool; if unknown, its name without the capability."""
    if step.tool in titles:
        return titles[step.tool]
    name = step.tool.partition(".")[2] or step.tool or "goal"
    return str(name).replace("_", " ").capitalize()


@dataclass(frozen=True)
class Leaf:
    """The date and time of an event as a calendar leaf, in the action's own UTC offset."""

    month: str
    day: str
    weekday: str
    hours: str


def leaf_of(approval: Approval) -> Leaf | None:
    """Return the leaf of an action that creates or moves an event; None for others."""
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
    """Return an assistant's status in words."""
    over = isinstance(run, Assistant) and run.turn_is_over
    return words.chat_status(run.status, turn_is_over=over, outcome=run.outcome)


@cache
def files() -> dict[str, bytes]:
    """Return the static files by name."""
    return {path.name: path.read_bytes() for path in sorted((HERE / "static").iterdir()) if path.is_file()}


@cache
def digest() -> str:
    """Return a digest of all files: modules import each other, so they must be of one version."""
    found = hashlib.sha256()
    for name, content in files().items():
        found.update(f"{name} {len(content)}\n".encode() + content)
    return found.hexdigest()[:16]


def static(name: str) -> str:
    """Return the address of a file, which changes with any file, so that browsers may cache it."""
    return f"/static/{digest()}/{name}"


@cache
def templates() -> Environment:
    """Return the template environment, which escapes every value."""
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
    environment.filters["fact_kind"] = lambda kind: words.FACT_KIND.get(kind, kind)
    environment.globals |= {
        "static": static,
        "navigation": NAVIGATION,
        "with_links": with_links,
        "clip": clip,
        "as_json": as_json,
        "title_of": title_of,
        "leaf_of": leaf_of,
        "when_runs": words.when_runs,
        "trigger_when": words.trigger_when,
        "account_states": words.ACCOUNT,
        "account_events": words.ACCOUNT_EVENT,
        "server_labels": words.SERVER,
        "marks": words.MARK,
        "step_words": words.STEP,
        "decisions": words.DECISION,
        "at_expiry": words.AT_EXPIRY,
        "undo_words": undo_words,
        "buttons": words.BUTTONS,
        "amount": words.amount,
        "took": words.took,
        "lasting": words.lasting,
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
    """Render a page.

    Args:
        request: The browser's request.
        template: The template's file name.
        client: The public client; None on pages for people who are not signed in.
        code: The HTTP status.
        then: Loads the content. Browsers get the frame before, and load its files in the meantime.
        values: Variables of the template.
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
    """Yield the frame, then the content: templates are rendered piece by piece."""
    yield "".join(iter(lambda: next(pieces), _PAUSE))
    await then()
    yield "".join(pieces)


def _flash(request: Request) -> FlashMessage | None:
    found = MESSAGES.get(request.query_params.get("said", ""))
    return FlashMessage(*found) if found else None


async def _about(client: AsyncClient, values: dict[str, Any]) -> dict[str, Any]:
    """Return the variables of every page: the person, and the number of pending approvals."""
    found: dict[str, Any] = {}
    try:
        if "me" not in values:
            found["me"] = await client.me()
        if "count" not in values:
            found["count"] = (await client.approvals.list(limit=0)).waiting
    except ClientError:  # the page is more important than its header
        pass
    return found
