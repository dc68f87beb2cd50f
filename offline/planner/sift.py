"""Takes the values out of a clause and leaves the words that are none: what all readings share."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from offline.planner.draft import Draft
from offline.planner.match import Match, Values
from offline.planner.scan import Scan, phrases
from offline.planner.tokens import Kind
from offline.planner.when import When, read_when

Build = Callable[[Match, Draft], None]
Reading = Callable[[Scan, int, int], "tuple[Build, Values]"]
MANNERS = frozenset(
    phrases(
        "please|pls|can|could|would|will|you|i|i'd|i'll|i'm|we|need|needs|want|wanna|like|to|have|has|got|kindly|hey|hi|ok|"
        "okay|just|also|let's|lets|let|now|must|should|help|me|us|go|ahead|and|then|a|an|the|my|our|new|another|some|so"
    )
)
ARTICLES = frozenset(phrases("a|an|the|my|our|new|another|some|me|us|this|that|these|those|your"))


@dataclass
class Sifted:
    """What a clause holds: its times, its quoted text, addresses and pages, and the rest in runs of tokens."""

    scan: Scan
    when: When
    runs: list[list[int]]
    quoted: list[str]
    addresses: list[str]
    urls: list[str]

    def left(self, without: frozenset[str]) -> str:
        """The words that remain without some, in order."""
        return " ".join(
            self.scan.tokens[at].text for run in self.runs for at in run if self.scan.low(at) not in without
        )

    def texts(self) -> list[str]:
        """The runs as they were typed."""
        return [self.scan.typed(run[0], run[-1] + 1) for run in self.runs]


def sift(scan: Scan, start: int, end: int, *, times: bool = True) -> Sifted:
    """Take the values out of a clause."""
    inside, at, broken = scan.until(end), start, True
    found = Sifted(inside, When(inside, place=inside.begin(start)), [], [], [], [])
    while at < end:
        read = read_when(inside, at, repeated=found.when.rule is not None) if times else None
        if read:
            found.when, at, broken = found.when.merged(read[0]), read[1], True
            continue
        kept = _value(inside, at, found)
        if kept:
            broken = True
        else:
            if broken:
                found.runs.append([])
            found.runs[-1].append(at)
            broken = False
        at += 1
    return found


def _value(scan: Scan, at: int, found: Sifted) -> bool:
    token = scan.tokens[at]
    lists = {Kind.QUOTED: found.quoted, Kind.ADDRESS: found.addresses, Kind.URL: found.urls}
    if token.kind in lists:
        lists[token.kind].append(token.value)
    return token.kind in lists or token.low in (",", ";", "?", "!", ".", ":")


def skip_words(scan: Scan, at: int, end: int, words: frozenset[str]) -> int:
    """The place behind all such words that stand here in a row."""
    while at < end and (scan.low(at) in words or scan.low(at) in (",", ":", ";")):
        at += 1
    return at


def behind(scan: Scan, start: int, end: int, leads: Sequence[str]) -> int:
    """The place behind manners and one of the leads; behind nothing where no lead follows."""
    inside = scan.until(end)
    at = skip_words(inside, start, end, MANNERS)
    for begin in dict.fromkeys((start, *range(start, at + 1))):
        if found := inside.phrase(begin, *leads):
            return found
    return start
