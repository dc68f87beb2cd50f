"""Reads recipients: typed addresses, names to look up, and words that are no name in an address book."""

from dataclasses import dataclass

from offline.planner.scan import Scan, phrases
from offline.planner.tokens import Kind
from offline.planner.when import read_when

_NO_NAME = frozenset(
    phrases(
        "i|a|an|the|and|or|then|that|it|them|this|these|those|my|our|your|his|her|their|with|about|saying|to|from|in|on|at|for|"
        "by|me|us|him|not|is|are|was|will|would|please|as|of|if|now|when|what|who|mail|email|message|event|events|all|every|"
        "each|unread|new|any|forecast|weather|result|results|know|you|we|subject|cc|details|list|add|put|note|new"
    )
)
_KIN = phrases("team|boss|mum|mom|dad|wife|husband|manager|colleagues|colleague|family|sister|brother|landlord|friend")
_MANY = ("everyone", "everybody", "them", "him", "her", "me", "myself", "us")
_PRONOUNS = ("i", "we", "you", "he", "she", "it", "they", "that", "there")
_JOINTS = ("and", ", and", ",", "&")


@dataclass(frozen=True, slots=True)
class Person:
    """A recipient: a typed address, a name to look up, or words that are not a person's name."""

    address: str = ""
    name: str = ""
    unknown: str = ""
    start: int = 0
    end: int = 0


def people(scan: Scan, at: int, end: int) -> tuple[tuple[Person, ...], int]:
    """Recipients from a place on, joined by commas or `and`, and the place behind them.

    After the first, a name must be written like one or end the clause, or it could begin a second request.
    """
    inside, found, stop = scan.until(end), [], at
    while person := _person(inside, at, end):
        found.append(person[0])
        stop = person[1]
        at = inside.phrase(stop, *_JOINTS) or end
        plain = at < end and inside.kind(at) is not Kind.ADDRESS and not inside.tokens[at].capital
        if plain and inside.kind(at + 1) not in (None, Kind.QUOTED):
            break
    return tuple(found), stop


def _person(scan: Scan, at: int, end: int) -> tuple[Person, int] | None:
    if at >= end:
        return None
    if scan.kind(at) is Kind.ADDRESS:
        return Person(scan.tokens[at].text, start=scan.begin(at), end=scan.close(at + 1)), at + 1
    if stop := _stranger(scan, at):
        named = (
            stop < end
            and _name_word(scan, stop)
            and (scan.tokens[stop].capital or scan.low(stop + 1) in ("to", "that"))
        )
        if named and scan.low(at) == "my":
            return _person(scan, stop, end)
        return Person(unknown=scan.typed(at, stop), start=scan.begin(at), end=scan.close(stop)), stop
    stop = at
    while stop < end and stop - at < 4 and _name_word(scan, stop) and (stop == at or scan.tokens[stop].capital):
        stop += 1
    if stop == at or read_when(scan, at):
        return None
    return Person(name=scan.typed(at, stop), start=scan.begin(at), end=scan.close(stop)), stop


def _name_word(scan: Scan, at: int) -> bool:
    word = scan.low(at)
    contracted = word.partition("'")[0] in _PRONOUNS and "'" in word
    return scan.kind(at) is Kind.WORD and word not in _NO_NAME and len(word) > 1 and not contracted


def _stranger(scan: Scan, at: int) -> int | None:
    """Parse `me`, `my team`, `everyone`: words that are not a name in an address book."""
    if scan.low(at) in _MANY:
        return at + 1
    if scan.low(at + 1) in _KIN and scan.low(at) in ("my", "the", "our"):
        return at + 2
    return at + 2 if scan.low(at) in ("my", "our") and scan.kind(at + 1) is Kind.WORD else None
