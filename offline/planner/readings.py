"""Reads the values of a request whose intent is known: times, people, places and titles, anywhere in the sentence.

A reading takes what the readers of values recognise out of a clause, drops the words that only carry the request ("can you
put ... in my calendar"), and takes what remains as the title, the name, the place or the words to look for. It decides
nothing about effects: the functions that build steps do, and ask where something is missing or doubtful.
"""

import re

from offline.planner import (
    calendar_readings,
    contact_readings,
    mail_readings,
    mail_steps,
    meeting_steps,
    other_steps,
    task_readings,
    weather_readings,
)
from offline.planner.letters import read_letter
from offline.planner.match import Match, Values
from offline.planner.outcomes import Unread
from offline.planner.referents import put_away, puts_away_known
from offline.planner.scan import Scan
from offline.planner.sift import Build, Reading, sift


def _page(scan: Scan, start: int, end: int) -> tuple[Build, Values]:
    sifted = sift(scan, start, end, times=False)
    if not sifted.urls:
        raise Unread(scan.typed(start, end))
    url = sifted.urls[0]
    return other_steps.fetch, [("url", url if "://" in url else f"https://{url}")]


_CONFIRM = re.compile(
    r"confirm( it| that| this| the meeting)? (to|with) (its|the) (sender|writer|author)"
    r"|(confirm|answer|reply) to (its|the) (sender|writer|author)|(tell|let) (its|the) (sender|writer|author)( know)?"
    r"|send (its|the) (sender|writer|author) a confirmation|send a confirmation to (its|the) (sender|writer|author)"
)


def special(scan: Scan, start: int, end: int) -> Build | None:
    """What clauses mean that only stand for something before them."""
    if puts_away_known(scan, start, end):
        return put_away
    return meeting_steps.confirm if _CONFIRM.fullmatch(scan.typed(start, end).casefold()) else None


def _meeting(scan: Scan, start: int, end: int) -> tuple[Build, Values]:
    del scan, start, end
    return meeting_steps.enter, []


def _help(scan: Scan, start: int, end: int) -> tuple[Build, Values]:
    del scan, start, end
    return other_steps.abilities, []


def _letter(build: Build) -> Reading:
    def read(scan: Scan, start: int, end: int) -> tuple[Build, Values]:
        return build, [_asked(scan, value) for value in read_letter(scan, start, end)]

    return read


def _asked(scan: Scan, value: tuple[str, object]) -> tuple[str, object]:
    """Data that the clause itself asks for, read as a request of its own."""
    if value[0] != "asked" or not isinstance(value[1], tuple):
        return value
    start, end, intent = value[1]
    build, values = READINGS[intent](scan.until(end), start, end)
    return "thing", mail_steps.Thing(Match(scan, start, end, tuple(values)), build)


READINGS: dict[str, Reading] = {
    **calendar_readings.READINGS,
    **weather_readings.READINGS,
    **contact_readings.READINGS,
    **task_readings.READINGS,
    **mail_readings.READINGS,
    "email.send": _letter(mail_steps.send),
    "email.draft": _letter(mail_steps.save_draft),
    "meeting.enter": _meeting,
    "web.fetch": _page,
    "help": _help,
}
