"""Writes the final answer of a run from the reports of its steps."""

from collections.abc import Callable, Mapping, Sequence
from datetime import tzinfo
from typing import Any

from offline.wording import shapes
from offline.wording.times import span_text, time_text, zone_of

Report = Mapping[str, Any]
_REJECTED = "you rejected it"
"""Beginning of the reason of a rejection by the person; a comment follows after a colon."""
_DOING = {
    "calendar.create_event": "creating the event",
    "calendar.list_events": "looking up the events",
    "calendar.find_free_time": "looking for free time",
    "calendar.update_event": "changing the event",
    "calendar.delete_event": "deleting the event",
    "calendar.move_event": "moving the event",
    "calendar.delete_events": "deleting the events",
    "calendar.write_invitation": "writing the invitation",
    "calendar.add_invitation": "entering the event",
    "calendar.update_from_invitation": "changing the event",
    "email.send": "sending the mail",
    "email.search": "searching the mail",
    "email.read": "reading the mail",
    "email.draft": "saving the draft",
    "email.archive": "archiving the mail",
    "email.move": "moving the mail",
    "email.delete": "deleting the mail",
    "email.reply": "answering the mail",
    "email.forward": "forwarding the mail",
    "email.thread": "reading the conversation",
    "email.invite": "sending the invitation",
    "email.answer_invitation": "answering the invitation",
    "email.read_attachment": "reading the attachment",
    "email.save_attachment": "saving the attachment",
    "email.list_files": "listing the saved files",
    "email.delete_file": "deleting the file",
    "weather.forecast": "getting the weather forecast",
    "weather.current": "getting the weather",
    "weather.sun": "computing the sun times",
    "contacts.find": "looking up the contact",
    "contacts.add": "adding the contact",
    "contacts.list": "listing the contacts",
    "contacts.remove": "removing the contact",
    "reasoning.compose": "writing the text",
    "reasoning.extract": "reading the text",
    "tasks.add": "adding the task",
    "tasks.list": "listing the tasks",
    "tasks.complete": "completing the task",
    "tasks.reopen": "reopening the task",
    "tasks.delete": "deleting the task",
    "tasks.remind": "setting the reminder",
    "tasks.cancel_reminder": "cancelling the reminder",
    "tasks.lists": "listing the lists",
    "tasks.move": "moving the task",
    "tasks.rename_list": "renaming the list",
    "tasks.delete_list": "deleting the list",
    "tasks.delete_many": "deleting the tasks",
    "tasks.skip": "leaving out one time",
    "web.fetch": "reading the web page",
    "memory.remember": "remembering it",
    "memory.list": "listing what is remembered",
    "memory.search": "searching what is remembered",
    "memory.correct": "correcting what is remembered",
    "memory.forget": "forgetting it",
    "memory.forget_all": "forgetting it",
}
_ANSWERS = ("email.reply", "email.forward", "email.answer_invitation")
"""Tools whose result names a new mail, not the one that was found."""
_CONSUMERS = {
    "calendar.list_events": ("calendar.update_event", "calendar.delete_event"),
    "contacts.find": ("email.send", "email.draft", "email.forward", "contacts.remove"),
    "email.search": ("email.read", "email.archive", "email.delete", *_ANSWERS),
    "calendar.find_free_time": ("calendar.create_event",),
    "memory.search": ("memory.forget", "memory.correct"),
    "tasks.list": ("tasks.complete", "tasks.reopen", "tasks.delete", "tasks.cancel_reminder"),
}


_NO_FIND = "I found no "
"""Begins the sentence in which a run says that a search found nothing."""
_NEEDS = "it needs step "
"""Begins the sentence of a step that was left out since an earlier one was."""


def reply(task: Mapping[str, Any]) -> str:
    """The answer to a request whose steps are done."""
    steps = task.get("steps")
    found = [step for step in steps if isinstance(step, dict)] if isinstance(steps, list) else []
    return report_steps(found, str(task.get("timezone") or ""))


def report_steps(steps: Sequence[Report], timezone: str) -> str:
    """Return the result of each step, in order, without steps that only served another one."""
    zone = zone_of(timezone)
    missing = dict.fromkeys(_not_found(step) for step in steps)
    shown = [step for step in steps if not _in_between(step, steps) and not _is_told_by(missing, step)]
    texts = [_outcome(step, steps, zone) for step in shown]
    return "\n\n".join(text for text in (*texts, _nothing_found(missing, steps)) if text) or "Nothing was done."


def _not_found(step: Report) -> str:
    """Return a sentence about what a skipped step needed and was not found; otherwise nothing."""
    error = str(step.get("error") or "").strip().rstrip(".")
    return error if step.get("status") == "skipped" and error.startswith(_NO_FIND) else ""


def _is_told_by(missing: Mapping[str, None], step: Report) -> bool:
    """Return whether a step is explained by an empty search: the search itself, and steps that waited for it."""
    if not any(missing):
        return False
    result = step.get("result")
    lists = [value for value in result.values() if isinstance(value, list)] if isinstance(result, Mapping) else []
    needed = step.get("status") == "skipped" and str(step.get("error")).startswith((_NO_FIND, _NEEDS))
    return needed or (step.get("status") == "completed" and bool(lists) and not any(lists))


def _nothing_found(missing: Mapping[str, None], steps: Sequence[Report]) -> str:
    changed = any(step.get("status") == "completed" and step.get("tool") in _WRITERS for step in steps)
    told = ". ".join(text for text in missing if text)
    return f"{told}{'' if changed else '; nothing was changed'}." if told else ""


def _in_between(step: Report, steps: Sequence[Report]) -> bool:
    """Return whether a completed step only served another one, whose report is enough."""
    if step.get("status") != "completed":
        return False
    tool = str(step.get("tool"))
    if tool == "reasoning.compose":
        return step is not steps[-1]
    return any(_fed(step, other) for other in steps if other.get("tool") in _CONSUMERS.get(tool, ()))


def _fed(step: Report, other: Report) -> bool:
    """Return whether the other step completed with exactly this one's result."""
    result, after = step.get("result"), other.get("result")
    if other.get("status") != "completed" or not isinstance(result, Mapping) or not isinstance(after, Mapping):
        return False
    match step.get("tool"):
        case "calendar.list_events":
            return bool(_field(result.get("match"), "event_id") == after.get("event_id"))
        case "tasks.list":
            return bool(_field(result.get("match"), "task_id") == after.get("task_id"))
        case "email.search" if other.get("tool") in _ANSWERS:
            return len(result.get("messages") or []) == 1
        case "email.search":
            return bool(_field(_first(result.get("messages")), "message_id") == after.get("message_id"))
        case "calendar.find_free_time":
            return bool(_field(_first(result.get("slots")), "start") == after.get("start"))
        case _:
            return result.get("match") is not None


def _first(items: Any) -> Any:
    return items[0] if isinstance(items, list) and items else None


def _field(data: Any, name: str) -> Any:
    return data.get(name) if isinstance(data, Mapping) else None


def _outcome(step: Report, steps: Sequence[Report], zone: tzinfo | None) -> str:
    doing = _DOING.get(str(step.get("tool")), f"the step {step.get('tool')}")
    error = str(step.get("error") or "").strip().rstrip(".")
    match step.get("status"):
        case "completed":
            return _completed(step, steps, zone)
        case "rejected":
            return _refused(doing, error)
        case "skipped":
            return f"{_up(doing)} was skipped" + (
                f": {error}." if error else ", since a step before it did not complete."
            )
        case "failed":
            return f"{_up(doing)} failed" + (f": {error}." if error else ".")
        case "cancelled":
            return f"{_up(doing)} was cancelled" + (f": {error}." if error else ".")
        case "unknown":
            return f"It is not known whether {doing} was done" + (f": {error}." if error else "; please check.")
        case "undone":
            return f"{_up(doing)} was undone."
        case other:
            return f"{_up(doing)} has not been done (status: {other})."


def _refused(doing: str, error: str) -> str:
    """Return who rejected it; a comment is quoted only if the person wrote one."""
    yours, _, comment = error.partition(": ")
    if yours in ("", _REJECTED):
        return f"You rejected {doing}, so it was not done." + (f" Your comment: {comment}." if comment else "")
    return f"{_up(doing)} was not done: {error}."


def _up(text: str) -> str:
    return text[:1].upper() + text[1:]


def _completed(step: Report, steps: Sequence[Report], zone: tzinfo | None) -> str:
    result = step.get("result")
    tool = str(step.get("tool"))
    write = _WRITERS.get(tool)
    try:
        if write and isinstance(result, Mapping):
            return write(result, zone)
        if isinstance(result, Mapping) and tool in _CONSUMERS:
            return shapes.describe(result, zone) + _unmatched(step, steps)
        if result in (None, {}, [], ""):
            return f"{_up(_DOING.get(tool, f'the step {tool}'))} is done."
        return shapes.describe(result, zone) if tool in _DOING else f"{tool}:\n{shapes.describe(result, zone)}"
    except (KeyError, TypeError, AttributeError, ValueError):
        # A result of another shape than announced is shown as it is rather than lost.
        return f"{_up(_DOING.get(tool, tool))} is done: {str(result)[:2000]}"


def _unmatched(step: Report, steps: Sequence[Report]) -> str:
    """Why nothing followed from a search: the next step needs exactly one hit."""
    waiting = [other for other in steps if other.get("tool") in _CONSUMERS[str(step.get("tool"))]]
    stuck = any(other.get("status") in ("failed", "skipped") for other in waiting)
    result = step.get("result")
    if not stuck or not isinstance(result, Mapping) or result.get("match") is not None:
        return ""
    found = [items for items in result.values() if isinstance(items, list)]
    if found and len(found[0]) > 1:
        return "\nMore than one fits, so nothing was done with them; please say more exactly which one you mean."
    return ""


def _created(result: Mapping[str, Any], zone: tzinfo | None) -> str:
    text = f"The event is in your calendar: {shapes.event(result, zone)}."
    if result.get("attendees"):
        text += f" Noted as attendees, but not invited: {', '.join(map(str, result['attendees']))}."
    return text


def _updated(result: Mapping[str, Any], zone: tzinfo | None) -> str:
    text = f"The event is changed: {shapes.event(result, zone)}."
    before = result.get("previous")
    if isinstance(before, Mapping):
        text += f' It was "{before.get("title")}", {span_text(before.get("start"), before.get("end"), zone)}.'
    return text


def _deleted(result: Mapping[str, Any], zone: tzinfo | None) -> str:
    del zone
    return f'The event "{result.get("title")}" is deleted.'


def _moved_by_invitation(result: Mapping[str, Any], zone: tzinfo | None) -> str:
    del zone
    return f'The event "{result.get("title")}" is {result.get("status")}.'


def _deleted_several(result: Mapping[str, Any], zone: tzinfo | None) -> str:
    del zone
    titles = [f'"{one.get("title")}"' for one in result["deleted"]]
    told = f"Deleted: {', '.join(titles)}." if titles else "Nothing was deleted."
    left = [str(one.get("why")) for one in result.get("remaining") or []]
    return told + (
        f" {len(left)} {'was' if len(left) == 1 else 'were'} not deleted: {'; '.join(left)}." if left else ""
    )


def _sent(result: Mapping[str, Any], zone: tzinfo | None) -> str:
    del zone
    mail = _named_mail(result)
    if result.get("status") == "draft":
        return f"{mail} is in your Drafts; it has not been sent."
    if result.get("delivery") == "own-store":
        return f"{mail} stands in your own Sent folder. No mail server is configured, so it has not left this machine."
    return f"{mail} was sent."


def _named_mail(result: Mapping[str, Any]) -> str:
    """The mail by its subject and recipients, as far as the result names them."""
    to = result.get("to")
    subject = f' "{result["subject"]}"' if result.get("subject") else ""
    recipients = f" to {', '.join(map(str, to))}" if isinstance(to, list) and to else ""
    return f"The mail{subject}{recipients}"


def _moved_mail(result: Mapping[str, Any], zone: tzinfo | None) -> str:
    del zone
    return f'The mail "{result.get("subject")}" is {result.get("status") or "put away"}.'


def _saved_file(result: Mapping[str, Any], zone: tzinfo | None) -> str:
    del zone
    return f'The file "{result.get("name")}" {"is" if result.get("saved") else "was already"} saved.'


def _deleted_file(result: Mapping[str, Any], zone: tzinfo | None) -> str:
    del zone
    return f'The file "{result.get("name")}" is deleted.'


def _added(result: Mapping[str, Any], zone: tzinfo | None) -> str:
    del zone
    return f"The contact is in your address book: {shapes.contact(result)}."


def _removed(result: Mapping[str, Any], zone: tzinfo | None) -> str:
    del zone
    if not result.get("removed"):
        return "Nobody was removed from your address book."
    return f"{result.get('name')} is no longer in your address book."


def _noted(result: Mapping[str, Any], zone: tzinfo | None) -> str:
    return f"The task is on your list: {shapes.task(result, zone)}."


def _marked(result: Mapping[str, Any], zone: tzinfo | None) -> str:
    del zone
    state = "done" if result.get("done") else "open"
    return f'The task "{result.get("title")}" {"is" if result.get("changed") else "was already"} {state}.'


def _deleted_task(result: Mapping[str, Any], zone: tzinfo | None) -> str:
    del zone
    return f'The task "{result.get("title")}" is deleted.'


def _moved_task(result: Mapping[str, Any], zone: tzinfo | None) -> str:
    del zone
    return f'The task "{result.get("title")}" is on the other list now.'


def _renamed_list(result: Mapping[str, Any], zone: tzinfo | None) -> str:
    del zone
    return f'The list "{result.get("to")}" is called "{result.get("list")}" now.'


def _skipped(result: Mapping[str, Any], zone: tzinfo | None) -> str:
    return f"That time is left out; the next one is: {shapes.task(result, zone)}."


def _planned(result: Mapping[str, Any], zone: tzinfo | None) -> str:
    return f'The reminder "{result.get("title")}" is set for {time_text(result.get("at"), zone)}.'


def _cancelled(result: Mapping[str, Any], zone: tzinfo | None) -> str:
    if result.get("status") == "reminded":
        return f'The reminder "{result.get("title")}" had already come on {time_text(result.get("at"), zone)}.'
    return f'The reminder "{result.get("title")}" is cancelled.'


_ABOUT_THE_PERSON = {"home_place": "where you live", "working_hours": "your working hours"}
"""Kinds of facts whose text alone does not say what it is about."""


def _remembered(result: Mapping[str, Any], zone: tzinfo | None) -> str:
    del zone
    if not result.get("created"):
        return f'I remembered that already: "{result.get("text")}".'
    if (subject := _ABOUT_THE_PERSON.get(str(result.get("kind")))) is not None:
        return f"I will remember {subject}: {result.get('text')}."
    return f'I will remember this: "{result.get("text")}".'


def _corrected(result: Mapping[str, Any], zone: tzinfo | None) -> str:
    del zone
    return f'I will remember this instead: "{result.get("text")}".'


def _forgotten(result: Mapping[str, Any], zone: tzinfo | None) -> str:
    del zone
    before = result.get("before")
    texts = [f'"{fact["text"]}"' for fact in before] if isinstance(before, list) else []
    if not result.get("forgotten"):
        return "There was nothing to forget."
    return f"Forgotten: {', '.join(texts)}." if texts else f"{result['forgotten']} forgotten."


_WRITERS: dict[str, Callable[[Mapping[str, Any], tzinfo | None], str]] = {
    "calendar.create_event": _created,
    "calendar.update_event": _updated,
    "calendar.delete_event": _deleted,
    "calendar.move_event": _updated,
    "calendar.delete_events": _deleted_several,
    "calendar.add_invitation": _created,
    "calendar.update_from_invitation": _moved_by_invitation,
    "email.send": _sent,
    "email.draft": _sent,
    "email.reply": _sent,
    "email.forward": _sent,
    "email.invite": _sent,
    "email.answer_invitation": _sent,
    "email.save_attachment": _saved_file,
    "email.delete_file": _deleted_file,
    "email.archive": _moved_mail,
    "email.delete": _moved_mail,
    "email.move": _moved_mail,
    "contacts.add": _added,
    "contacts.remove": _removed,
    "memory.remember": _remembered,
    "memory.correct": _corrected,
    "memory.forget": _forgotten,
    "memory.forget_all": _forgotten,
    "tasks.add": _noted,
    "tasks.complete": _marked,
    "tasks.reopen": _marked,
    "tasks.delete": _deleted_task,
    "tasks.delete_many": _deleted_several,
    "tasks.delete_list": _deleted_several,
    "tasks.move": _moved_task,
    "tasks.rename_list": _renamed_list,
    "tasks.skip": _skipped,
    "tasks.remind": _planned,
    "tasks.cancel_reminder": _cancelled,
}
