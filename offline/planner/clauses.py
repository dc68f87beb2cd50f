"""Splits a request into clauses; each is read as a whole, and an unread one rejects the request."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from offline.planner import (
    calendar_phrases,
    mail_phrases,
    meeting_phrases,
    other_phrases,
    people_phrases,
    task_phrases,
    weather_phrases,
)
from offline.planner.mail_content import Content, back_slot
from offline.planner.outcomes import Ask, Doubt, Unread
from offline.planner.patterns import Match, Matcher, Reader
from offline.planner.rules import Rule
from offline.planner.scan import Scan, phrases
from offline.planner.slots import READERS

RULES: tuple[Rule, ...] = (
    *task_phrases.RULES,
    *other_phrases.RULES,
    *weather_phrases.RULES,
    *meeting_phrases.RULES,
    *mail_phrases.RULES,
    *people_phrases.RULES,
    *calendar_phrases.RULES,
)
_CONNECTORS = (
    ",",
    ";",
    ".",
    "!",
    "?",
    "and",
    "then",
    "also",
    "afterwards",
    "after that",
    "plus",
    "finally",
    "next",
    "&",
)
_STARTERS = phrases(
    "what|what's|whats|how|how's|when|when's|which|will|is|does|do i|am i|are there|can i|could i|who|"
    "have i|where|weather|forecast|the weather|the forecast|my events|my agenda|my calendar|my schedule|"
    "my free|anything|any|did i|should i|schedule|book|plan|arrange|organise|organize|set up|set a|"
    "set the|create|make|add|put|enter|block|reserve|new event|show|list|give me|tell|check|find|look|"
    "search|suggest|get|see|read|open|fetch|move|reschedule|shift|push|postpone|delay|change|rename|"
    "retitle|bring forward|pencil in|delete|cancel|remove|drop|trash|scrap|call off|archive|email|e-mail|"
    "mail|send|confirm|message|write|draft|prepare|forward|compose|let|inform|reply|respond|answer|remind me|"
    "complete|mark|finish|tick off|check off|reopen|don't remind me|do not remind me|close|save|i need|i want|use|take|help|new contact|summarise|summarize|"
    "please|could you|can you|would you|invite|order|buy|call|pay|play|turn|translate|transfer"
)
_POLITE = phrases(
    "please|could you please|could you|can you please|can you|would you please|would you|will you|"
    "i'd like you to|i want you to|i would like you to|i'd like to|i would like to|i want to|i need to|"
    "kindly|hey|hi|hello|ok|okay|retinue|assistant|,|!|let's|go ahead and|just|first|also|then|and|now|"
    "yes|thanks|thank you|.|;|:|i need you to"
)
_POLITE_ENDS = phrases(
    "please|thanks|thank you|thanks a lot|thank you so much|cheers|for me|many thanks|too|as well|,|.|!|?|;|afterwards|thank you very much|"
    "right away|again please|and|then"
)
_ALL_READERS: dict[str, Reader] = {
    **READERS,
    **mail_phrases.MAIL_READERS,
    "back": back_slot,
}


@dataclass(frozen=True)
class Clause:
    """A parsed clause: its match and its rule."""

    match: Match
    rule: Rule


def read_clauses(scan: Scan) -> list[Clause]:
    """Read all of a request.

    Raises:
        Unread: Some part of it is not understood.
        Ask: It is not clear where one part ends.
    """
    clauses: list[Clause] = []
    found = list(spans(scan))
    for start, end in [span for span in found if len(found) == 1 or not _greets(scan, *span)]:
        clauses.append(_read(scan, start, end))
        if len(clauses) > 1:
            _check_ending(scan, clauses[-2], start)
    if not clauses:
        raise Unread(scan.text.strip())
    return clauses


def _greets(scan: Scan, start: int, end: int) -> bool:
    """Whether a clause is only a greeting before a request."""
    return scan.phrase(start, "hi", "hello", "hey", "good morning", "good afternoon", "good evening", "hi there") == end


def spans(scan: Scan) -> Iterator[tuple[int, int]]:
    """Where clauses stand, as pairs of tokens, without connectors and polite words around them."""
    breaks = [(0, 0), *_breaks(scan), (scan.size, scan.size)]
    for (_, begin), (end, _) in pairwise(breaks):
        first, last = _without_manners(scan, begin, end)
        if first < last:
            yield first, last


def _breaks(scan: Scan) -> Iterator[tuple[int, int]]:
    """Connectors between clauses, as pairs of where they begin and where the next clause does."""
    at = 1
    while at < scan.size:
        after = _connectors(scan, at)
        if after is None:
            at += 1
            continue
        if after < scan.size and _begins_clause(scan, at, after):
            yield at, after
        at = after


def _connectors(scan: Scan, at: int) -> int | None:
    """The place behind all connectors that stand here in a row."""
    end = scan.phrase(at, *_CONNECTORS)
    while end and (more := scan.phrase(end, *_CONNECTORS)):
        end = more
    return end


def _begins_clause(scan: Scan, at: int, after: int) -> bool:
    """Within a sentence a word in capitals is a name (`Ana and Mark`), not the beginning of a clause."""
    new_sentence = scan.low(at) in (".", "!", "?", ";") and not (
        scan.low(at) == "." and scan.low(at - 1) in ("st", "mt")
    )
    return scan.phrase(after, *_STARTERS) is not None and (new_sentence or not scan.tokens[after].capital)


def _without_manners(scan: Scan, start: int, end: int) -> tuple[int, int]:
    inside = scan.until(end)
    while start < end and (after := inside.phrase(start, *_POLITE)) and (after < end or _only_manners(inside, start)):
        start = after
    changed = True
    while changed and end > start:
        shorter = next(
            (end - len(words.split()) for words in _POLITE_ENDS if _ends_with(inside, start, end, words)), end
        )
        changed, end = shorter < end, shorter
    return start, end


def _only_manners(scan: Scan, at: int) -> bool:
    return scan.phrase(at, "please", "thanks", "thank you", ",", ".", "!", "?", ";") == scan.size


def _ends_with(scan: Scan, start: int, end: int, words: str) -> bool:
    size = len(words.split())
    return end - size > start and scan.phrase(end - size, words) == end


def _read(scan: Scan, start: int, end: int) -> Clause:
    inside = scan.until(end)
    matcher = Matcher(inside, _ALL_READERS, furthest=start)
    found = _first(matcher, start, end)
    if found is None:
        raise Unread(_unread_piece(inside, start, end))
    return found


def _first(matcher: Matcher, start: int, end: int) -> Clause | None:
    for rule in RULES:
        for pattern in rule.patterns:
            match = next(iter(matcher.matches(pattern, start, end)), None)
            if match is not None:
                return Clause(match, rule)
    return None


def _unread_piece(scan: Scan, start: int, end: int) -> str:
    """Return the part after the longest prefix that is a clause, otherwise the whole clause."""
    for stop in range(end - 1, start, -1):
        if _connectors(scan, stop) and _first(Matcher(scan.until(stop), _ALL_READERS), start, stop):
            return scan.typed(_connectors(scan, stop) or stop, end)
    return scan.typed(start, end)


def _check_ending(scan: Scan, before: Clause, start: int) -> None:
    """Free text without quotes has no clear end, so a clause behind it could be part of it."""
    content = before.match.get("content", Content)
    open_text = before.match.get("rest", str) or (content.body if content and content.open_body is not None else "")
    connector = scan.typed(before.match.end, start)
    if open_text and before.rule.open_ended and not connector.startswith(";"):
        first = scan.begin(before.match.end)
        rest = scan.text[first:].strip()
        piece = re.sub(r"^[\s,.!?]+", "", rest)
        question = f'Does "{_short(piece)}" belong in the mail\'s text, or is it a request of its own?'
        body = open_text
        at = scan.text.rfind(body, 0, first)
        inside = f'"{body}{scan.text[at + len(body) :].rstrip()}"'
        apart = f'"{body}"; {piece}'
        choices = (("in the mail", inside), ("a request of its own", apart))
        raise Ask(Doubt(question, at, len(scan.text), choices, closed=True))


def _short(text: str) -> str:
    return text if len(text) <= 80 else text[:77] + "..."
