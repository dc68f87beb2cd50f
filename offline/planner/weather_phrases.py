"""Phrases about the weather."""

from datetime import date, timedelta

from offline.planner.dates import Days, long_day
from offline.planner.draft import Draft, Gives
from offline.planner.outcomes import Ask, Doubt, Refuse
from offline.planner.patterns import Match
from offline.planner.rules import Rule
from offline.planner.slots import Place
from offline.planner.when import FORECAST_DAYS, When

_NOUN = "(weather [forecast|report]|forecast|weather conditions|temperature|temperatures)"
_WHERE = "(in|for|at|near) <places>"
_GET = "(show|give|get|tell) [me]|check|find out|look up|find|fetch|what is|what's|whats|how is|how's|i need|i want"
_IS = "(will|is|does|do|can|could)"
_SKY = (
    "(rain|snow|storm|thunder|freeze|rainy|sunny|cloudy|windy|cold|warm|hot|dry|wet|raining|snowing|stormy|nice|foggy|"
    "nice weather|a nice day)"
)
_SUN = "(sunrise|sunset|sun rise|sun set|dawn|dusk|sunrise and sunset)"
FORECAST_NOUN = f"[the] [<when>] {_NOUN} [<when>] {_WHERE} [<when>]"


def forecast(match: Match, draft: Draft) -> None:
    """Plan the weather of the named days, or the weather now where no day is named."""
    draft.require("weather.forecast")
    when = match.when.sure()
    for place in _places(match):
        if when.empty and "forecast" not in match.words.casefold():
            _now(place, draft)
        else:
            _days(place, when, match, draft)


def coming(match: Match, draft: Draft) -> None:
    """Plan the weather of the named days; without a day, ask."""
    draft.require("weather.forecast")
    when = match.when.sure()
    for place in _places(match):
        _days(place, when, match, draft)


def now(match: Match, draft: Draft) -> None:
    """Plan the weather at this moment."""
    for place in _places(match):
        _now(place, draft)


def sun(match: Match, draft: Draft) -> None:
    """Plan the sun times of one day; without a day, of today."""
    draft.require("weather.sun")
    when = match.when.sure()
    for place in _places(match):
        day = when.days.first if when.days else match.scan.today
        if when.rule or (when.days and when.days.first != when.days.last):
            raise Ask(Doubt("For which day?", match.ending, match.ending), template=" {}")
        step = draft.add("weather.sun", {"place": place.name, "date": day.isoformat()}, f"the sun in {place.name}")
        draft.note(step, Gives.FORECAST, f"the sun times for {place.name}, {long_day(day)}")


def _places(match: Match) -> tuple[Place, ...]:
    found: tuple[Place, ...] = match.get("places", tuple) or ()
    doubtful = [place for place in found if place.region_at]
    if doubtful and len(found) > 1:
        raise Ask(doubtful[0].alone())
    if not found:
        raise Ask(Doubt("For which place?", match.ending, match.ending), template=" in {}")
    return found


def _now(place: Place, draft: Draft) -> None:
    step = draft.add("weather.current", {"place": place.name}, f"the weather in {place.name} now")
    draft.note(step, Gives.FORECAST, f"the weather in {place.name}")


def _days(place: Place, when: When, match: Match, draft: Draft) -> None:
    days = _span(when, match)
    args = {"place": place.name, "start": days.first.isoformat(), "end": days.last.isoformat()}
    label = f"{place.name}, {span_name(days.first, days.last)}"
    why = f"the weather in {label}"
    if when.part or when.clock:
        why += "; a forecast is for whole days"
    draft.note(draft.add("weather.forecast", args, why), Gives.FORECAST, f"the weather forecast for {label}")


def span_name(first: date, last: date) -> str:
    """One day or several in words."""
    return long_day(first) if first == last else f"{long_day(first)} to {long_day(last)}"


def _span(when: When, match: Match) -> Days:
    days = when.days
    if days is None and when.instant:
        days = Days(when.instant.date(), when.instant.date(), 0, 0)
    if days is None:
        raise Ask(Doubt("For which day or days?", match.ending, match.ending), template=" {}")
    today = match.scan.today
    if days.last < today:
        raise Refuse("I can't look up past weather: forecasts begin today.")
    if days.last > today + timedelta(days=FORECAST_DAYS) or when.rule:
        limit = long_day(today + timedelta(days=FORECAST_DAYS))
        raise Refuse(f"I can't look that far ahead: forecasts reach at most {FORECAST_DAYS} days, to {limit}.")
    return days


RULES = (
    Rule(
        (
            f"(when is|what time is|when's) [the] {_SUN} [<when>] [{_WHERE}] [<when>]",
            f"[{_GET}] [the] [time|times] [of] [the] {_SUN} [time|times] [<when>] [{_WHERE}] [<when>]",
            f"(when|what time) (does|will) the sun (rise|set|come up|go down) [<when>] [{_WHERE}] [<when>]",
        ),
        sun,
    ),
    Rule(
        (
            f"[{_GET}] [the] [<when>] {_NOUN} [going to be|like] [<when>] [{_WHERE}] [<when>]",
            (
                f"(what is|what's|whats|how is|how's) [the] weather (like|be|be like|going to be|going to be like) [<when>] "
                f"[{_WHERE}] [<when>]"
            ),
            f"(what|how) (will|is) the weather [be|be like|like|going to be|going to be like] [<when>] [{_WHERE}] [<when>]",
            f"(what|how) is [the] (weather|forecast) looking [like] [<when>] [{_WHERE}] [<when>]",
            f"(what does|how does) the (weather|forecast) look [like] [<when>] [{_WHERE}] [<when>]",
            f"[{_GET}] [the] <when> {_NOUN} [{_WHERE}]",
        ),
        forecast,
    ),
    Rule(
        (
            f"is it [currently|now] {_SKY} [now|right now|currently] {_WHERE} [now|right now|currently]",
            f"how (hot|cold|warm|windy) is it [now|right now] {_WHERE} [now|right now]",
            (
                f"[{_GET}] [the] [current] {_NOUN} [right now|now|currently|like|like now] {_WHERE} [now|right now|currently|"
                "at the moment]"
            ),
        ),
        now,
    ),
    Rule(
        (
            f"{_IS} it [going to] [be] {_SKY} [<when>] [{_WHERE}] [<when>]",
            f"(how) (hot|cold|warm|windy) (will it be|is it going to be) [<when>] [{_WHERE}] [<when>]",
            (
                f"(do i need|will i need|should i take|should i bring) (an umbrella|a coat|sunglasses|a jacket) [<when>] "
                f"[{_WHERE}] [<when>]"
            ),
        ),
        coming,
    ),
)
