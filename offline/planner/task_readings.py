"""Reads requests about tasks, lists and reminders."""

from collections.abc import Sequence

from offline.planner import (
    task_steps,
)
from offline.planner.match import Values
from offline.planner.outcomes import Ask, Doubt, Unread
from offline.planner.scan import Scan, phrases
from offline.planner.sift import ARTICLES, Build, Reading, behind, sift, skip_words
from offline.planner.tokens import Kind
from offline.planner.when import read_when

_ONTO = frozenset(phrases("to|on|onto|in|into|from|off|out|as"))
_ADD = phrases(
    "add|create|make|note|put|write|jot down|write down|note down|new|remember that|remember|don't let me forget|have|"
    "add something|put something|add an item|get"
)
_NOUNS = phrases("task|to-do|todo|to do|tasks|todos|item|task list|entry|reminder|something")
_OF = phrases(
    "to|:|called|named|that says|saying|for me to|that i have to|that i must|that i need to|that i should|i have to|of|about"
)
_DUE = ("by", "due", "until", "before", "due on", "due by", "for")


def _bare(scan: Scan, start: int, end: int) -> tuple[int, int]:
    """A clause without the words for the list, before or behind the task."""
    for at in range(start, end):
        if scan.low(at) in _ONTO and (after := _list_end(scan, at, end)):
            ahead = scan.phrase(after, *_DUE) or (after if read_when(scan, after) else None)
            behind_it = after >= end or scan.low(after) in (",", ".") or (ahead and at > start + 1)
            return (start, at) if behind_it else (scan.skip(after, ",", ":"), end)
    return start, end


def _list_end(scan: Scan, at: int, end: int) -> int | None:
    """The place behind `to my shopping list`, `on the list of things to do`."""
    stop = scan.skip(at + 1, "of", "to")
    stop = scan.skip(stop, "my", "the", "our", "a")
    for last in range(stop, min(end, stop + 5)):
        if scan.low(last) in ("list", "tasks", "todos", "to-dos", "todolist"):
            return scan.phrase(last + 1, *_LIST_OF) or last + 1
        if scan.kind(last) is not Kind.WORD:
            return None
    return None


_TO_DO = frozenset(phrases("to-do|todo|to|do|task|tasks|todos|to-dos|dos"))
_PLAIN = frozenset(
    phrases("my|the|our|a|on|in|from|off|of|open|current|whole|entire|up|show|read|list|what|what's|is|and|new")
)
_LIST_OF = phrases("of things to do|of to-dos|of to dos|of todos|of tasks|of contacts|of reminders|of things")


def list_named(scan: Scan, start: int, end: int) -> Values:
    """The list that a clause names, as in `my shopping list`; nothing for the to-do list.

    Raises:
        Ask: It says only "the list".
    """
    for at in range(start, end):
        if scan.low(at) != "list" or scan.phrase(at + 1, *_LIST_OF):
            continue
        begin = at - 1
        while begin >= start and scan.low(begin) in _TO_DO:
            begin -= 1
        first = begin
        while first >= start and scan.kind(first) is Kind.WORD and scan.low(first) not in _PLAIN:
            first -= 1
        if first < begin:
            return [("list", scan.typed(first + 1, begin + 1))]
        if begin == at - 1 and (begin < start or scan.low(begin) != "my"):
            whole = scan.skip(at, "list") if begin < start or scan.low(begin) not in ARTICLES else at + 1
            question = "Which list do you mean?"
            span = (scan.begin(begin if whole > at else at), scan.close(at + 1))
            raise Ask(Doubt(question, *span, (("my to-do list", "my to-do list"),)))
    return []


def _add(scan: Scan, start: int, end: int) -> tuple[Build, Values]:
    verb = behind(scan, start, end, _ADD)
    if any(scan.low(at) in ("off", "from") and _list_end(scan.until(end), at, end) for at in range(start, end)):
        raise Unread(scan.typed(start, end))  # what is taken off a list is not put on it
    named = list_named(scan, start, end)
    first, last = _bare(scan.until(end), verb, end)
    inside = scan.until(last)
    named_so = first < last and inside.tokens[first].capital and first > start  # `The Leopard` is a title
    at = first if named_so else skip_words(inside, first, last, ARTICLES)
    at = inside.skip(at, *_NOUNS)
    at = skip_words(inside, at, last, frozenset((":", ",")))
    at = inside.skip(at, *_OF)
    at = skip_words(inside, at, last, frozenset((":", ",")))
    return task_steps.add_task, [*named, *_titled(scan, at, last, end)]


def _titled(scan: Scan, at: int, last: int, end: int) -> Values:
    """A title, and when it is due: a time at its end or behind the words for the list."""
    inside = scan.until(last)
    values: Values = []
    late = next((place for place in range(last, end) if read_when(scan.until(end), place)), None)
    if late is not None and late >= last and (found := read_when(scan.until(end), late)):
        values.append(("when", found[0]))
    for place in range(at, last):
        begin = inside.phrase(place, *_DUE) or place
        found = read_when(inside, begin) or read_when(inside, place)
        if found and found[1] == last and inside.kind(place) is not Kind.QUOTED:
            values.append(("when", found[0]))
            last = place
            break
    if last > at:
        title = inside.tokens[at].value if last == at + 1 else inside.typed(at, last)
        values.append(("words", title))
    return values


def _tasks(scan: Scan, start: int, end: int) -> tuple[Build, Values]:
    named = list_named(scan, start, end)
    inside = scan.until(end)
    words = {inside.low(at) for at in range(start, end)}
    if words & {"done", "completed", "finished"} and not words & {"still", "not"}:
        return task_steps.show_all, []
    when = sift(scan, start, end).when
    return task_steps.show_tasks if when.empty else task_steps.show_due, [("when", when), *named]


_DONE = phrases(
    "mark|set|tick off|check off|tick|check|complete|finish|close|cross off|cross|i did|i have done|i finished|i've done|"
    "i'm done with|i am done with|done with|delete|remove|drop|erase|cancel|take|get rid of|reopen|open again|uncheck|"
    "restore|don't remind me|do not remind me|stop reminding me|stop|clear|turn off|delete|empty|wipe|i don't need|put"
)
_STATES = phrases(
    "as done|as complete|as completed|as finished|as not done|as undone|as open|as incomplete|as not completed|done|"
    "completed|complete|finished|off|is done|is finished|is complete|is completed|not done|to done|any more|anymore|please|"
    "again|is not done|after all"
)


_STATED = frozenset(phrases("done|complete|completed|finished|it"))
_WHOLE = ("tasks", "todos", "to-dos", "to do list", "to-do list", "todo list", "task list", "reminders", "list")


def _named_task(build: Build) -> Reading:
    many = task_steps.delete_many if build is task_steps.delete else task_steps.refuse_many

    def read(scan: Scan, start: int, end: int) -> tuple[Build, Values]:
        verb = behind(scan, start, end, _DONE)
        if verb == start and not _STATED & {scan.low(at) for at in range(start, end)}:
            raise Unread(scan.typed(start, end))
        named = list_named(scan, start, end)
        first, last = _bare(scan.until(end), verb, end)
        first, last = _without_deed(scan, first, _without_ends(scan, first, last, _STATES))
        inside = scan.until(last)
        at = skip_words(inside, first, last, ARTICLES | {"off", "all", "of"})
        every = scan.low(skip_words(scan, verb, end, ARTICLES | {"off"})) in ("all", "every", "everything")
        if every or inside.phrase(at, *_WHOLE) == last or (named and at >= last and verb > start):
            return many, named
        title = _task_title(inside, at, last)
        if named and "list" in title.casefold().split():
            return (many if build is task_steps.delete else build), named
        return build, [*named, *([("words", title)] if title else [])]

    return read


def _task_title(scan: Scan, at: int, end: int) -> str:
    at = skip_words(scan, scan.skip(at, *_NOUNS), end, frozenset((":", ",")))
    at = scan.skip(at, "to", "of", "about", "for", "called", "named", "that")
    return "" if at >= end else scan.tokens[at].value if end == at + 1 else scan.typed(at, end)


_IT_OFF = phrases("tick it|check it|cross it|mark it|tick that|mark that|so tick it|so mark it")
_TASK_NOUNS = ("task", "to-do", "todo", "reminder", "item")


def _without_deed(scan: Scan, start: int, end: int) -> tuple[int, int]:
    """`I've paid the rent, tick it off` names the rent, and `the rent task` does so too."""
    comma = next((at for at in range(start, end) if scan.low(at) == "," and scan.phrase(at + 1, *_IT_OFF)), None)
    if comma is not None:
        started = scan.phrase(start, "i have", "i")
        begin = started + 1 if started else start + 2 if scan.low(start) == "i've" else start
        return begin, comma
    return start, end - 1 if end - start > 1 and scan.low(end - 1) in _TASK_NOUNS else end


def _without_ends(scan: Scan, start: int, end: int, words: Sequence[str]) -> int:
    while end > start:
        shorter = [
            end - len(text.split()) for text in words if scan.until(end).phrase(end - len(text.split()), text) == end
        ]
        if not shorter or min(shorter) < start:
            return end
        end = min(shorter)
    return end


_REMIND = phrases(
    "remind me|set a reminder|set me a reminder|create a reminder|add a reminder|make a reminder|set up a reminder|"
    "set up a new reminder|give me a reminder|give me a nudge|alert me|notify me|ping me|nudge me|be reminded|a reminder|"
    "reminder|make me a reminder|help me remember|help me to remember|set reminder|don't let me forget|rimind me|tell me|"
    "make sure i|new reminder|create reminder|add reminder|set a new reminder|remember"
)


def _remind(scan: Scan, start: int, end: int) -> tuple[Build, Values]:
    inside, verb, first = scan.until(end), start, start
    for at in range(start, end):
        if found := inside.phrase(at, *_REMIND):
            first, verb = at, found
            break
    early = sift(scan, start, first).when
    sifted = sift(scan, verb, end)
    when = early.merged(sifted.when)
    if sifted.quoted and not sifted.left(ARTICLES | {"to", "about", "of", "that", "for"}):
        title = sifted.quoted[0]
    else:
        title = _reminded(inside, verb, end)
    values: Values = [] if when.empty else [("when", when)]
    return task_steps.remind, [*values, *([("words", title)] if title else [])]


_ABOUT = frozenset(phrases("to|about|of|for|that|:|,|when|it's|time|notification|with|please|alert|me"))


def _reminded(scan: Scan, start: int, end: int) -> str:
    """What remains without the times; a time within belongs to the reminder, not to its title."""
    pieces: list[list[int]] = [[]]
    at = start
    while at < end:
        found = read_when(scan, at)
        if found and scan.kind(at) is not Kind.QUOTED:
            at = found[1]
            pieces.append([])
        else:
            pieces[-1].append(at)
            at += 1
    kept: list[str] = []
    for piece in pieces:
        while piece and scan.low(piece[0]) in (_ABOUT if not kept else {",", ":", "to", "that"}):
            piece = piece[1:]
        while piece and scan.low(piece[-1]) in (",", ":", ".", "for", "on", "at", "in", "please", "notification"):
            piece = piece[:-1]
        if piece:
            kept.append(scan.typed(piece[0], piece[-1] + 1))
    return " ".join(kept)


def _lists(scan: Scan, start: int, end: int) -> tuple[Build, Values]:
    del scan, start, end
    return task_steps.show_lists, []


def _drop_list(scan: Scan, start: int, end: int) -> tuple[Build, Values]:
    return task_steps.delete_list, list_named(scan, start, end)


READINGS: dict[str, Reading] = {
    "tasks.lists": _lists,
    "tasks.delete_list": _drop_list,
    "tasks.add": _add,
    "tasks.list": _tasks,
    "tasks.complete": _named_task(task_steps.complete),
    "tasks.delete": _named_task(task_steps.delete),
    "tasks.reopen": _named_task(task_steps.reopen),
    "tasks.cancel_reminder": _named_task(task_steps.cancel_reminder),
    "tasks.remind": _remind,
}
