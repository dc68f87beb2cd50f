"""Reads requests about the weather and the sun: places and days."""

from offline.planner import (
    weather_steps,
)
from offline.planner.match import Values
from offline.planner.scan import Scan, phrases
from offline.planner.sift import Build, Reading, sift
from offline.planner.weather_steps import Place
from offline.planner.when import read_when

_SKY = frozenset(
    phrases(
        "what|what's|whats|when|when's|which|how|how's|hows|is|are|was|does|do|did|i|i'm|my|me|the|a|an|of|on|it|it's|its|be|"
        "will|would|there|any|some|give|show|tell|get|check|find|look|up|out|want|need|know|like|looking|can|could|you|"
        "please|if|whether|that|this|going|gonna|supposed|expected|weather|wether|wheather|forecast|forecasts|report|"
        "temperature|temperatures|temp|degrees|rain|rainy|raining|rains|rainfall|snow|snowy|snowing|storm|storms|stormy|"
        "thunder|freeze|freezing|sunny|sun|sunshine|cloud|clouds|cloudy|cold|colder|warm|warmer|hot|hotter|dry|wet|windy|"
        "wind|nice|fog|foggy|mist|ice|icy|hail|humid|humidity|high|highest|low|lowest|maximum|minimum|chance|chances|"
        "conditions|condition|take|bring|wear|pack|umbrella|coat|jacket|sunglasses|scarf|boots|rubber|sunscreen|raincoat|"
        "outside|out|outdoors|here|now|right|currently|current|moment|today's|tomorrow's|should|have|has|we|getting|to|and|"
        "or|beach|stop|sunrise|sunset|sun|dawn|dusk|rise|set|come|go|down|time|times|light|dark|day|long|get|enough|too|"
        "very|really|so|off|with|update|details|info|information|today|hey|hi|ok|also|then|much|many|home|area|city|town"
    )
)
_WHERE = ("in", "near", "around", "at", "over", "of", "for", "neighboring", "close to", "outside")
_NOWHERE = frozenset(phrases("a|an|my|our|here|the area|me|us|this|that|there|outside|general|it|walk|run|swim|picnic"))


def _weather(scan: Scan, start: int, end: int) -> tuple[Build, Values]:
    sifted = sift(scan, start, end)
    words = {scan.low(at) for at in range(start, end)}
    soon = bool(words & {"will", "going", "gonna", "supposed", "umbrella", "forecast", "need", "jacket", "coat"})
    here = bool(words & {"now", "currently", "current", "moment"}) and sifted.when.empty
    build = weather_steps.now if here else weather_steps.coming if soon else weather_steps.forecast
    return build, [("when", sifted.when), *_places(scan, start, end)]


def _sun(scan: Scan, start: int, end: int) -> tuple[Build, Values]:
    return weather_steps.sun, [("when", sift(scan, start, end).when), *_places(scan, start, end)]


def _places(scan: Scan, start: int, end: int) -> Values:
    inside = scan.until(end)
    for word in _WHERE:
        for at in range(start, end):
            after = inside.phrase(at, word)
            if after and read_when(inside, at) is None and (found := _named_places(inside, after, end)):
                return [("places", found)]
    sifted = sift(scan, start, end)
    runs = [kept for run in sifted.runs if (kept := [at for at in run if inside.low(at) not in _SKY])]
    if len(runs) == 1 and runs[0][-1] - runs[0][0] < 6:
        return [("places", (_place(inside, runs[0][0], runs[0][-1] + 1),))]
    return [("places", tuple(Place(text) for text in sifted.quoted))] if sifted.quoted else []


def _named_places(scan: Scan, start: int, end: int) -> tuple[Place, ...]:
    """The places from here up to a time, a mark, or a word that belongs to the question."""
    at = scan.skip(start, "the")
    if scan.low(at) in _NOWHERE or read_when(scan, start):
        return ()
    stop = at
    while stop < end and scan.low(stop) not in _SKY - {"and", "of", "the", "city", "home", "high", "nice"}:
        if scan.low(stop) in ("?", "!", ";", ".", ":") and scan.low(stop - 1) not in ("st", "mt", "ft"):
            break
        if read_when(scan, stop) or stop - at > 12:
            break
        stop += 1
    return tuple(_divided(scan, at, stop))


def _divided(scan: Scan, start: int, end: int) -> list[Place]:
    """`Rome and Paris` are two places where both are written like names; a comma may lead to the region."""
    while end > start and scan.low(end - 1) in (",", "and", "on", "for", "at"):
        end -= 1
    if end <= start:
        return []
    for at in range(start + 1, end - 1):
        if scan.low(at) == "and" and (scan.tokens[at + 1].capital or not scan.tokens[start].capital):
            return [*_divided(scan, start, at), *_divided(scan, at + 1, end)]
    return [_place(scan, start, end)]


def _place(scan: Scan, start: int, end: int) -> Place:
    name = scan.tokens[start].value if end == start + 1 else scan.typed(start, end)
    comma = next((at for at in range(start, end) if scan.low(at) == ","), None)
    region = scan.begin(comma) - scan.begin(start) if comma is not None else 0
    return Place(name, scan.begin(start), scan.close(end), region)


READINGS: dict[str, Reading] = {
    "weather.forecast": _weather,
    "weather.sun": _sun,
}
