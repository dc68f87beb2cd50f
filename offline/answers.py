"""Dispatches the kinds of requests: a plan, a loop over tools, a final answer, a text."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from offline.extract import extract
from offline.loop import continue_loop
from offline.planner.accounts import QUESTION, meant, options
from offline.planner.conversation import Answer, Said, Setting, answer
from offline.planner.followups import Before, Done
from offline.planner.other_steps import ABILITIES, REAL_MODEL
from offline.protocol import BadRequest, ChatRequest, Completion, Message
from offline.signatures import Tools, tools_in
from offline.wording.compose import compose
from offline.wording.reply import reply

_TOOLS = re.compile(r"^Capabilities and tools:$", re.MULTILINE)
_NEED = 'answer {"need": ['
_ASKED = "You asked for "
_CONTEXT = "Context (JSON):"
_REMEMBERED = "Remembered (JSON):"
_ACCOUNTS = "Accounts (JSON):"
_REFUSED = "Plan refused:"
_MENDED = "\nWrite the whole plan again, mended."
_PROGRESS = "Progress (JSON):"
_INPUTS = "\n\nInputs (JSON):"


def complete(request: ChatRequest) -> Completion:
    """Answer a request.

    Raises:
        BadRequest: It is a planning request without the parts that planning needs.
    """
    if request.wants_plan:
        return Completion(json.dumps(_plan(request.messages), ensure_ascii=False))
    if request.wants_values:
        return Completion(json.dumps(_values(request.messages), ensure_ascii=False))
    if request.asks_for_form:
        return Completion('{"fruit": "kiwi"}')
    if request.wants_other_json:
        raise BadRequest("this rule-based model fills in no schema of a caller's; connect a language model")
    if request.tools:
        setting = _setting(request.messages, _functions(request))
        return continue_loop(_without_inputs(request.messages), setting, may_call=request.tool_choice != "none")
    return Completion(_text(request.messages))


def _values(messages: list[Message]) -> dict[str, Any]:
    """The values of an extraction."""
    task = _json_object(next((message.text for message in reversed(messages) if message.role == "user"), ""))
    setting = _setting([Message(role="system", content=f"{_CONTEXT} {json.dumps(task)}")], {})
    return extract(task, setting.zone, setting.now)


def _text(messages: list[Message]) -> str:
    """Return the final answer or a composed text; for anything else, a description of this server."""
    asked = next((message.text for message in reversed(messages) if message.role == "user"), "")
    task = _json_object(asked)
    if task.get("task") == "reply":
        return reply(task)
    if task.get("task") == "compose":
        return compose(str(task.get("instruction") or ""), task.get("inputs"))
    return f"This is Retinue's offline model server, a set of rules that stands in for a language model. {_about()}"


def _about() -> str:
    return f"{ABILITIES} {REAL_MODEL}"


def _without_inputs(messages: list[Message]) -> list[Message]:
    """The conversation of a loop without the data beside its goal: rules read requests, and data is none."""
    return [
        message.model_copy(update={"content": message.text.partition(_INPUTS)[0]})
        if message.role == "user"
        else message
        for message in messages
    ]


def _plan(messages: list[Message]) -> dict[str, Any]:
    offered = _Offered(_offered(messages))
    setting = _setting(messages, offered)
    spoken = [message for message in messages if message.role in ("user", "assistant")]
    if spoken and spoken[-1].role == "user" and spoken[-1].text.startswith(_REFUSED):
        # The same rules would give the same plan again, so say what happened instead of trying in vain.
        problems = spoken[-1].text.removeprefix(_REFUSED).partition(_MENDED)[0].strip()
        return Answer(
            reply=f"I found no plan that is accepted for this request. The last one was refused: {problems}"
        ).as_json()
    if _is_planned(messages):
        return Answer().as_json()
    setting = replace(setting, before=Before(done=tuple(_done(messages))))
    accounts = _accounts(messages)
    about = meant([(message.role == "user", message.text) for message in spoken], accounts)
    plan = answer([Said(*said) for said in about.texts], setting).as_json()
    if about.unclear and (names := options([_capability(step) for step in plan["steps"]], accounts)):
        return Answer(question=f"{QUESTION}, {' or '.join(names)}?", options=tuple(names)).as_json()
    for step in plan["steps"]:
        if account := about.chosen.get(_capability(step)):
            step["args"]["account"] = account
    if not plan["steps"] and offered.missed and _may_need(messages):
        return {**Answer().as_json(), "need": offered.missed}
    return plan


def _accounts(messages: list[Message]) -> dict[str, list[str]]:
    """The names of the person's accounts, by capability, where there are several."""
    for message in messages:
        if message.role == "system" and message.text.startswith(_ACCOUNTS):
            named = _json_object(message.text.removeprefix(_ACCOUNTS))
            return {capability: names for capability, names in named.items() if isinstance(names, list)}
    return {}


def _capability(step: Mapping[str, Any]) -> str:
    return str(step.get("tool")).partition(".")[0]


class _Offered(dict[str, dict[str, Any]]):
    """The tools that a request lists. It notes which others were looked for."""

    def __init__(self, tools: Tools) -> None:
        super().__init__(tools)
        self.missed: list[str] = []

    def __contains__(self, tool: object) -> bool:
        found = super().__contains__(tool)
        if not found and str(tool) not in self.missed:
            self.missed.append(str(tool))
        return found


def _may_need(messages: list[Message]) -> bool:
    """Whether a request lists only some tools, and others were not asked for yet."""
    system = [message.text for message in messages if message.role == "system"]
    return any(_NEED in text for text in system) and not any(text.startswith(_ASKED) for text in system)


def _done(messages: list[Message]) -> Iterator[Done]:
    """The finished steps of the last turn of a chat."""
    texts = [message.text for message in messages if message.role == "system" and message.text.startswith(_PROGRESS)]
    steps = _json(texts[-1].removeprefix(_PROGRESS)) if texts else []
    for step in steps if isinstance(steps, list) else []:
        if isinstance(step, dict) and step.get("status") == "completed" and step.get("tool"):
            yield Done(str(step.get("id")), str(step["tool"]), step.get("result"))


def _is_planned(messages: list[Message]) -> bool:
    """Return whether there are steps since the person's last message: the first round plans everything these rules read."""
    for message in reversed(messages):
        if message.role == "user":
            return False
        if message.role == "system" and message.text.startswith(_PROGRESS):
            return True
    return False


def _offered(messages: list[Message]) -> Tools:
    """The tools of a planning request, in every message of the system that lists some."""
    texts = [message.text for message in messages if message.role == "system"]
    lists = [text[found.end() :] for text in texts if (found := _TOOLS.search(text))]
    if not lists:
        raise BadRequest("A planning request needs a system message with the line 'Capabilities and tools:'.")
    try:
        return tools_in("\n".join(lists))
    except ValueError as error:
        raise BadRequest(f"The list of tools is not of the expected shape: {error}") from error


def _functions(request: ChatRequest) -> dict[str, dict[str, Any]]:
    """Return the functions of an agent's loop, by the names in plans; without their result schemas."""
    tools = [tool.function for tool in request.tools or []]
    return {tool.name.replace("__", "."): {"args": tool.parameters, "result": {}} for tool in tools}


def _setting(messages: list[Message], schemas: Mapping[str, Mapping[str, Any]]) -> Setting:
    """The moment and the zone of a request; without a context message, now in UTC."""
    context: dict[str, Any] = {}
    for message in messages:
        if message.role == "system" and _CONTEXT in message.text:
            context = _json_object(message.text.partition(_CONTEXT)[2])
    try:
        now = datetime.fromisoformat(context["now"]) if "now" in context else datetime.now(UTC)
        zone = ZoneInfo(context.get("timezone") or "UTC")
    except (ValueError, TypeError, ZoneInfoNotFoundError) as error:
        raise BadRequest(f"The context is not of the expected shape: {error}") from error
    if now.tzinfo is None:
        raise BadRequest("The context's `now` needs an offset.")
    return Setting(now, zone, schemas, _facts(messages))


def _facts(messages: list[Message]) -> dict[str, str]:
    """What is remembered of the person: the first text of each kind."""
    facts: dict[str, str] = {}
    for message in messages:
        if message.role == "system" and message.text.startswith(_REMEMBERED):
            for fact in _json_list(message.text.removeprefix(_REMEMBERED)):
                if isinstance(fact, dict) and isinstance(fact.get("text"), str):
                    facts.setdefault(str(fact.get("kind")), fact["text"])
    return facts


def _json_list(text: str) -> list[Any]:
    try:
        found = json.JSONDecoder().raw_decode(text.strip())[0]
    except (ValueError, RecursionError):
        return []
    return found if isinstance(found, list) else []


def _json_object(text: str) -> dict[str, Any]:
    found = _json(text)
    return found if isinstance(found, dict) else {}


def _json(text: str) -> Any:
    """The JSON value that a text begins with; None if there is none."""
    try:
        return json.JSONDecoder().raw_decode(text.strip())[0]
    except (ValueError, RecursionError):
        return None
