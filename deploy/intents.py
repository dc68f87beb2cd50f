"""Writes what the offline model knows about how people ask: `python -P -m deploy.intents`, after a change of the phrases.

From the examples of the tools' contracts and the phrases in `deploy/phrases/` it trains the linear classifier of
`offline/planner/intents.py` and writes `offline/planner/intents.json`. It takes about a minute.
`tests/offline/test_intents.py` fails while the file was made from other phrases than those that are here.

A phrase may hold choices: `(a|b)` is one of both, `[x]` may be absent, `{kind}` is a value out of `values.txt`.
"""

import hashlib
import json
import math
import random
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from activities.calendar.contract import Calendar
from activities.contacts.contract import Contacts
from activities.email.contract import Email
from activities.memory.contract import Memory
from activities.reasoning.contract import Reasoning
from activities.tasks.contract import Tasks
from activities.weather.contract import Weather
from activities.web.contract import Web
from offline.planner import intents

PHRASES = Path(__file__).with_name("phrases")
CAPABILITIES = (Calendar, Contacts, Email, Memory, Reasoning, Tasks, Weather, Web)
SAME = {"calendar.move_event": "calendar.update_event", "calendar.delete_events": "calendar.delete_event"}
SAME |= {"tasks.delete_many": "tasks.delete", "memory.forget_all": "memory.forget"}
SAME |= {"weather.current": "weather.forecast", "email.thread": "email.read"}
"""Tools whose requests differ only by a value are one intent."""
_VALUES, _OFFERS = "values.txt", "offers.txt"
_SAMPLES = 7
_ROUNDS = 20
_LEAST = 3
_KEPT = 8
_HEAD = re.compile(r"\[([a-z_]+(?:\.[a-z_]+)?)\]")
Example = tuple[str, str]


def examples() -> list[Example]:
    """Requests with their intents, filled from the phrases and the contracts, always the same ones."""
    values = _values()
    found: list[Example] = list(_of_contracts())
    for phrase, intent in _phrases():
        chance = random.Random(phrase)  # noqa: S311  # a sample, and the same one whatever other phrases there are
        tries = _SAMPLES if re.search(r"[(\[{]", phrase) else 1
        found += [(text, intent) for text in dict.fromkeys(filled(phrase, values, chance) for _ in range(tries))]
    return found


def _of_contracts() -> Iterator[Example]:
    for capability in CAPABILITIES:
        for spec in capability.manifest().tools:
            yield from ((text, SAME.get(spec.name, spec.name)) for text in spec.examples)


def _phrases() -> Iterator[Example]:
    for path in sorted(PHRASES.glob("*.txt")):
        intent = ""
        for line in path.read_text("utf-8").splitlines() if path.name not in (_VALUES, _OFFERS) else ():
            if head := _HEAD.fullmatch(line):
                intent = head[1]
            elif line and not line.startswith("#"):
                yield line, intent


def _values() -> dict[str, list[str]]:
    return {name: values.split("|") for name, values in _pairs(_VALUES)}


def _pairs(name: str) -> Iterator[tuple[str, str]]:
    lines = (PHRASES / name).read_text("utf-8").splitlines()
    yield from (tuple(line.split(": ", 1)) for line in lines if line and not line.startswith("#"))  # type: ignore[misc]  # two parts


def filled(phrase: str, values: Mapping[str, Sequence[str]], chance: random.Random) -> str:
    """A phrase with one of its choices everywhere."""
    text, _ = _sequence(phrase, 0, "", chance)
    text = re.sub(r"\{(\w+)\}", lambda match: chance.choice(values[match[1]]), text)
    return " ".join(text.split()).replace(" '", "'").replace(" [-moi]", "")


def _sequence(phrase: str, at: int, ends: str, chance: random.Random) -> tuple[str, int]:
    text = ""
    while at < len(phrase) and phrase[at] not in ends:
        if phrase[at] in "([":
            piece, at = _choice(phrase, at, chance)
            text += piece
        else:
            text, at = text + phrase[at], at + 1
    return text, at


def _choice(phrase: str, at: int, chance: random.Random) -> tuple[str, int]:
    closing = ")" if phrase[at] == "(" else "]"
    options = [] if closing == ")" else [""]
    while phrase[at] != closing:
        option, at = _sequence(phrase, at + 1, f"|{closing}", chance)
        options.append(option)
    return chance.choice(options), at + 1


def digest(rows: Sequence[Example]) -> str:
    """Names the examples, with what the classifier sees of them, and the offers."""
    seen = [[text, intent, sorted(intents.features(text))] for text, intent in rows]
    return hashlib.sha256(json.dumps([seen, list(_pairs(_OFFERS))]).encode()).hexdigest()[:16]


def trained(rows: Sequence[Example]) -> dict[str, object]:
    """The weights: a logistic regression by stochastic gradient descent, each step scaled by those before (AdaGrad)."""
    names = sorted({intent for _, intent in rows})
    texts = [intents.features(text) for text, _ in rows]
    idf = intents.frequencies(texts, _LEAST)
    data = [(intents.scaled(found, idf), names.index(intent)) for found, (_, intent) in zip(texts, rows, strict=True)]
    sizes = Counter(intent for _, intent in rows)
    rate = [math.sqrt(len(rows) / len(names) / sizes[name]) for name in names]
    learned, bias = _descend(data, len(names), rate, list(idf))
    table = {name: [round(idf[name] * intents.SCALE), *_strongest(learned[name])] for name in idf}
    return {
        "made_from": digest(rows),
        "intents": names,
        "bias": [round(value * intents.SCALE) for value in bias],
        "offers": dict(_pairs(_OFFERS)),
        "features": {name: row for name, row in table.items() if len(row) > 1},
    }


Row = list[float]
Data = Sequence[tuple[list[tuple[str, float]], int]]


def _descend(data: Data, size: int, rate: Row, names: Sequence[str]) -> tuple[dict[str, Row], Row]:
    learned, seen = {name: [0.0] * size for name in names}, {name: [1.0] * size for name in names}
    bias = [0.0] * size
    order, chance = list(range(len(data))), random.Random(15)  # noqa: S311  # an order, not a secret
    for turn in range(_ROUNDS):
        chance.shuffle(order)
        step = 0.2 / (1 + turn / 8)
        for at in order:
            found, wanted = data[at]
            scores = list(bias)
            for name, strength in found:
                scores = [score + strength * value for score, value in zip(scores, learned[name], strict=True)]
            error = intents.softmax(scores)
            error[wanted] -= 1.0
            steps = [(place, value * rate[wanted]) for place, value in enumerate(error) if abs(value) > 0.004]
            for place, value in steps:
                bias[place] -= 0.05 * step * value
            for name, strength in found:
                row, past = learned[name], seen[name]
                for place, value in steps:
                    slope = value * strength
                    past[place] += slope * slope
                    row[place] -= step * slope / math.sqrt(past[place])
    return learned, bias


def _strongest(row: Row) -> list[int]:
    pairs = [(place, round(value * intents.SCALE)) for place, value in enumerate(row)]
    return [number for pair in pairs if abs(pair[1]) >= _KEPT for number in pair]


def main() -> None:
    """Train, and write the file."""
    rows = examples()
    text = json.dumps(trained(rows), ensure_ascii=False, separators=(",", ":"))
    intents.WEIGHTS.write_text(text.replace('],"', '],\n"') + "\n", "utf-8")


if __name__ == "__main__":
    main()
