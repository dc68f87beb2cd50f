"""Phrases about the weather."""

from dataclasses import dataclass
from datetime import date, timedelta

from offline.planner.dates import Days, long_day
from offline.planner.draft import Draft, Gives
from offline.planner.match import Match
from offline.planner.memory_steps import HOME
from offline.planner.outcomes import Ask, Doubt, Refuse
from offline.planner.when import FORECAST_DAYS, When

_SOON = 3


@dataclass(frozen=True, slots=True)
class Place:
    """A town, as typed; `region_at` is where in its name a comma separates what may be its country or a second town."""

    name: str
    start: int = 0
    end: int = 0
    region_at: int = 0

    def alone(self) -> Doubt:
        """The question whether `Rome, Paris` is one place or two."""
        first, second = self.name[: self.region_at].strip(), self.name[self.region_at + 1 :].strip()
        question = f'Is "{self.name}" one place with its region, or two places?'
        choices = (("one place", f'"{self.name}"'), ("two places", f"{first} and {second}"))
        return Doubt(question, self.start, self.end, choices)


def forecast(match: Match, draft: Draft) -> None:
    """Plan the weather of the named days, or the weather now where no day is named."""
    draft.require("weather.forecast")
    when = match.when.sure()
    for place in _places(match, draft):
        if when.empty and "forecast" in match.words.casefold():
            _days(place, when.coming(_SOON), match, draft)
        elif when.empty:
            _now(place, draft)
        else:
            _days(place, when, match, draft)


def coming(match: Match, draft: Draft) -> None:
    """Plan the weather of the named days; without a day, of today."""
    draft.require("weather.forecast")
    when = match.when.sure()
    when = when.today() if when.days is None and when.instant is None else when
    for place in _places(match, draft):
        _days(place, when, match, draft)


def now(match: Match, draft: Draft) -> None:
    """Plan the weather at this moment."""
    for place in _places(match, draft):
        _now(place, draft)


def sun(match: Match, draft: Draft) -> None:
    """Plan the sun times of one day; without a day, of today."""
    draft.require("weather.sun")
    when = match.when.sure()
    for place in _places(match, draft):
        day = when.days.first if when.days else match.scan.today
        if when.rule or (when.days and when.days.first != when.days.last):
            raise Ask(Doubt("For which day?", match.ending, match.ending), template=" {}")
        step = draft.add("weather.sun", {"place": place.name, "date": day.isoformat()}, f"the sun in {place.name}")
        draft.note(step, Gives.FORECAST, f"the sun times for {place.name}, {long_day(day)}")


def _places(match: Match, draft: Draft) -> tuple[Place, ...]:
    typed: tuple[Place, ...] = match.get("places", tuple) or (Place("home"),)
    doubtful = [place for place in typed if place.region_at]
    if doubtful and len(typed) > 1:
        raise Ask(doubtful[0].alone())
    home = Place(draft.facts.get(HOME) or "")
    found = tuple(home if place.name.lower() == "home" else place for place in typed)
    if not all(place.name for place in found):
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
