"""Tasks and reminders that repeat: their first time and the next ones, on the wall clock of their zone. Pure."""

from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo

from activities.tasks.models import StoredTask
from retinue.errors import InvalidArguments
from retinue.recurrence import Series, check_series, next_start, normalised
from retinue.zones import zone_of


def begin_series(task: StoredTask, rule: str, zone: str | None) -> None:
    """Let a task repeat from its date, time or reminder on.

    Raises:
        InvalidArguments: The zone is unknown, or the rule does not hold at that time.
    """
    task.repeats, task.timezone, task.repeats_from = normalised(rule), zone, _time_of(task)
    check_series(_series(task))


def next_time(task: StoredTask, now: datetime) -> datetime | None:
    """Return the first time of the series after its present one and after `now`; None if it is over."""
    if task.due_on is not None:
        now = _midnight(now.astimezone(_zone(task)).date())
    return next_start(_series(task), max(_time_of(task), now))


def set_time(task: StoredTask, moment: datetime) -> None:
    """Give a task another time of its series; a reminder needs another timer then."""
    if task.remind_at is not None:
        task.remind_at, task.timer = moment, task.timer + 1
    elif task.due_at is not None:
        task.due_at = moment
    else:
        task.due_on = moment.date()


def _series(task: StoredTask) -> Series:
    start = task.repeats_from or _time_of(task)
    zone = UTC if task.due_on is not None else _zone(task)
    return Series(start=start, end=start, zone=zone, rule=task.repeats or "")


def _time_of(task: StoredTask) -> datetime:
    if task.due_on is not None:
        return _midnight(task.due_on)
    moment = task.remind_at or task.due_at
    if moment is None:
        raise InvalidArguments("a task that repeats needs a date or a time")
    return moment.astimezone(UTC)


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def _zone(task: StoredTask) -> tzinfo:
    return zone_of(task.timezone) if task.timezone else timezone(timedelta(seconds=task.offset))
