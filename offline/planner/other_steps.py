"""Phrases for web pages, and for the server's description of itself."""

from offline.planner.draft import Draft, Gives
from offline.planner.intents import nearest
from offline.planner.match import Match
from offline.planner.outcomes import Refuse

ABILITIES = (
    'Here is what I understand: weather ("What\'s the weather in Lisbon on Friday?"), calendar events and free time '
    '("Schedule lunch with Ana on Friday at 1pm", "Find a free hour tomorrow"), mail ("Email the forecast to '
    'ana@example.com", "Read the newest mail"), contacts ("What is Ana\'s phone number?"), tasks ("Add a task to buy milk", "Remind me '
    'to call mum tomorrow at 9am") and web pages ("Read https://example.com"), also several of these in one request.'
)
REAL_MODEL = (
    "Requests are read by fixed rules here, without a language model. To use one, set OPENAI_API_KEY (and "
    "OPENAI_BASE_URL, RETINUE_MODEL for another provider) and start again."
)


def fetch(match: Match, draft: Draft) -> None:
    """Plan to read a web page."""
    read_page(match.get("url", str) or "", draft)


def read_page(url: str, draft: Draft) -> None:
    """Plan to read the page at an address."""
    draft.note(draft.add("web.fetch", {"url": url}, "reads the page"), Gives.PAGE, f"the page {url}")


def abilities(match: Match, draft: Draft) -> None:
    """Reply with the supported requests."""
    del draft
    if match.scan.low(match.start) in ("hi", "hello", "hey", "good"):
        offers = " or ".join(f'"{text}"' for text in nearest(()))
        raise Refuse(f"Hello. I can do this: {offers}.")
    raise Refuse(f"{ABILITIES} {REAL_MODEL}")
