"""Phrases for web pages, and for the server's description of itself."""

from offline.planner.draft import Draft, Gives
from offline.planner.outcomes import Refuse
from offline.planner.patterns import Match
from offline.planner.rules import Rule

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


_PAGE = "the page|the website|the site|the web page|this page|the article"


def fetch(match: Match, draft: Draft) -> None:
    """Plan to read a web page."""
    url = match.need("url", str)
    draft.note(draft.add("web.fetch", {"url": url}, "reads the page"), Gives.PAGE, f"the page {url}")


def abilities(match: Match, draft: Draft) -> None:
    """Reply with the supported requests."""
    del match, draft
    raise Refuse(f"{ABILITIES} {REAL_MODEL}")


RULES = (
    Rule(
        (
            f"(read|fetch|open|get|load|show me|show|summarise|summarize) [me] [{_PAGE} [at]] <url>",
            f"(what does|what's on|what is on|whats on|tell me what is on|tell me what's on) [{_PAGE}] <url> [say]",
            "what does it say (at|on) <url>",
        ),
        fetch,
    ),
    Rule(
        (
            "help",
            "help me",
            "what can you do",
            "what do you understand",
            "what are you",
            "who are you",
            "(hello|hi|hey|good morning|good evening) [there]",
            "how does this work",
        ),
        abilities,
    ),
)
