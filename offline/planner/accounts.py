"""Reads which account is meant: 'from my work account', 'on my private calendar'.

What names an account is taken out of the request, so that the other rules read it as if there were only one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

_THINGS = {
    "calendar": "calendar|diary|agenda",
    "email": "mailbox|mail box|inbox|mails?|emails?",
    "contacts": "contacts|address ?book",
}
_ANY = ("calendar", "email")
"""Capabilities that 'account' without more is about; people look for addresses in all their books."""
_LEAD = r"(?:from|with|using|through|via|on|in|of|by)"
_WHOSE = r"(?:my|the)"
_UNNAMED = re.compile(rf"\b{_LEAD} (?:my|one of my) accounts?\b", re.IGNORECASE)
QUESTION = "Which account do you mean"
Accounts = Mapping[str, Sequence[str]]
"""Names by capability, where there are several."""


@dataclass(frozen=True)
class Meant:
    """What a conversation says about accounts.

    Args:
        texts: Of the messages, without what names an account.
        chosen: By capability, the account that is meant.
        unclear: Whether one is meant and not named.
    """

    texts: list[tuple[bool, str]]
    chosen: Mapping[str, str]
    unclear: bool = False


def meant(conversation: Sequence[tuple[bool, str]], accounts: Accounts) -> Meant:
    """Return which accounts are meant by the last request.

    Args:
        conversation: Whether the person said it, and the text.
        accounts: That there are.
    """
    turns = list(conversation)
    if not accounts or not turns or not turns[-1][0]:
        return Meant(turns, {})
    answered: dict[str, str] = {}
    if len(turns) > 2 and turns[-2][1].startswith(QUESTION):
        name = turns[-1][1].strip(" .!").casefold()
        said = [one for names in accounts.values() for one in names if re.search(_word(one), name, re.IGNORECASE)]
        answered = _for_all(said[0], accounts) if said else {}
        turns = turns[:-2] if answered else turns
    found = [(by_person, *_read(text, accounts)) if by_person else (False, text, {}) for by_person, text in turns]
    texts = [(by_person, text) for by_person, text, _ in found]
    chosen = {**_of_thread(found), **answered}
    unnamed = _UNNAMED.search(texts[-1][1]) is not None
    last = (True, " ".join(_UNNAMED.sub("", texts[-1][1]).split())) if unnamed else texts[-1]
    return Meant([*texts[:-1], last], chosen, unclear=unnamed and not chosen)


def options(capabilities: Sequence[str], accounts: Accounts) -> list[str]:
    """Return the names among which a person chooses for a request about these capabilities."""
    return list(dict.fromkeys(name for each in _ANY if each in capabilities for name in accounts.get(each, ())))


def _of_thread(found: Sequence[tuple[bool, str, dict[str, str]]]) -> dict[str, str]:
    """Return what the last request says, which may be some questions and answers back."""
    for at in range(len(found) - 1, -1, -1):
        by_person, _, chosen = found[at]
        if chosen:
            return chosen
        if by_person and not (at > 0 and found[at - 1][1].rstrip().endswith("?")):
            return {}
    return {}


def _read(text: str, accounts: Accounts) -> tuple[str, dict[str, str]]:
    """Return the text without what names an account, and the accounts by capability."""
    chosen: dict[str, str] = {}
    for name in sorted({name for names in accounts.values() for name in names}, key=len, reverse=True):
        for capability, pattern in _patterns(name):
            for_these = _for_all(name, accounts) if capability is None else _for_one(name, capability, accounts)
            if for_these and pattern.search(text):
                chosen = {**for_these, **chosen}
                text = pattern.sub(lambda found: (found.groupdict().get("left") or "").strip(), text)
    return " ".join(text.split()) if chosen else text, chosen


def _patterns(name: str) -> Iterator[tuple[str | None, re.Pattern[str]]]:
    word = _word(name)
    yield None, re.compile(rf"\s*\b{_LEAD} {_WHOSE} {word} accounts?\b", re.IGNORECASE)
    for capability, things in _THINGS.items():
        yield capability, re.compile(rf"(?P<left>)\b{word} (?=(?:{things})\b)", re.IGNORECASE)


def _word(name: str) -> str:
    return rf"(?<!\w){re.escape(name)}(?!\w)"


def _for_all(name: str, accounts: Accounts) -> dict[str, str]:
    return {capability: name for capability in _ANY if name in accounts.get(capability, ())}


def _for_one(name: str, capability: str, accounts: Accounts) -> dict[str, str]:
    return {capability: name} if name in accounts.get(capability, ()) else {}
