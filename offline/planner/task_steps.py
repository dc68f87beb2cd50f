"""Phrases about the to-do list and reminders."""

from offline.planner.dates import day_start
from offline.planner.draft import Draft, Gives, Json, reference
from offline.planner.match import Match
from offline.planner.outcomes import Ask, Doubt, Refuse
from offline.planner.scan import Scan
from offline.planner.when import When, occasion, one_day, read_when

_VAGUE = {"it", "this", "that", "them", "one", "something"}
_BACK = {"it", "this", "that", "them"}
_MANY = {"all", "every", "everything", "both", "each", "tasks", "todos", "to-dos", "reminders"}


def remind(match: Match, draft: Draft) -> None:
    """Plan a reminder at a time."""
    draft.require("tasks.remind")
    title = match.get("words", str)
    if title and title.casefold() in _BACK:
        before = draft.last(Gives.EVENT, Gives.TASKS)
        title = before[-1].label.removeprefix("the event ").strip('"') if before else ""
    if not title:
        raise Ask(Doubt("Of what shall I remind you?", match.ending, match.ending), template=" to {}")
    title = title.removeprefix("to ")  # an answer may bring a second one
    _check_title(title, match)
    if match.when.minutes is not None or match.when.all_day:
        raise Refuse("A reminder has one moment and no length; name one day and time.")
    args: dict[str, Json] = {"title": title}
    if match.when.rule:
        args |= _repeats(match, draft, "tasks.remind", "at")
    else:
        args["at"] = occasion(match.when.next_time(), match.ending).start.isoformat()
    draft.note(draft.add("tasks.remind", args, "reminds at that time"), Gives.TASKS, title)


def _repeats(match: Match, draft: Draft, tool: str, first: str) -> dict[str, Json]:
    """The first time and the rule of what repeats."""
    if not draft.argument(tool, "repeats"):
        raise Refuse("I can't repeat that; name one day and time.")
    happens = occasion(match.when, match.ending)
    return {first: happens.start.isoformat(), "repeats": happens.recurrence, "timezone": match.scan.zone.key}


def _on_list(match: Match, draft: Draft, tool: str) -> dict[str, Json]:
    """The list that is named, if it is not the to-do list."""
    name = match.get("list", str)
    if name and not draft.argument(tool, "list"):
        raise Refuse(f'I keep one to-do list, and no list "{name}".')
    return {"list": name.casefold()} if name else {}


def show_lists(match: Match, draft: Draft) -> None:
    """Plan to name the lists."""
    del match
    draft.add("tasks.lists", {}, "names the lists")


def delete_many(match: Match, draft: Draft) -> None:
    """Plan to delete all tasks of a list; the person sees each before."""
    draft.require("tasks.delete_many")
    named = _on_list(match, draft, "tasks.list") or {"list": "to-do"}
    found = draft.add("tasks.list", named, "finds the tasks of that list")
    draft.add("tasks.delete_many", {"task_ids": reference(found, "/task_ids")}, "deletes all that were found")


def delete_list(match: Match, draft: Draft) -> None:
    """Plan to delete a list that is named."""
    draft.require("tasks.delete_list")
    name = match.get("list", str)
    if not name:
        raise Refuse("I can't delete your to-do list as a whole.")
    draft.add("tasks.delete_list", {"list": name.casefold()}, "deletes that list")


def add_task(match: Match, draft: Draft) -> None:
    """Plan a task, due at a time where one is named."""
    draft.require("tasks.add")
    title = match.get("words", str)
    if not title:
        raise Ask(Doubt("What is the task?", match.ending, match.ending), template=' called "{}"')
    _check_title(title, match)
    args: dict[str, Json] = {"title": title, **_on_list(match, draft, "tasks.add")}
    if match.when.rule:
        args |= _repeats(match, draft, "tasks.add", "due")
    elif not match.when.empty:
        args["due"] = _due(match, draft)
    draft.note(draft.add("tasks.add", args, "notes the task"), Gives.TASKS, title)


def _check_title(title: str, match: Match) -> None:
    """A title without quotes must not hold a time, which would be lost in it."""
    scan = match.scan
    start = scan.text.find(title, scan.begin(match.start))
    quoted = scan.text[start - 1 : start] in ("'", '"')
    words = Scan.of(title, scan.now, scan.zone)
    if not quoted and any(read_when(words, at) for at in range(words.size)):
        question = f'"{title}" holds a time. If all of it is the title, write it in quotes; what is the title?'
        raise Ask(Doubt(question, start, start + len(title)))


def _due(match: Match, draft: Draft) -> str:
    """A day where only a day is named and the tool takes one, else a moment; the tool's schema says which."""
    when = match.when.sure()
    if when.minutes is not None or when.all_day:
        raise Refuse("A task has a due time and no length; name one day, or one day and time.")
    exact = when.clock or when.instant or when.bounds
    takes_dates = "'format': 'date'" in str(draft.argument("tasks.add", "due"))
    if exact or not takes_dates:
        return occasion(when, match.ending).start.isoformat()
    day = one_day(when)  # a part of the day is none of the clock: the task is due on that day
    if day < match.scan.today:
        raise Ask(Doubt(f"{day.isoformat()} is past. When is it due?", *_place(when)))
    return day.isoformat()


def _place(when: When) -> tuple[int, int]:
    return (when.days.start, when.days.end) if when.days else (0, 0)


def show_tasks(match: Match, draft: Draft) -> None:
    """Plan a list of the open tasks."""
    args = _on_list(match, draft, "tasks.list")
    draft.note(draft.add("tasks.list", args, "lists the tasks"), Gives.TASKS, "my tasks")


def show_all(match: Match, draft: Draft) -> None:
    """Plan a list that holds the done tasks too."""
    del match
    step = draft.add("tasks.list", {"include_done": True}, "lists the tasks, done ones too")
    draft.note(step, Gives.TASKS, "all my tasks")


def show_due(match: Match, draft: Draft) -> None:
    """Plan a list of tasks due by the end of a day."""
    draft.require("tasks.list")
    when = match.when.sure()
    if when.days is None or when != When(when.scan, days=when.days, place=when.place):
        raise Refuse("I can list tasks by the day until which they are due; name one day, without a time.")
    day = one_day(when)
    end = day_start(day.fromordinal(day.toordinal() + 1), when.scan).isoformat()
    step = draft.add("tasks.list", {"due_before": end}, "lists the tasks that are due by then")
    draft.note(step, Gives.TASKS, "my tasks")


def complete(match: Match, draft: Draft) -> None:
    """Plan to close a task."""
    _change(match, draft, "tasks.complete", "closes the task that was found")


def reopen(match: Match, draft: Draft) -> None:
    """Plan to open a done task again."""
    _change(match, draft, "tasks.reopen", "opens the task that was found", include_done=True)


def delete(match: Match, draft: Draft) -> None:
    """Plan to delete a task."""
    _change(match, draft, "tasks.delete", "deletes the task that was found")


def cancel_reminder(match: Match, draft: Draft) -> None:
    """Plan to cancel the reminder of a task."""
    _change(match, draft, "tasks.cancel_reminder", "cancels the reminder that was found", noun="reminder", lead=" to")


def _change(
    match: Match, draft: Draft, tool: str, why: str, *, noun: str = "task", lead: str = "", **wish: Json
) -> None:
    """Look for the one task of that title, where the list can be searched by it, and change that one."""
    draft.require(tool)
    if draft.argument("tasks.list", "query") is None or not draft.result_field("tasks.list", "match"):
        raise Refuse("I can't change a task by its title, since the tasks agent cannot search its list.")
    title = match.get("words", str) or ""
    words = set(title.casefold().split())
    if {*title.casefold().split()[:1]} & _MANY or words & {"tasks", "todos", "reminders"}:
        raise Refuse(f"I can change only one {noun} at a time, named by its title.")
    if not title or words <= _VAGUE:
        raise Ask(Doubt(f"Which {noun} do you mean?", match.ending, match.ending), template=f"{lead} {{}}")
    found = draft.add(
        "tasks.list",
        {"query": title, **wish, **_on_list(match, draft, "tasks.list")},
        f"finds the {noun}; it must be exactly one",
    )
    step = draft.add(tool, {"task_id": reference(found, "/match/task_id")}, why)
    draft.note(step, Gives.TASKS, title)


def refuse_many(match: Match, draft: Draft) -> None:
    """Whole lists are not changed at once."""
    del match, draft
    raise Refuse("I can change only one task at a time, named by its title.")
