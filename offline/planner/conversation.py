"""Converts a conversation to a plan: the request, the questions about it, and the answers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from types import MappingProxyType
from zoneinfo import ZoneInfo

from offline.planner.clauses import read_clauses
from offline.planner.draft import Draft, Json, Step
from offline.planner.followups import Before, follow
from offline.planner.intents import begins_request, nearest
from offline.planner.languages import in_english
from offline.planner.other_steps import REAL_MODEL
from offline.planner.outcomes import Ask, Doubt, Refuse, Unread
from offline.planner.scan import Scan
from offline.planner.tokens import MAX_TOKENS

MAX_STEPS = 30
_LEADS = ("on", "at", "in", "for", "to", "from", "with", "as", "about", "saying", "until")
_ORDINALS = {"the first": 0, "first": 0, "the first one": 0, "the second": 1, "second": 1, "the second one": 1}
_ORDINALS |= {"the former": 0, "the latter": 1}
_MOST_EARLIER = 4
_MOST_OPTIONS = 5
_LONGEST_OPTION = 120
_NEVER_MIND = {"never mind", "nevermind", "forget it", "no", "nothing", "stop", "cancel", "cancel that", "no thanks"}

_ANSWERS = {
    frozenset(_NEVER_MIND - {"cancel that", "cancel"}): "All right, I do nothing more.",
    frozenset(
        (
            "thanks",
            "thank you",
            "thx",
            "great",
            "ok",
            "okay",
            "perfect",
            "cool",
            "nice",
            "good",
            "thanks a lot",
            "great thanks",
            "danke",
            "vielen dank",
            "danke schön",
        )
    ): "You're welcome.",
    frozenset(("undo", "undo that", "undo it", "undo this")): (
        'I cannot undo in words. The button "Cancel and undo" does it, or bin/retinue cancel --undo.'
    ),
}
"""What is said to words that ask for nothing, after a request was dealt with."""


@dataclass(frozen=True)
class Answer:
    """The result of a request: steps, a question, or a reply."""

    steps: tuple[Step, ...] = ()
    question: str | None = None
    reply: str | None = None
    ask: Ask | None = None
    options: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Json]:
        """The answer as a plan."""
        return {
            "steps": [step.as_json() for step in self.steps],
            "question": self.question,
            "reply": self.reply,
            **({"options": list(self.options)} if self.options else {}),
            "final": True,
        }


@dataclass(frozen=True)
class Setting:
    """The context of a request: the moment, the time zone and the available tools."""

    now: datetime
    zone: ZoneInfo
    schemas: Mapping[str, Mapping[str, Json]]
    facts: Mapping[str, str] = field(default_factory=dict)
    """What is remembered of the person, by kind, as far as rules use it: `home_place`, `working_hours`."""
    before: Before = field(default_factory=Before)


@dataclass(frozen=True)
class Said:
    """One message of a conversation."""

    by_person: bool
    text: str


def answer(conversation: Sequence[Said], setting: Setting) -> Answer:
    """The plan for the last request of a conversation; what was said and done before it counts where it refers to that."""
    conversation = [replace(said, text=in_english(said.text)) if said.by_person else said for said in conversation]
    request, answers, earlier = _thread(conversation)
    plain = request.strip(" .!,").casefold()
    if not answers and earlier and (kind := next((words for words in _ANSWERS if plain in words), None)):
        return Answer(reply=_ANSWERS[kind])
    setting = replace(setting, before=replace(setting.before, requests=tuple(_requests(earlier, setting))))
    text, result = request, _try(request, setting)
    for given in answers:
        if given.strip(" .!").casefold() in _NEVER_MIND:
            return Answer(reply="All right, nothing was done.")
        text, result = _worked_in(text, result, given, setting)
    return result


def _requests(conversation: Sequence[Said], setting: Setting) -> list[str]:
    """The last requests of a conversation, oldest first, with the answers to questions about them worked in."""
    found: list[str] = []
    while conversation and len(found) < _MOST_EARLIER:
        text, answers, conversation = _thread(conversation)
        for given in answers:
            text, _ = _worked_in(text, _try(text, setting), given, setting)
        found.insert(0, text)
    return found


def _thread(conversation: Sequence[Said]) -> tuple[str, list[str], Sequence[Said]]:
    """The request that is being talked about, the answers given to questions about it, and what was said before it."""
    spoken = [said.text for said in conversation if said.by_person]
    if not spoken:
        return "", [], ()
    answers: list[str] = []
    turns = list(conversation)
    while turns and not turns[-1].by_person:
        turns.pop()
    while len(turns) >= 3 and not turns[-2].by_person and turns[-2].text.rstrip().endswith("?") and turns[-3].by_person:
        answers.insert(0, turns[-1].text)
        turns = turns[:-2]
    return turns[-1].text, answers, turns[:-1]


def _try(text: str, setting: Setting, known: Mapping[int, str] = MappingProxyType({})) -> Answer:
    scan = Scan.of(text, setting.now, setting.zone)
    if scan.size > MAX_TOKENS:
        return Answer(reply=f"I can't read a request this long: at most {MAX_TOKENS} words and marks. {REAL_MODEL}")
    if not scan.size:
        return Answer(reply=f"I found no request in that. {_offers(())}", options=tuple(nearest(())))
    try:
        return Answer(steps=tuple(_steps(scan, setting, known)))
    except Ask as ask:
        choices = tuple(name for name, _ in ask.doubt.choices[:_MOST_OPTIONS] if len(name) <= _LONGEST_OPTION)
        return Answer(question=ask.doubt.question, ask=ask, options=choices)
    except Unread as unread:
        return Answer(reply=_not_understood(unread), options=tuple(nearest(unread.nearest)))
    except Refuse as refusal:
        return Answer(reply=str(refusal))


def _steps(scan: Scan, setting: Setting, known: Mapping[int, str]) -> list[Step]:
    draft = Draft(setting.schemas, setting.before.used_ids, facts=setting.facts)
    if setting.before.requests and follow(scan, setting.before, draft):
        return draft.steps
    asked: Ask | None = None
    clauses = read_clauses(scan, known)
    for clause in clauses:
        try:
            clause.build(clause.match, draft)
        except Ask as ask:
            # A later clause may be refused outright: then a question now would lead nowhere.
            asked = asked or ask
            asked.known = {scan.begin(clause.match.start): clause.intent for clause in clauses}
    if asked:
        raise asked
    if len(draft.steps) > MAX_STEPS:
        raise Refuse(
            f"That would be {len(draft.steps)} steps, and a plan has at most {MAX_STEPS}; ask for less at once."
        )
    return draft.steps


def _not_understood(unread: Unread) -> str:
    piece = unread.piece if len(unread.piece) <= 60 else unread.piece[:57] + "..."
    return f'I did not understand "{piece}", so I did nothing. {_offers(unread.nearest)}'


def _offers(intents: Sequence[str]) -> str:
    texts = " or ".join(f'"{text}"' for text in nearest(intents))
    return f"I can do this: {texts}."


def _worked_in(text: str, result: Answer, given: str, setting: Setting) -> tuple[str, Answer]:
    """Return the request with an answer inserted. An answer that is a complete request replaces it.

    The assistant's last message may end with a question mark without being a question about the request (a mail that was
    read aloud, for instance). Then nothing is open, and the person's next message is a new request.
    """
    if result.ask is None:
        return given, _try(given, setting)
    known = {} if result.ask.doubt.closed else result.ask.known
    tries = [(joined, _try(joined, setting, known)) for joined in _joinings(text, result.ask, given)]
    alone = _try(given, setting)
    for joined, outcome in tries:
        if outcome.steps:
            return joined, outcome
    progress = [pair for pair in tries if _goes_on(pair[1], result)]
    if alone.steps and (begins_request(given) or not progress):
        return given, alone
    if progress:
        return progress[0]
    question = f'I could not use "{given.strip()[:100]}" as an answer. {result.question}'
    return text, replace(result, question=question)


def _goes_on(outcome: Answer, before: Answer) -> bool:
    """Whether an answer settled something, so that the next question is another one, and not about the answer itself."""
    if outcome.ask is None or outcome.question == before.question:
        return False
    doubt = outcome.ask.doubt
    return doubt.start == doubt.end or bool(doubt.choices)


def _joinings(text: str, ask: Ask, given: str) -> list[str]:
    given = given.strip().rstrip(".!?").strip()
    doubt = ask.doubt
    if doubt.start == doubt.end:
        return _inserted(text, ask, given)
    return [text[: doubt.start] + piece + text[doubt.end :] for piece in _replacements(doubt, given)]


def _inserted(text: str, ask: Ask, given: str) -> list[str]:
    place = ask.doubt.end
    plain = given[1:-1] if len(given) > 1 and given[0] == given[-1] == '"' else given
    if '"' in ask.template:
        plain = plain.replace('"', "'")
    bare = _without_lead(plain)
    leads = ask.template.split()[0] in _LEADS  # "on" is there already
    shapes = [ask.template.format(piece).strip() for piece in dict.fromkeys((bare, plain) if leads else (plain, bare))]
    return [f"{text[:place]} {piece}{text[place:]}" for piece in [*shapes, given]]


def _without_lead(given: str) -> str:
    first, _, rest = given.partition(" ")
    return rest if first.casefold() in _LEADS and rest else given


def _replacements(doubt: Doubt, given: str) -> list[str]:
    plain = " ".join(given.casefold().replace(",", " ").split())
    found = [value for name, value in doubt.choices if plain in (name.casefold(), value.casefold())]
    index = _ORDINALS.get(plain)
    if index is not None and index < len(doubt.choices):
        found.append(doubt.choices[index][1])
    if plain in ("am", "pm", "a.m.", "p.m."):
        found += [value for _, value in doubt.choices if value.endswith(plain.replace(".", ""))]
    return found if doubt.closed else [*found, _without_lead(given), given]
