"""Disambiguation: when a look-up finds several, code notices and the person chooses; no model guesses. Pure.

A look-up that found several returns an empty `match` and a list (`Annotations.picks`). A step that refers to the match, or
to an item of the list that was chosen before the result was known, waits until the person has chosen.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from pydantic import JsonValue

from retinue.plan import BoundStep, references
from retinue.text import safe_line

_SHOWN = 10
_LABEL_CHARS = 120
_NAMES = ("name", "title")
_DETAILS = ("email", "organization", "phone")
_TIMES = ("start", "due")
_WORDS_OF = ("name", "title", "nickname", "organization", "email", "other_emails", "phone")
_PLACE = re.compile(r"(?:the )?(?:number |no\.? |option |#)?(\d{1,2})[.)]?(?: one)?")
_ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")
_FILLERS = frozenset(
    [
        "a",
        "an",
        "at",
        "from",
        "her",
        "him",
        "i",
        "is",
        "it",
        "its",
        "mean",
        "meant",
        "of",
        "one",
        "please",
        "the",
        "them",
        "to",
        "use",
        "with",
    ]
)
_NOBODY = frozenset({"never mind", "nevermind", "forget it", "no", "none", "nobody", "nothing", "stop", "cancel"})

Option = Mapping[str, JsonValue]


@dataclass(frozen=True)
class Choice:
    """A question about what one step found.

    Attributes:
        step_id: The step that found several.
        sought: The search text.
        options: The results.
        picks: Names of the result's fields for the one and for all.
    """

    step_id: str
    sought: str
    options: Sequence[Option]
    picks: tuple[str, str]

    def question(self, *, again: bool = False) -> str:
        """Return the question. It contains results that others may have written, so no planner may read it."""
        labels = [f"{number}. {label}" for number, label in enumerate(self.labels(), start=1)]
        more = len(self.options) - len(labels)
        rest = f", or one of {more} more (write the whole name)" if more > 0 else ""
        sorry = "I could not tell from that. " if again else ""
        whom = f'"{safe_line(self.sought, _LABEL_CHARS)}"' if self.sought else "of them"
        return f"{sorry}Which {whom} do you mean: {'; '.join(labels)}{rest}?"

    def labels(self) -> list[str]:
        """Return how those are called that the question numbers."""
        return [_label(option) for option in self.options[:_SHOWN]]

    def answered(self, text: str) -> Option | None:
        """Return the option that an answer names by number, address or words; None unless exactly one fits."""
        plain = _folded(text).strip(" .!?\"'")
        if place := _place(plain):
            return self.options[place - 1] if place <= min(_SHOWN, len(self.options)) else None
        words = {word for word in _words(plain) if word not in _FILLERS}
        if not words:
            return None
        fits = [option for option in self.options if words <= _words_of(option)]
        return _only(fits) or _only([option for option in fits if words == set(_words(_folded(_name(option))))])

    def settled(self, result: JsonValue, option: Option) -> JsonValue:
        """Return the result with this option as the match and first in the list."""
        one, many = self.picks
        found = dict(result) if isinstance(result, dict) else {}
        return {**found, one: dict(option), many: [dict(option), *(dict(o) for o in self.options if o is not option)]}


def open_choice(
    step: BoundStep,
    steps: Mapping[str, BoundStep],
    results: Mapping[str, JsonValue],
    *,
    args: Callable[[str], Mapping[str, JsonValue]],
    unseen: Collection[str],
) -> Choice | None:
    """Return the first ambiguity in a step's arguments, or None.

    Args:
        step: The step with its references.
        steps: All steps of the run by id.
        results: What they returned.
        args: Returns their resolved arguments.
        unseen: Steps whose results were unknown when this one was planned.
    """
    for source, path in references(step.args):
        annotations = steps[source].annotations if source in steps else None
        picks = annotations.picks if annotations else None
        by_place = source in unseen and not (annotations and annotations.ordered)
        if picks and _is_open(path, results.get(source), picks, by_place=by_place):
            sought = next((str(value) for value in args(source).values() if isinstance(value, str)), "")
            return Choice(source, sought, list(_options(results[source], picks)), picks)
    return None


def gives_up(text: str) -> bool:
    """Whether an answer means "none of them"."""
    return _folded(text).strip(" .!") in _NOBODY


def _is_open(path: str, result: JsonValue, picks: tuple[str, str], *, by_place: bool) -> bool:
    one, many = picks
    if not isinstance(result, dict) or result.get(one) is not None or len(list(_options(result, picks))) < 2:
        return False
    parts = path.split("/")[1:]
    return parts[:1] == [one] or (by_place and len(parts) > 1 and parts[0] == many)


def _options(result: JsonValue, picks: tuple[str, str]) -> Iterator[dict[str, JsonValue]]:
    found = result.get(picks[1]) if isinstance(result, dict) else None
    yield from (item for item in (found if isinstance(found, list) else []) if isinstance(item, dict))


def _label(option: Option) -> str:
    details = [str(option[field]) for field in _DETAILS if option.get(field)]
    details += [str(option[field])[:16].replace("T", " ") for field in _TIMES if option.get(field)]
    label = f"{_name(option)} ({', '.join(details[:2])})" if details else _name(option)
    return safe_line(label, _LABEL_CHARS)


def _name(option: Option) -> str:
    return next((str(option[field]) for field in _NAMES if option.get(field)), "one without a name")


def _place(plain: str) -> int | None:
    if found := _PLACE.fullmatch(plain):
        return int(found[1]) or None
    words = [word for word in plain.split() if word not in ("the", "one")]
    return _ORDINALS.index(words[0]) + 1 if len(words) == 1 and words[0] in _ORDINALS else None


def _words_of(option: Option) -> set[str]:
    values = (option.get(field) for field in _WORDS_OF)
    texts = (text for value in values for text in (value if isinstance(value, list) else [value]) if text)
    return {word for text in texts for word in _words(_folded(str(text)))}


def _words(folded: str) -> Iterable[str]:
    """Return the words of a text; an address is one word, so that a part of it matches nothing."""
    return [word.strip(".-'") for word in re.findall(r"[\w.+'@-]+", folded) if word.strip(".-'")]


def _folded(text: str) -> str:
    """Return a text without case and accents, on one line."""
    decomposed = unicodedata.normalize("NFKD", text)
    return " ".join("".join(c for c in decomposed if not unicodedata.combining(c)).casefold().split())


def _only(options: Sequence[Option]) -> Option | None:
    return options[0] if len(options) == 1 else None
