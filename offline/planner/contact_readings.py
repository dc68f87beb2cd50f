"""Reads requests about the address book: names, addresses and numbers."""

from offline.planner import (
    contact_steps,
)
from offline.planner.match import Values
from offline.planner.scan import Scan, phrases
from offline.planner.sift import Build, Reading, sift
from offline.planner.tokens import Kind

_REACHED = frozenset(
    phrases(
        "what|what's|whats|is|are|who|who's|how|do|does|can|could|you|i|my|me|the|a|an|of|for|in|on|to|from|have|has|got|give|"
        "show|tell|get|find|look|up|search|need|want|know|reach|call|phone|telephone|number|numbers|mobile|cell|email|e-mail|"
        "mail|address|addresses|contact|contacts|details|detail|data|info|information|book|list|please|which|there|any|hold|"
        "and|saved|stored|entry|work|home|it|that|this|if|whether|would|will|be|see|open|display|tell|hey|hi|current|"
        "phonebook|with|s|touch|at|as|also|then"
    )
)


def _who(scan: Scan, start: int, end: int) -> tuple[Build, Values]:
    sifted = sift(scan, start, end, times=False)
    name = " ".join([*sifted.quoted, *sifted.addresses, *sifted.left(_REACHED).split()])
    plain = name.removesuffix("'s").removesuffix("s'")
    return contact_steps.find, [("name", plain)] if plain else []


_STORED = _REACHED | frozenset(
    phrases(
        "add|put|save|store|enter|create|make|new|named|called|into|under|remember|keep|people|person|him|her|them|met|name|"
        "just|some|someone|somebody|another|cards|card"
    )
)


def _store(scan: Scan, start: int, end: int) -> tuple[Build, Values]:
    phone, rest = _phone(scan, start, end)
    sifted = sift(scan, start, end, times=False)
    words = [sifted.scan.tokens[at].text for run in sifted.runs for at in run if at not in rest]
    name = " ".join(word for word in words if word.casefold() not in _STORED and word[0].isalpha())
    name = " ".join([*sifted.quoted, *name.split()]).removesuffix("'s")
    values: Values = [("name", name)] if name else []
    values += [("address", sifted.addresses[0])] if sifted.addresses else []
    return contact_steps.add, [*values, *([("phone", phone)] if phone else [])]


def _phone(scan: Scan, start: int, end: int) -> tuple[str, range]:
    """Digits with the marks that people put between them."""
    for at in range(start, end):
        stop = at
        while stop < end and (scan.kind(stop) is Kind.NUMBER or scan.low(stop) in ("+", "(", ")", "-", "/", ".")):
            stop += 1
        text = scan.typed(at, stop).strip(" .-/")
        if sum(letter.isdigit() for letter in text) >= 5 and len(text) <= 40:
            return text, range(at, stop)
    return "", range(0)


def _forget(scan: Scan, start: int, end: int) -> tuple[Build, Values]:
    gone = _STORED | frozenset(phrases("delete|remove|erase|take|out|drop"))
    name = sift(scan, start, end, times=False).left(gone).removesuffix("'s")
    return contact_steps.remove, [("name", name)] if name else []


def _contacts(scan: Scan, start: int, end: int) -> tuple[Build, Values]:
    del scan, start, end
    return contact_steps.show, []


def _refuse_change(scan: Scan, start: int, end: int) -> tuple[Build, Values]:
    del scan, start, end
    return contact_steps.refuse_change, []


READINGS: dict[str, Reading] = {
    "contacts.update": _refuse_change,
    "contacts.find": _who,
    "contacts.list": _contacts,
    "contacts.add": _store,
    "contacts.remove": _forget,
}
