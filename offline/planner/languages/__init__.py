"""Requests in German, French and Spanish: their frame is put into English, for which the readers are made.

Only the words that carry a request and its times are replaced; titles, names and the texts of mails stay as they were
typed, and quoted text is not touched. The rules are in the text files beside this one.
"""

import calendar
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from offline.planner.scan import phrases

_NAMES = ("german", "french", "spanish")
_DAYS = {
    "german": "montag dienstag mittwoch donnerstag freitag samstag sonntag",
    "french": "lundi mardi mercredi jeudi vendredi samedi dimanche",
    "spanish": "lunes martes miércoles jueves viernes sábado domingo",
}
_MONTHS = {
    "german": "januar februar märz april mai juni juli august september oktober november dezember",
    "french": "janvier février mars avril mai juin juillet août septembre octobre novembre décembre",
    "spanish": "enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre",
}
_NUMBERS = {
    "german": "ein|eine|einer zwei drei vier fünf sechs sieben acht neun zehn elf zwölf",
    "french": "un|une deux trois quatre cinq six sept huit neuf dix onze douze",
    "spanish": "un|una dos tres cuatro cinco seis siete ocho nueve diez once doce",
}
_ENGLISH_DAYS = tuple(name.casefold() for name in calendar.day_name)
_ENGLISH_MONTHS = tuple(name.casefold() for name in calendar.month_name if name)
_ENGLISH = frozenset(
    phrases(
        "the|my|is|are|what|what's|when|where|who|how|do|does|did|i|you|me|to|of|on|at|for|with|it|that|this|please|can|could|"
        "will|and|from|in|about|next|tomorrow|today|week|remind|add|show|find|send|delete|cancel|move"
    )
)
_WORD = re.compile(r"[\w'’-]+")
_QUOTED = re.compile(r"(\"[^\"]*\"|“[^”]*”|„[^“]*“|«[^»]*»)")
_BEFORE_DAY = {"german": r"(?:am |diesen |an diesem )?", "french": r"(?:le |ce )?", "spanish": r"(?:el |este )?"}
_BEFORE_DATE = {"german": r"(?:am )?(?:den )?", "french": r"(?:le )?", "spanish": r"(?:el )?(?:día )?"}
_MARKS = str.maketrans("’", "'", "¿¡")
_AHEAD = re.compile(r"\(\?[=!][^()]*\)$")
_HOUR = re.compile(r"\b([7-9]):(\d\d)\b")
_LONGEST = 2000


@dataclass(frozen=True)
class Language:
    """What is known of one language."""

    words: frozenset[str]
    rules: tuple[tuple[re.Pattern[str], str], ...]


@cache
def _language(name: str) -> Language:
    lines = Path(__file__).with_name(f"{name}.txt").read_text("utf-8").splitlines()
    words = next(line.removeprefix("words: ") for line in lines if line.startswith("words: "))
    pairs = [line.split(" =>", 1) for line in lines if " =>" in line and not line.startswith("#")]
    rules = [*_hours(name), *_times(name), *((pattern, english[1:]) for pattern, english in pairs)]
    known = frozenset((*words.split("|"), *_DAYS[name].split(), *_MONTHS[name].split()))
    return Language(known, tuple(_rule(pattern, english) for pattern, english in rules))


def _rule(pattern: str, english: str) -> tuple[re.Pattern[str], str]:
    """A rule of whole words. One that looks ahead ends before a word, so a space belongs to it."""
    ahead = _AHEAD.search(pattern)
    ending, space = ("", " ") if ahead else (r"(?!\w)", "")
    return re.compile(rf"(?<!\w)(?:{pattern}){ending}", re.IGNORECASE), english + space


def _times(name: str) -> list[tuple[str, str]]:
    """Weekdays and dates; the name of a day alone is the coming one."""
    found: list[tuple[str, str]] = []
    for month, english in zip(_MONTHS[name].split(), _ENGLISH_MONTHS, strict=True):
        found.append((rf"{_BEFORE_DATE[name]}(\d{{1,2}})(?:\.|er)? (?:de )?{month}", rf"on \1 {english}"))
    for number, english in enumerate(_ENGLISH_MONTHS, 1):
        found.append((rf"{_BEFORE_DATE[name]}(\d{{1,2}})\.0?{number}\.(?=\s|$)", rf"on \1 {english}"))
    for day, english in zip(_DAYS[name].split(), _ENGLISH_DAYS, strict=True):
        found.append(
            (rf"jeden {day}|{day}s|chaque {day}|tous les {day}s|cada {day}|todos los {day}", f"every {english}")
        )
        found.append((rf"(?:nächsten|kommenden|el próximo) {day}|{day} (?:prochain|que viene)", f"next {english}"))
        found.append((rf"{_BEFORE_DAY[name]}{day}", f"on {english}"))
    return found


def _hours(name: str) -> list[tuple[str, str]]:
    """Hours in words: `halb zehn` is half past nine."""
    found: list[tuple[str, str]] = []
    for number, word in enumerate(_NUMBERS[name].split(), 1):
        if name == "german":
            found.append((f"(?:um )?halb (?:{word}|{number})", f"at half past {(number - 1) or 12}"))
            found += [(f"um (?:{word})(?: uhr)?", f"at {number}"), (f"in (?:{word}n?) stunden?", f"in {number} hours")]
        if name == "french":
            found.append((f"à (?:{word}) heures?", f"at {number}"))
        if name == "spanish":
            found += [
                (f"a las? (?:{word}) y media", f"at half past {number}"),
                (f"a las? (?:{word}) de la (?:tarde|noche)", f"at {number} pm"),
                (f"a las? (?:{word})", f"at {number}"),
            ]
    return found


def in_english(text: str) -> str:
    """A request with its frame in English; the same text where it is in no other language that is known."""
    name = language_of(text)
    if name is None:
        return text
    pieces = _QUOTED.split(text)
    return "".join(piece if at % 2 else _put(piece, name) for at, piece in enumerate(pieces))


def language_of(text: str) -> str | None:
    """The language of a request by its small words; None for English and for all others."""
    words = [word.casefold().replace("’", "'") for word in _WORD.findall(text[:_LONGEST])]
    if not words or len(text) > _LONGEST:
        return None
    english = sum(word in _ENGLISH for word in words)
    scores = {name: sum(word in _language(name).words for word in words) for name in _NAMES}
    best = max(_NAMES, key=lambda name: scores[name])
    return best if scores[best] > english and scores[best] * 4 >= len(words) else None


def _put(text: str, name: str) -> str:
    """Put a piece into English. Hours are of the 24-hour clock there, so `9:00` is in the morning."""
    text = text.translate(_MARKS)
    for pattern, english in _language(name).rules:
        text = pattern.sub(english, text)
    return re.sub(r"(?<=\S) {2,}", " ", _HOUR.sub(r"0\1:\2", text))
