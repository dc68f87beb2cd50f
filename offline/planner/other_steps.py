"""Phrases for web pages, and for the server's description of itself."""

from offline.planner.draft import Draft, Gives, reference
from offline.planner.match import Match
from offline.planner.outcomes import Ask, Doubt, Refuse

ABILITIES = (
    'Here is what I understand: weather ("What\'s the weather in Lisbon on Friday?"), calendar events and free time '
    '("Schedule lunch with Ana on Friday at 1pm", "Find a free hour tomorrow"), mail ("Email the forecast to '
    'ana@example.com", "Read the newest mail"), contacts ("What is Ana\'s phone number?") tasks ("Add a task to buy milk", "Remind me '
    'to call mum tomorrow at 9am") and web pages ("Read https://example.com"), also several of these in one request.'
)
REAL_MODEL = (
    "Requests are read by fixed rules here, without a language model. To use one, set OPENAI_API_KEY (and "
    "OPENAI_BASE_URL, RETINUE_MODEL for another provider) and start again."
)


def fetch(match: Match, draft: Draft) -> None:
    """Plan to read a web page."""
    url = match.get("url", str) or ""
    draft.note(draft.add("web.fetch", {"url": url}, "reads the page"), Gives.PAGE, f"the page {url}")


def abilities(match: Match, draft: Draft) -> None:
    """Reply with the supported requests."""
    del match, draft
    raise Refuse(f"{ABILITIES} {REAL_MODEL}")


def remember(match: Match, draft: Draft) -> None:
    """Plan to remember a fact in the person's own words."""
    text = match.get("words", str)
    if not text:
        raise Ask(Doubt("What shall I remember?", match.ending, match.ending), template=" that {}")
    kind = match.get("kind", str)
    draft.add("memory.remember", {"text": text, **({"kind": kind} if kind else {})}, "remembers it")


def recall(match: Match, draft: Draft) -> None:
    """Plan to list what is remembered, or to search it."""
    words = match.get("words", str)
    draft.add("memory.search", {"query": words}, "searches it") if words else draft.add("memory.list", {}, "lists it")


def forget(match: Match, draft: Draft) -> None:
    """Plan to forget the one fact that some words find."""
    words = match.get("words", str)
    if not words:
        raise Ask(Doubt("What shall I forget?", match.ending, match.ending), template=" {}")
    found = draft.add("memory.search", {"query": words}, "finds the fact; it must be exactly one")
    draft.add("memory.forget", {"fact_id": reference(found, "/match/fact_id")}, "forgets what was found")
