"""Turns of an agent's loop: each is one request to the model, stored in a transcript.

A turn is answered once. Its answer is stored in one transaction with its input, before it is reported; a later or concurrent
attempt of the same turn finds and reports it. So the workflow's calls are always those in the next request.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import JsonValue

from activities.reasoning import prompts
from activities.reasoning.answers import Said, WrittenCall
from activities.reasoning.contract import ConverseRequest, ConverseResult, ToolCall
from activities.reasoning.model import LanguageModel
from activities.reasoning.store import Record, TranscriptStore
from activities.reasoning.tries import Tries
from activities.reasoning.used import current_meter
from retinue.capability import Manifest
from retinue.conversation import Usage
from retinue.errors import NotFound, UnusableAnswer
from retinue.json_values import whole_values
from retinue.plan import MAX_ARGS_BYTES, MAX_DEPTH

MAX_CALLS = 8
"""In one turn."""
_MESSAGES = 200
_BYTES = 128 * 1024
"""Of what was said before this turn."""
_UNSAFE = re.compile(r"[^A-Za-z0-9_-]")


class Turns:
    """Takes turns for agents."""

    def __init__(self, model: LanguageModel, transcripts: TranscriptStore) -> None:
        self._model = model
        self._transcripts = transcripts

    async def take(self, request: ConverseRequest, manifest: Manifest) -> ConverseResult:
        """Return the agent's answer, or the calls that it wants.

        Raises:
            NotFound: The conversation so far is not kept.
            UnusableAnswer: The model wrote calls that cannot be read, twice.
            RetinueError: As for `LanguageModel.converse` and `TranscriptStore`.
        """
        earlier = await self._earlier(request)
        heard = _heard(request, earlier)
        key, length = request.transcript.key, request.transcript.length
        spoken = await self._transcripts.at(key, length + len(heard))
        if spoken is None:
            spoken = await self._ask(request, manifest, earlier, heard)
            spoken = (await self._transcripts.append(key, at=length, messages=[*heard, spoken]))[-1]
        return _result(spoken, request.agent, length=length + len(heard) + 1)

    async def _earlier(self, request: ConverseRequest) -> list[Record]:
        kept = request.transcript
        if kept.length == 0:
            return []
        found = await self._transcripts.last(kept.key, before=kept.length, limit_messages=_MESSAGES, limit_bytes=_BYTES)
        if not found or found[-1]["role"] != "assistant":
            raise NotFound("what this agent said before is not kept any more")
        return found

    async def _ask(
        self, request: ConverseRequest, manifest: Manifest, earlier: Sequence[Record], heard: Sequence[Record]
    ) -> Record:
        """Ask the model, and once more if its calls cannot be read and another request may be made."""
        tries = self._model.tries(request.agent)
        turn = earlier[-1]["turn"] + 1 if earlier else 1
        messages = prompts.for_turn(request, manifest, _sayable([*earlier, *heard]))
        said, used = await self._say(request, manifest, messages, tries)
        problems = _problems(said, may_call=not request.last_turn)
        if problems and tries.may_ask_again():
            calls = _calls(said, turn)
            complaint = [_assistant(said.text, calls), *prompts.for_unreadable(calls, problems)]
            said, more = await self._say(request, manifest, [*messages, *complaint], tries)
            used += more
            problems = _problems(said, may_call=not request.last_turn)
        if problems:
            raise UnusableAnswer(f"the language model's calls cannot be used: {next(iter(problems.values()))}")
        used = current_meter().before + used
        return {**_assistant(said.text, _calls(said, turn)), "turn": turn, "usage": used.model_dump()}

    async def _say(
        self, request: ConverseRequest, manifest: Manifest, messages: Sequence[Mapping[str, Any]], tries: Tries
    ) -> tuple[Said, Usage]:
        return await self._model.converse(
            messages,
            agent=request.agent,
            functions=prompts.functions(manifest),
            may_call=not request.last_turn,
            tries=tries,
        )


def _heard(request: ConverseRequest, earlier: Sequence[Record]) -> list[Record]:
    """What is new in this turn: the goal, or one message for each call of the turn before."""
    if not earlier:
        return [dict(prompts.for_goal(request))]
    return [dict(message) for message in prompts.for_outcomes(earlier[-1].get("tool_calls", ()), request.outcomes)]


def _sayable(records: Sequence[Record]) -> list[dict[str, Any]]:
    """The conversation after the goal, as an endpoint takes it; answers whose calls were left out go with them."""
    said = [record for record in records if record["role"] != "user"]
    while said and said[0]["role"] == "tool":
        said.pop(0)
    return [{key: value for key, value in record.items() if key not in ("turn", "usage")} for record in said]


def _assistant(text: str, calls: Sequence[Mapping[str, Any]]) -> Record:
    # an endpoint refuses an empty list of calls, and a message without text unless it has calls
    return {"role": "assistant", "content": text or None, **({"tool_calls": list(calls)} if calls else {})}


def _calls(said: Said, turn: int) -> list[dict[str, Any]]:
    """The calls with ids and names of ours, since a model may repeat ids and invent names that no endpoint takes back."""
    return [
        {
            "id": f"t{turn}c{number}",
            "type": "function",
            "function": {"name": _function(call.name), "arguments": _echo(call)},
        }
        for number, call in enumerate(said.calls, 1)
    ]


def _function(name: str) -> str:
    return _UNSAFE.sub("_", prompts.function_name(name))[:64] or "unknown"


def _echo(call: WrittenCall) -> str:
    """The arguments, or none where they cannot be read: some endpoints refuse a conversation with broken JSON."""
    return call.arguments if _problem(call) is None else "{}"


def _problems(said: Said, *, may_call: bool) -> dict[int, str]:
    """What is wrong with the calls, by their places."""
    if said.calls and not may_call:
        return dict.fromkeys(range(len(said.calls)), "no more calls can be made; answer now")
    if len(said.calls) > MAX_CALLS:
        return dict.fromkeys(range(len(said.calls)), f"at most {MAX_CALLS} calls can be made at once; make fewer")
    problems = {place: _problem(call) for place, call in enumerate(said.calls)}
    return {place: problem for place, problem in problems.items() if problem}


def _problem(call: WrittenCall) -> str | None:
    if len(call.arguments.encode(errors="replace")) > MAX_ARGS_BYTES:
        return f"the arguments are larger than {MAX_ARGS_BYTES // 1024} KiB"
    try:
        return "the arguments are nested too deeply" if _depth(_arguments(call.arguments)) > MAX_DEPTH else None
    except (ValueError, RecursionError):
        return "the arguments are not a JSON object"


def _arguments(text: str) -> dict[str, JsonValue]:
    """Read arguments.

    Raises:
        ValueError: They are no JSON object, or hold what JSON does not know: NaN.
    """
    read = whole_values(json.loads(text, parse_constant=_refuse))
    if not isinstance(read, dict):
        raise ValueError("no object")
    return read


def _refuse(constant: str) -> None:
    raise ValueError(constant)


def _depth(value: JsonValue) -> int:
    if isinstance(value, dict):
        return 1 + max(map(_depth, value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(_depth, value), default=0)
    return 0


def _result(spoken: Record, agent: str, *, length: int) -> ConverseResult:
    calls = [
        ToolCall(
            call_id=call["id"],
            tool=_tool(call["function"]["name"], agent),
            args=_arguments(call["function"]["arguments"]),
        )
        for call in spoken.get("tool_calls", ())
    ]
    text = None if calls else spoken["content"]
    return ConverseResult(text=text, calls=calls, usage=Usage.model_validate(spoken["usage"]), length=length)


def _tool(function: str, agent: str) -> str:
    """Return the tool of a function's name; an invented name is passed on and fails when the call runs."""
    own = f"{agent}__"
    return f"{agent}.{function.removeprefix(own)}" if function.startswith(own) else function.replace("__", ".", 1)
