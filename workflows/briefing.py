"""The morning briefing: the example of a plan in code, in which an engineer and no model decides the steps.

Typed calls read four capabilities concurrently; one text is written from their results. A source that fails costs one
sentence, not the briefing. `docs/plans-in-code.md` explains it line by line.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from datetime import date
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field
from temporalio import workflow

from activities.calendar.contract import Calendar, ListEvents, ListEventsResult
from activities.email.contract import Email, SearchMail, SearchMailResult
from activities.reasoning.contract import ComposeRequest, Reasoning
from activities.tasks.contract import ListTasks, ListTasksResult, Tasks
from activities.weather.contract import Forecast, ForecastRequest, Weather
from retinue.json_values import cut
from retinue.times import local, on_the_calendar, whole_day
from workflows.run.code_plan import CodePlanRun, StepFailed, patient

TITLE = "Morning briefing"
INSTRUCTION = (
    "Write a short, friendly morning briefing: the weather first, then the events in their order, then which unread "
    "mails and which open tasks there are, all times on the person's clock. No greeting, no advice."
)
MAX_MAILS = 10
MAX_BYTES = 64 * 1024
"""The most that goes to the model, of all sources together."""
_TOLD: dict[str, Any] = {
    "weather": True,
    "calendar": {"events": {"__all__": {"title", "start", "end", "location"}}, "truncated": True},
    "mail": {"messages": {"__all__": {"sender", "from_name", "subject", "date"}}},
    "tasks": {"tasks": {"__all__": {"title", "due"}}, "truncated": True},
}
"""The fields that the model reads: no ids, no texts of mails."""
Argument = TypeVar("Argument", bound=BaseModel)
Result = TypeVar("Result", bound=BaseModel)


class BriefingArgs(BaseModel):
    """Arguments of a briefing."""

    model_config = ConfigDict(extra="forbid")

    place: str | None = Field(
        None, min_length=1, max_length=120, description="town for the weather; without it there is none"
    )
    day: date | None = Field(None, description="today by default")


class StartBriefing(BriefingArgs):
    """Input of `BriefingWorkflow`."""

    model_config = ConfigDict(extra="ignore")

    timezone: str = "UTC"
    owner: str = "local"


class Findings(BaseModel):
    """The capabilities' results; None if not requested or not readable."""

    weather: Forecast | None
    calendar: ListEventsResult | None
    mail: SearchMailResult | None
    tasks: ListTasksResult | None


@workflow.defn(name="BriefingWorkflow")
class BriefingWorkflow:
    """Weather, the day's events, unread mail and open tasks in one text. It only reads, so it needs no approval."""

    @workflow.init
    def __init__(self, start: StartBriefing) -> None:
        self._start = start
        self._day = start.day or local(on_the_calendar(workflow.now()), start.timezone).date()
        self._course = CodePlanRun(TITLE, owner=start.owner)
        self._missing: dict[str, str] = {}

    @workflow.run
    async def run(self, start: StartBriefing) -> dict[str, Any]:
        """Write the briefing. Returns the view that every run has."""
        return await self._course.finish(self._briefing())

    @workflow.query
    def view(self) -> dict[str, Any]:
        """Return the briefing as people see it, in the shape of every other run."""
        return self._course.view().model_dump(mode="json")

    async def _briefing(self) -> str:
        weather, events, mail, tasks = await asyncio.gather(
            self._weather(),
            self._events(),
            self._mail(),
            self._read("tasks", Tasks.list, ListTasks()),
        )
        text = await self._written(Findings(weather=weather, calendar=events, mail=mail, tasks=tasks))
        return "\n\n".join([text, *(self._missing[name] for name in _TOLD if name in self._missing)]).strip()

    async def _weather(self) -> Forecast | None:
        if self._start.place is None:
            return None
        wish = ForecastRequest(place=self._start.place, start=self._day, end=self._day)
        return await self._read("weather", Weather.forecast, wish)

    async def _events(self) -> ListEventsResult | None:
        """Return the events from midnight to midnight in the person's time zone."""
        midnight, next_midnight = whole_day(self._day, self._start.timezone)
        found = await self._read("calendar", Calendar.list_events, ListEvents(start=midnight, end=next_midnight))
        if found is None:
            return None
        events = [self._on_their_clock(event, "start", "end") for event in found.events]
        return found.model_copy(update={"events": events})

    async def _mail(self) -> SearchMailResult | None:
        found = await self._read("mail", Email.search, SearchMail(unread=True, limit=MAX_MAILS))
        return found and SearchMailResult(messages=[self._on_their_clock(mail, "date") for mail in found.messages])

    def _on_their_clock(self, item: Result, *fields: str) -> Result:
        return item.model_copy(update={name: local(getattr(item, name), self._start.timezone) for name in fields})

    async def _read(
        self, what: str, tool: Callable[[Any, Argument], Awaitable[Result]], argument: Argument
    ) -> Result | None:
        """Read one source; None if it fails, with a sentence for the briefing."""
        try:
            return await self._course.call(what, tool, argument, options=patient(tool, attempts=3))
        except StepFailed as failed:
            self._missing[what] = f"{what} could not be read: {failed.message}"
            return None

    async def _written(self, findings: Findings) -> str:
        """Return the text. Strangers' words enter only here, where the model can do nothing but write."""
        inputs = findings.model_dump(mode="json", by_alias=True, exclude_none=True, include=_TOLD)
        if not inputs:
            return ""
        wish = ComposeRequest(
            instruction=f"{INSTRUCTION} It is {self._day:%A, %d %B %Y} in {self._start.timezone}.",
            inputs=cut(inputs, MAX_BYTES),
        )
        try:
            return (await self._course.call("briefing", Reasoning.compose, wish, after=list(inputs))).text
        except StepFailed as failed:
            self._course.notice(f"the language model could not write the briefing: {failed.message}")
            return "\n".join(_plain(findings))


def _plain(findings: Findings) -> Iterator[str]:
    """Yield the briefing line by line, without a language model."""
    if weather := findings.weather:
        days = [f"{day.summary}, {day.temperature_min_c:g} to {day.temperature_max_c:g} °C" for day in weather.days]
        yield " ".join([f"Weather in {weather.place}:", *days, weather.notice or ""]).strip()
    if findings.calendar:
        yield from _list("Events", [f"{event.start:%H:%M} {event.title}" for event in findings.calendar.events])
    if findings.mail:
        yield from _list("Unread mail", [f"{mail.sender}: {mail.subject}" for mail in findings.mail.messages])
    if findings.tasks:
        yield from _list("Open tasks", [task.title for task in findings.tasks.tasks])


def _list(heading: str, lines: list[str]) -> list[str]:
    return [f"{heading}:", *(f"- {line}" for line in lines)] if lines else [f"{heading}: none"]
