"""Splits a request into clauses and says of each what it is about; an unread one rejects the whole request."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

from offline.planner import memory_steps
from offline.planner.intents import NONE, READS, fitting, opening
from offline.planner.mail_content import Content
from offline.planner.match import Match
from offline.planner.outcomes import Ask, Doubt, Unread
from offline.planner.readings import READINGS, special
from offline.planner.scan import Scan, phrases
from offline.planner.sift import Build
from offline.planner.tokens import Kind

_CONNECTORS = phrases(",|;|.|!|?|and|then|also|afterwards|after that|plus|finally|next|&")
_STARTERS = phrases(
    "what|what's|whats|how|how's|when|when's|which|will|is|does|do|did|am i|are there|can i|could i|who|"
    "have i|where|weather|forecast|the weather|the forecast|my events|my agenda|my calendar|my schedule|"
    "my free|anything|any|should i|schedule|book|plan|arrange|organise|organize|set up|set a|"
    "set the|create|make|add|put|enter|block|reserve|new event|show|list|give me|tell|check|find|look|"
    "search|suggest|get|see|read|open|fetch|move|reschedule|shift|push|postpone|delay|change|rename|"
    "retitle|bring forward|pencil in|delete|cancel|remove|drop|trash|scrap|call off|archive|email|e-mail|"
    "mail|send|confirm|message|write|draft|prepare|forward|compose|let|inform|reply|respond|answer|remind me|"
    "complete|mark|finish|tick off|check off|reopen|don't remind me|do not remind me|close|save|i need|i want|use|take|"
    "help|new contact|summarise|summarize|please|could you|can you|would you|invite|order|buy|call|pay|play|turn|"
    "translate|transfer"
)
_POLITE = phrases(
    "please|could you please|could you|can you please|can you|would you please|would you|will you|"
    "i'd like you to|i want you to|i would like you to|i'd like to|i would like to|i want to|i need to|"
    "kindly|hey|hi|hello|ok|okay|retinue|assistant|,|!|let's|go ahead and|just|first|also|then|and|now|"
    "yes|thanks|thank you|.|;|:|i need you to|alexa|siri|hey siri|google|ok google|cortana|computer"
)
_POLITE_ENDS = phrases(
    "please|pls|plz|thx|thanks|thank you|thanks a lot|thank you so much|cheers|for me|many thanks|too|as well|,|.|!|?|;|afterwards|"
    "thank you very much|right away|again please|and|then"
)
_ADD_IT = re.compile(
    r"(?:add|put|note|enter|save) (?:it|that|this)(?: (?:down|in))?"
    r"(?: (?:to|in|into|on) (?:my |the )?(?:calendar|diary|agenda|(?P<list>tasks?|to-?dos?|(?:to-?do |task )?list)))?"
)
_WRITES = frozenset(phrases("email|e-mail|mail|tell|reply|answer|respond|write|send|let|inform|message|draft"))
_WRITTEN_ENDS = phrases("please|thanks|thank you|,|.|!|?|;")
"""What may be cut from the end of a clause with a mail's text; anything else could belong to the text."""
_CONDITIONS = ("if", "unless", "except")
_WONDERS = frozenset(
    phrases("please|can|could|would|you|check|see|tell|me|know|ask|let|look|i|want|to|find|out|want|need|and")
)
_KEPT_IN_MIND = ("let", "forget", "remind", "need", "want", "have")
_ABBREVIATED = (
    "st",
    "mt",
    "ft",
    "dr",
    "mr",
    "mrs",
    "ms",
    "jan",
    "feb",
    "aug",
    "sep",
    "sept",
    "oct",
    "nov",
    "dec",
    "no",
)
_ASKED_ABOUT = dict.fromkeys(("delete", "cancel", "remove"), "calendar.delete_event")
_ASKED_ABOUT |= dict.fromkeys(("book", "reserve"), "calendar.create_event")
"""What is asked about rather than refused, where the words name nothing that is known."""
SPECIAL = "special"
_LETTERS = ("email.send", "email.draft")
_SURE, _SURE_TO_READ, _SURE_OF_NOTHING = 0.5, 0.35, 0.6


@dataclass(frozen=True)
class Clause:
    """A parsed clause: its intent, its values, and what makes steps of them."""

    intent: str
    match: Match
    build: Build


def read_clauses(scan: Scan, known: Mapping[int, str]) -> list[Clause]:
    """Read all of a request.

    Args:
        scan: The request.
        known: Intents that are settled already, by where their clauses begin in the text.

    Raises:
        Unread: Some part of it is not understood.
        Ask: It is not clear where one part ends.
    """
    clauses: list[Clause] = []
    found = list(spans(scan))
    kept = [span for span in found if len(found) == 1 or not _greets(scan, *span)]
    for at, (start, end) in enumerate(kept):
        if at and _added_to(scan, kept[at]):
            continue  # it says what the clause before it is
        noted = _added_to(scan, kept[at + 1]) if at + 1 < len(kept) else None
        clauses.append(_read(scan, start, end, known.get(scan.begin(start)) or noted))
        if len(clauses) > 1:
            _check_ending(scan, clauses[-2], start)
    if not clauses:
        raise Unread(scan.text.strip())
    return clauses


def _added_to(scan: Scan, span: tuple[int, int]) -> str | None:
    """The intent of what `add it to my calendar` and `put it on my list` speak of."""
    found = _ADD_IT.fullmatch(scan.typed(*span).casefold())
    if found is None:
        return None
    return "tasks.add" if found["list"] else "calendar.create_event"


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
    return scan.phrase(after, *_STARTERS) is not None and (_ends_sentence(scan, at) or not scan.tokens[after].capital)


def _ends_sentence(scan: Scan, at: int) -> bool:
    return scan.low(at) in ("!", "?", ";") or (scan.low(at) == "." and scan.low(at - 1) not in _ABBREVIATED)


def _without_manners(scan: Scan, start: int, end: int) -> tuple[int, int]:
    inside = scan.until(end)
    while start < end and (after := inside.phrase(start, *_POLITE)) and (after < end or _only_manners(inside, start)):
        start = after
    ends = _WRITTEN_ENDS if inside.low(start) in _WRITES else _POLITE_ENDS
    changed = True
    while changed and end > start:
        shorter = next((end - len(words.split()) for words in ends if _ends_with(inside, start, end, words)), end)
        changed, end = shorter < end, shorter
    return start, end


def _only_manners(scan: Scan, at: int) -> bool:
    return scan.phrase(at, "please", "thanks", "thank you", ",", ".", "!", "?", ";") == scan.size


def _ends_with(scan: Scan, start: int, end: int, words: str) -> bool:
    size = len(words.split())
    return end - size > start and scan.phrase(end - size, words) == end


def _read(scan: Scan, start: int, end: int, known: str | None) -> Clause:
    """A clause by what it is most likely about; all of it must belong to that."""
    inside = scan.until(end)
    if build := special(inside, start, end):
        return Clause(SPECIAL, Match(inside, start, end), build)
    if told := memory_steps.read(inside, start, end):
        return Clause(SPECIAL, Match(inside, start, end, tuple(told[1])), told[0])
    intent = known or _intent(inside.typed(start, end))
    if intent not in _LETTERS and (rest := _foreign(inside, start, end, intent)) is not None:
        raise Unread(inside.typed(rest, end))
    build, values = READINGS[intent](inside, start, end)
    return Clause(intent, Match(inside, start, end, tuple(values)), build)


def _intent(text: str) -> str:
    ranked = fitting(text)
    best = ranked[0]
    if (best.intent == NONE or best.sure < _SURE) and (instead := _ASKED_ABOUT.get(opening(text)[0])):
        return instead
    if best.intent not in READINGS or best.sure < (_SURE_TO_READ if READS.fullmatch(best.intent) else _SURE):
        raise Unread(text, nearest=tuple(guess.intent for guess in ranked if guess.intent in READINGS)[:2])
    return best.intent


def _foreign(scan: Scan, start: int, end: int, intent: str) -> int | None:
    """Where a piece begins that is no part of the clause: a condition, another sentence, another subject."""
    if not READS.fullmatch(intent) and (refused := _forbids(scan, start, end)) is not None:
        return refused
    for at in range(start + 1, end - 1):
        if scan.low(at) in _CONDITIONS and any(scan.low(place) not in _WONDERS for place in range(start, at)):
            return at
        if _ends_sentence(scan, at):
            return at + 1
        if scan.low(at) in ("and", ",", "then", "or") and end - at > 2 and _is_another(scan, at + 1, end, intent):
            return at + 1
    return start if scan.low(start) in _CONDITIONS else None


def _forbids(scan: Scan, start: int, end: int) -> int | None:
    """Where a clause says that something shall not be done."""
    for at in range(start, end):
        after = scan.phrase(at, "don't", "dont", "do not", "never")
        if after and scan.low(after) not in _KEPT_IN_MIND:
            return at
    return None


def _is_another(scan: Scan, at: int, end: int, intent: str) -> bool:
    words = [place for place in range(at, end) if scan.kind(place) is Kind.WORD]
    if len(words) < 2 or words[0] != at or scan.tokens[at].capital:
        return False
    best = fitting(scan.typed(at, end))[0]
    return best.intent == NONE and best.intent != intent and best.sure >= _SURE_OF_NOTHING


def _check_ending(scan: Scan, before: Clause, start: int) -> None:
    """Free text without quotes has no clear end, so a clause behind it could be part of it."""
    content = before.match.get("content", Content)
    body = content.body if content and content.open_body is not None else ""
    connector = scan.typed(before.match.end, start)
    if body and not connector.startswith(";"):
        first = scan.begin(before.match.end)
        piece = re.sub(r"^[\s,.!?]+", "", scan.text[first:].strip())
        question = f'Does "{_short(piece)}" belong in the mail\'s text, or is it a request of its own?'
        at = scan.text.rfind(body, 0, first)
        inside = f'"{body}{scan.text[at + len(body) :].rstrip()}"'
        apart = f'"{body}"; {piece}'
        choices = (("in the mail", inside), ("a request of its own", apart))
        raise Ask(Doubt(question, at, len(scan.text), choices, closed=True))


def _short(text: str) -> str:
    return text if len(text) <= 80 else text[:77] + "..."
