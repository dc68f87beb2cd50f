"""Phrases for agents that may join later (tasks, web pages), and what is said about the server itself."""

from offline.planner.draft import Draft, Gives, Json, reference
from offline.planner.outcomes import Ask, Doubt, Refuse
from offline.planner.patterns import Match
from offline.planner.rules import Rule
from offline.planner.when import Occasion, When, occasion, one_day

_LIST = "(tasks|task list|to-dos|todos|to-do list|todo list|to do list)"
ABILITIES = (
    'Here is what I understand: weather ("What\'s the weather in Lisbon on Friday?"), calendar events and free time '
    '("Schedule lunch with Ana on Friday at 1pm", "Find a free hour tomorrow"), mail ("Email the forecast to '
    'ana@example.com", "Read the newest mail") and contacts ("What is Ana\'s phone number?"), also several of these in '
    "one request."
)
REAL_MODEL = (
    "Requests are read by fixed rules here, without a language model. To use one, set OPENAI_API_KEY (and "
    "OPENAI_BASE_URL, RETINUE_MODEL for another provider) and start again."
)


def remind(match: Match, draft: Draft) -> None:
    """Plan a reminder at a time."""
    draft.require("tasks.remind")
    title = match.get("words", str)
    if not title:
        raise Ask(Doubt("Of what shall I remind you?", match.ending, match.ending), template=" to {}")
    happens = _moment(match)
    draft.add("tasks.remind", {"title": title, "at": happens.start.isoformat()}, "reminds at that time")


def _moment(match: Match) -> Occasion:
    happens = occasion(match.when, match.ending)
    if happens.recurrence:
        raise Refuse("I can't repeat a reminder; name one day and time.")
    return happens


def add_task(match: Match, draft: Draft) -> None:
    """Plan a task, due at a time where one is named."""
    args: dict[str, Json] = {"title": match.need("words", str)}
    if not match.when.empty:
        args["due"] = _due(match, draft)
    draft.note(draft.add("tasks.add", args, "notes the task"), Gives.TASKS, args["title"])


def _due(match: Match, draft: Draft) -> str:
    """A day where the tool takes one, else a moment; the tool's schema says which."""
    when: When = match.when.sure()
    schema = str(draft.argument("tasks.add", "due"))
    if "date-time" not in schema and when.clock is None and when.instant is None:
        return one_day(when).isoformat()
    return occasion(when, match.ending).start.isoformat()


def show_tasks(match: Match, draft: Draft) -> None:
    """Plan a list of tasks."""
    del match
    draft.note(draft.add("tasks.list", {}, "lists the tasks"), Gives.TASKS, "my tasks")


def complete(match: Match, draft: Draft) -> None:
    """Plan to close a task that is named by its title, where the list can be searched by it."""
    title = match.need("words", str)
    searchable = draft.argument("tasks.list", "query") is not None and draft.result_field("tasks.list", "match")
    if "tasks.list" in draft.schemas and not searchable:
        raise Refuse("I can't complete a task by its title, since the tasks agent cannot search its list.")
    found = draft.add("tasks.list", {"query": title}, "finds the task; it must be exactly one")
    draft.add("tasks.complete", {"task_id": reference(found, "/match/task_id")}, "closes the task that was found")


def fetch(match: Match, draft: Draft) -> None:
    """Plan to read a web page."""
    url = match.need("url", str)
    draft.note(draft.add("web.fetch", {"url": url}, "reads the page"), Gives.PAGE, f"the page {url}")


def abilities(match: Match, draft: Draft) -> None:
    """Say what is understood."""
    del match, draft
    raise Refuse(f"{ABILITIES} {REAL_MODEL}")


RULES = (
    Rule(
        (
            "(remind me|set a reminder|create a reminder|add a reminder) <when> (to|about|of|for) <words>",
            "(remind me|set a reminder|create a reminder|add a reminder) (to|about|of|for) <words> <when>",
            "(remind me|set a reminder|create a reminder|add a reminder) [<when>] [(to|about|of|for) <words>]",
        ),
        remind,
    ),
    Rule(
        (
            "(add|create|make|note) [a|the|an] [new] (task|to-do|todo) [to|:|called|named] <words> [by|due|for|until] <when>",
            "(add|create|make|note) [a|the|an] [new] (task|to-do|todo) [to|:|called|named] <words>",
            f"(add|put) <words> (to|on) my {_LIST} [by|due|for|until] <when>",
            f"(add|put) <words> (to|on) my {_LIST}",
        ),
        add_task,
    ),
    Rule(
        (
            f"(show|list|what are|what is on|what's on|read) [me] [all] [my|the] [open] {_LIST}",
            "(what|which) tasks (do i have|are open|are there)",
        ),
        show_tasks,
    ),
    Rule(
        (
            "(complete|finish|close|tick off|check off) (the|my) (task|to-do|todo) <words>",
            "mark [the|my] [task|to-do|todo] <words> as (done|complete|completed|finished)",
        ),
        complete,
    ),
    Rule(("(read|fetch|open|get|load|show me|show) [the page|the website|the site|the web page] <url>",), fetch),
    Rule(
        (
            "help",
            "help me",
            "what can you do",
            "what do you understand",
            "what are you",
            "who are you",
            "(hello|hi|hey|good morning|good evening) [there]",
            "how does this work",
        ),
        abilities,
    ),
)
