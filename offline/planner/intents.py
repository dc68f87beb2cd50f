"""What a request is about: a linear classifier over words, pairs of words and pieces of words.

Its weights are in `intents.json`, which `python -P -m deploy.intents` writes from example requests (those of the tools'
contracts and those in `deploy/phrases/`). An intent is the name of the tool that a request is for, `help`, or `none` for
what no tool does. Pure Python: a sentence takes less than a millisecond.
"""

import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path

from offline.planner.tokens import Kind, Token, straighten, tokenize

NONE, HELP = "none", "help"
WEIGHTS = Path(__file__).with_name("intents.json")
SCALE = 100
"""Weights are stored as whole numbers of this part."""
_LONGEST = 60
_SUBJECTS = {
    "weather": "weather wether wheather forecast rain rainy raining snow snowy sun sunny storm stormy wind windy fog foggy cloud "
    "cloudy temperature temp humid humidity umbrella jacket coat raincoat degree hail thunder icy freezing freeze",
    "mail": "mail email e-mail inbox mailbox message outlook gmail emial",
    "calendar": "calendar calender agenda diary schedule event appointment appt meeting",
    "task": "task todo to-do chore dos",
    "remind": "remind reminder reminded",
    "contact": "contact phone number",
}
_TOPICS = {word: topic for topic, words in _SUBJECTS.items() for word in words.split()}
_DIGITS = re.compile(r"\d+")
_MARKS = {
    Kind.QUOTED: "#text",
    Kind.URL: "#url",
    Kind.ADDRESS: "#address",
    Kind.ISO: "#date",
    Kind.NUMERIC_DATE: "#date",
}
_MARKS |= {Kind.TIME: "#time", Kind.ORDINAL: "#nth", Kind.NUMBER: "#number"}


@dataclass(frozen=True, slots=True)
class Guess:
    """An intent and how likely it is, from 0 to 1."""

    intent: str
    sure: float


@dataclass(frozen=True)
class Weights:
    """What training found.

    Attributes:
        intents: The intents in the order of the numbers.
        bias: One number per intent.
        features: Per feature pairs of an intent's place and its number, flat.
        weight: The inverse document frequency of each feature.
        offers: One short request per intent, to offer when something else was not understood.
    """

    intents: Sequence[str]
    bias: Sequence[int]
    features: Mapping[str, Sequence[int]]
    weight: Mapping[str, float]
    offers: Mapping[str, str]


@cache
def weights() -> Weights:
    """The weights, read at first need."""
    found = json.loads(WEIGHTS.read_text("utf-8"))
    rows = {name: row[1:] for name, row in found["features"].items()}
    idf = {name: row[0] / SCALE for name, row in found["features"].items()}
    return Weights(found["intents"], found["bias"], rows, idf, found["offers"])


def features(text: str) -> set[str]:
    """The features of a text: each word, each two words in a row or with one between, and pieces of words."""
    words = [_word(token) for token in tokenize(straighten(text))[:_LONGEST]]
    edged = ["<", *words, ">"]
    found = {f"w:{word}" for word in words}
    found |= {f"b:{one} {two}" for one, two in pairwise(edged)}
    found |= {f"s:{one} {two}" for one, two in zip(edged, edged[2:], strict=False)}
    found |= {f"k:{topic}" for word in words for topic in (_TOPICS.get(word.removesuffix("s")),) if topic}
    return found.union(*(_pieces(word) for word in words if word[0].isalpha()))


def _word(token: Token) -> str:
    return _MARKS.get(token.kind) or _DIGITS.sub("0", token.low)


def _pieces(word: str) -> Iterator[str]:
    edged = f"^{word}$"
    for size in (3, 4, 5):
        yield from (f"c:{edged[at : at + size]}" for at in range(max(1, len(edged) - size + 1)))


def scaled(found: set[str], weight: Mapping[str, float]) -> list[tuple[str, float]]:
    """The known features with their strengths; the strengths of a text are of the same length for all texts."""
    known = sorted((name, weight[name]) for name in found if name in weight)
    length = math.sqrt(sum(value * value for _, value in known)) or 1.0
    return [(name, 6 * value / length) for name, value in known]


def guesses(text: str) -> list[Guess]:
    """Every intent with its likelihood, the likeliest first."""
    model = weights()
    scores = [bias / SCALE for bias in model.bias]
    for name, strength in scaled(features(text), model.weight):
        row = model.features[name]
        for at in range(0, len(row), 2):
            scores[row[at]] += strength * row[at + 1] / SCALE
    likely = softmax(scores)
    ranked = sorted(zip(likely, model.intents, strict=True), reverse=True)
    return [Guess(intent, sure) for sure, intent in ranked]


_FIRST_OFFERS = ("calendar.list_events", "weather.forecast")
_SHORT = 45


def nearest(intents: Sequence[str]) -> list[str]:
    """Two short requests to offer: of these intents, else of what people ask most."""
    found = [weights().offers.get(intent, "") for intent in (*intents, *_FIRST_OFFERS)]
    return [text for text in dict.fromkeys(found) if text and len(text) <= _SHORT][:2]


def softmax(scores: Sequence[float]) -> list[float]:
    """Likelihoods from scores."""
    top = max(scores)
    raised = [math.exp(score - top) for score in scores]
    total = sum(raised)
    return [value / total for value in raised]


def frequencies(texts: Sequence[set[str]], least: int) -> dict[str, float]:
    """The inverse document frequency of the features that at least so many texts have."""
    counted = Counter(name for found in texts for name in found)
    return {name: math.log(len(texts) / times) for name, times in sorted(counted.items()) if times >= least}


READS = re.compile(
    r"calendar\.(list|find)\w+|weather\.\w+|contacts\.(find|list)|tasks\.lists?|memory\.(list|search)|web\.\w+|email\.(search|read)|none|help"
)
"""Intents that change nothing."""
_OPENINGS: Sequence[tuple[str, str]] = (
    (
        "what what's whats when when's which who who's where where's how how's hows is are am was were does did do whether why",
        READS.pattern,
    ),
    ("show list find search look check display see", f"{READS.pattern}|meeting.enter"),
    ("set", r".*\.(create_event|remind|add|update_event|send|complete|reopen)|none"),
    ("delete remove cancel erase clear drop scrap trash empty wipe take", r".*\.(delete\w*|remove|cancel\w*)|none"),
    (
        "schedule plan arrange organise organize pencil block book reserve",
        r"calendar\.(create_event|find_free_time)|none",
    ),
    ("add create put enter note", r".*\.(create_event|add|remind|send|draft|enter)|none"),
    ("make", r".*\.(create_event|add|remind|send|draft|update_event)|none"),
    ("email e-mail mail", r"email\.(send|draft)"),
    ("send write compose draft", r"email\.(send|draft|reply|forward)|none"),
    ("tell inform", r"email\.(send|reply)|none"),
    ("reply respond answer", r"email\.reply|none"),
    ("forward", r"email\.forward"),
    ("save store keep", r".*\.(add|save_attachment|draft|create_event)|none"),
    ("move reschedule postpone change edit update", r".*update\w*|email\.archive|none"),
    ("rename retitle", r"calendar\.update_event"),
    ("mark tick complete finish", r"tasks\.(complete|reopen|delete)|none"),
    ("reopen uncheck", r"tasks\.reopen"),
    ("remind nudge alert ping notify", r"tasks\.remind"),
    ("phone ring dial order buy pay play turn translate transfer navigate print dim", NONE),
)
_OBJECTS: Sequence[tuple[str, str]] = (
    ("task to-do todo todos tasks", r"tasks\.(add|complete|reopen|delete|list)"),
    ("reminder reminders", r"tasks\.(remind|cancel_reminder|list)"),
    ("mail email e-mail mails emails", r"email\.\w+"),
    ("draft", r"email\.draft|email\.send"),
    ("contact", r"contacts\.\w+"),
    ("appointment event", r"calendar\.\w+|meeting\.enter"),
)
_WHEREIN = (
    (
        re.compile(
            r"^(please )?(send|write)\b.*\b(agenda|calendar|schedule|events|appointments|forecast|weather|tasks|e-?mail|mail)\b"
        ),
        r"email\.(send|draft|forward)",
    ),
    (re.compile(r"\b(in|to|into|from|of|off) (my|the) (contacts|address book|contact list)\b"), r"contacts\.\w+"),
    (
        re.compile(r"\b(to-do|to do|todo|task|shopping|grocery) lists?\b|\blist of (to-?dos|things to do|tasks)\b"),
        r"tasks\.\w+",
    ),
    (re.compile(r"\b(my|the|\w+) (calendar|calender|agenda|diary)\b"), r"calendar\.\w+|meeting\.enter|none"),
    (
        re.compile(
            r"^(?!.*\b(read|open|about|say|says|wrote|write)\b).*(\b(phone|mobile|cell|telephone) number\b|'s (number|e-?mail|mail address|address|phone)\b)"
        ),
        r"contacts\.\w+|none",
    ),
    (re.compile(r"\b(e-?mail address|mail address|phone number|number) (of|for)\b"), r"contacts\.\w+"),
    (
        re.compile(r"^(please )?(find|look up|search|is|look for|do i have)\b.*\b(contacts|address book)\b"),
        r"contacts\.find",
    ),
    (re.compile(r"^(which|what|show|name|read|list)\b.*\blists\b"), r"tasks\.lists"),
    (re.compile(r"^(please )?(send|write|compose|draft)\b.*\S@\S"), r"email\.(send|draft|forward)"),
    (
        re.compile(r"^(please )?(read|open|fetch|get|load|show|summari[sz]e|what|look)\b.*(https?://|www\.)"),
        r"web\.fetch",
    ),
    (re.compile(r"\bmy (inbox|mailbox|e-?mails?|mails)\b"), r"email\.\w+"),
)
_NEEDED = {
    "calendar.delete_event": "delet|cancel|remov|drop|scrap|call off|get rid|take|erase|strike|clear|cancle|won't|is off|need|kill|"
    "lösch|absag|streich|entfern|annul|supprim|efface|retire|borra|elimina|quita|anula",
    "contacts.remove": "delet|remov|erase|take|drop|lösch|supprim|borra|elimina",
    "contacts.list": "contacts|address book|kontakte|adressbuch|carnet|agenda de|contactos",
    "email.archive": "archiv|file|put away",
    "email.delete": "delet|trash|bin|remov|throw|rid",
    "email.draft": "draft|prepare|not send|don't send|save|entwurf|brouillon|borrador",
    "email.forward": "forward|pass|share|send",
    "email.reply": "repl|respon|answer|write back|tell every|antwort|répon|respond|contest",
    "memory.forget": "forget",
    "memory.forget_all": "forget",
    "memory.remember": "rememb|note|keep in mind|live|home|working hours|i work|prefer|allergic|mean|forget",
    "tasks.cancel_reminder": "remind|erinner|rappel|recordatorio",
    "tasks.delete": "delet|remov|drop|erase|cancel|take|rid|clear|empty|wipe|need|lösch|streich|supprim|borra|elimina|quita",
    "tasks.add": r"task|to-?dos?\b|to dos?\b|\blist|remember|note|jot|write down|forget|aufgabe|liste|tâche|tarea|lista",
    "tasks.delete_list": "list",
    "tasks.reopen": "reopen|not done|undone|uncheck|open again|incomplete|restore|as open|not complete|after all|did not",
    "weather.sun": "sun|dusk|dawn|dark|light|long is the day|sonne|soleil|sol|amane|anoche",
    "web.fetch": r"https?:|www\.",
}
_NEEDS = {intent: re.compile(words) for intent, words in _NEEDED.items()}
"""Words without one of which an intent is never meant, whatever else a request looks like."""
_OPENS = {word: re.compile(allowed) for words, allowed in _OPENINGS for word in words.split()}
_QUESTIONS = frozenset(_OPENINGS[0][0].split())
_NAMED = {word: re.compile(allowed) for words, allowed in _OBJECTS for word in words.split()}
_BEFORE = frozenset(
    [
        "please",
        "pls",
        "can",
        "could",
        "would",
        "will",
        "you",
        "hey",
        "hi",
        "hello",
        "ok",
        "okay",
        "kindly",
        "just",
        "also",
        "i",
        "want",
        "need",
        "to",
        "i'd",
        "like",
    ]
)
_ALONE = 0.85
_SMALL = frozenset(["a", "an", "the", "my", "new", "another", "me", "all", "up", "to", "this", "that"])


def fitting(text: str) -> list[Guess]:
    """The guesses that go with the words of a request: a question changes nothing, `delete ...` makes nothing."""
    words, low = opening(text), straighten(text).casefold()
    kept = [guess for guess in guesses(text) if (needed := _NEEDS.get(guess.intent)) is None or needed.search(low)]
    for allowed in (_by_verb(words), *_by_place(text), _by_object(words)):
        fits = [guess for guess in kept if allowed is None or allowed.fullmatch(guess.intent)]
        kept = fits or kept
    total = sum(guess.sure for guess in kept)
    return [Guess(guess.intent, guess.sure / total) for guess in kept]


def begins_request(text: str) -> bool:
    """Whether a text is a request of its own, and not only a value such as a day or a name."""
    words = opening(text)
    return bool(words) and (words[0] in _OPENS or (len(words) > 2 and guesses(text)[0].sure > _ALONE))


def opening(text: str) -> list[str]:
    """The first words without manners before them."""
    words = [token.low for token in tokenize(straighten(text))[:10]]
    while len(words) > 1 and words[0] in _BEFORE:
        words = words[1:]
    return words


def _by_verb(words: Sequence[str]) -> re.Pattern[str] | None:
    first = words[0] if words else ""
    if first == "mark" and not {"as", "done", "off"} & set(words):
        return None
    if first == "call" and words[1:2] not in (["with"], ["about"], ["off"]):
        return re.compile(NONE)
    if first == "drop" and {"line", "mail", "email", "note", "message"} & set(words):
        return None
    if first == "tell" and words[1:2] in (["me"], ["us"]):
        return None
    if first == "take" and not {"off", "out", "from"} & set(words):
        return None
    if first == "have" or (first == "i" and "have" in words[:2]):
        return None
    return _OPENS.get(first)


def _by_object(words: Sequence[str]) -> re.Pattern[str] | None:
    """What the verb is about: `add a new task ...`."""
    at = 1
    while at < len(words) and words[at] in _SMALL:
        at += 1
    if words[at : at + 2] == ["to", "do"]:
        return _NAMED["task"]
    known = words[:1] and words[0] in _OPENS and words[0] not in _QUESTIONS and at < len(words)
    return _NAMED.get(words[at]) if known else None


def _by_place(text: str) -> Iterator[re.Pattern[str]]:
    """Where something is or goes: in the contacts, on the task list, at an address, on a page."""
    low = straighten(text).casefold()
    yield from (re.compile(allowed) for pattern, allowed in _WHEREIN if pattern.search(low))
