"""Reads requests about mails that are there: which of them is meant."""

from offline.planner import (
    mail_steps,
)
from offline.planner.mail_content import Content
from offline.planner.match import Values
from offline.planner.people import people
from offline.planner.scan import Scan, phrases
from offline.planner.sift import Build, Reading, sift
from offline.planner.tokens import Kind

_SOUGHT = frozenset(
    phrases(
        "forward|pass|share|respond|everybody|everyone|thread|"
        "what|what's|whats|is|are|who|was|has|have|did|do|does|i|i'm|me|my|the|a|an|of|in|on|for|to|from|about|with|by|any|"
        "anything|some|all|new|newest|latest|last|recent|unread|mail|mails|email|emails|e-mail|e-mails|message|messages|inbox|"
        "mailbox|show|list|find|search|get|give|look|looking|up|out|read|open|check|see|through|if|whether|there|it|that|"
        "this|which|please|can|could|would|you|received|receive|containing|contain|contains|mentioning|mention|regarding|"
        "on|got|came|arrived|wrote|written|write|sent|send|replied|answered|say|said|says|tell|person|want|need|know|time|"
        "since|refresh|fetch|poll|polling|update|initiate|outlook|gmail|how|many|one|ones|first|top|aloud|loud|summarise|"
        "summarize|archive|delete|trash|remove|bin|folder|drafts|draft|put|away|file|throw|rid|move|and|then|also|words|word|"
        "text|title|subject|where|today|recently|lately|just|most|back|reply|answer|something|be|will|should|them|him|her|"
        "pull|display|view|account|waiting|app|our|your|content|contents|news|as|so|yet|now|hey|hi|ok|news"
    )
)


def _mails(scan: Scan, start: int, end: int) -> Values:
    sifted = sift(scan, start, end)
    words = [*sifted.quoted, *sifted.addresses, *sifted.left(_SOUGHT).split()]
    query = " ".join(word.removesuffix("'s").removesuffix("s'") for word in words if word[0].isalnum())
    number = next(
        (int(scan.low(at)) for at in range(start, end) if scan.kind(at) is Kind.NUMBER and scan.low(at).isdigit()), 0
    )
    values: Values = [("number", number)] if (number and query.endswith(str(number))) or (number and not query) else []
    query = query.removesuffix(str(number)).strip() if values else query
    values += [("words", query)] if query else []
    days = sifted.when.days
    if days and (days.first, days.last) == (scan.today, scan.today):
        return values  # the newest come first
    return [*values, *([] if sifted.when.empty else [("when", sifted.when)])]


def _search(scan: Scan, start: int, end: int) -> tuple[Build, Values]:
    values = _mails(scan, start, end)
    if any(name == "when" for name, _ in values):
        return mail_steps.refuse_dates, []
    return mail_steps.search, values


def _one_mail(build: Build) -> Reading:
    def read(scan: Scan, start: int, end: int) -> tuple[Build, Values]:
        inside = scan.until(end)
        words = [inside.low(at) for at in range(start, end)]
        if {"all", "everything", "mails", "emails", "messages", "and"} & set(words) and build is not mail_steps.read:
            return mail_steps.refuse_many, []
        if build is mail_steps.read and {"mails", "emails", "messages"} & set(words) and "the" not in words[:2]:
            return _search(scan, start, end)
        values = _mails(scan, start, end)
        return mail_steps.refuse_dates if any(name == "when" for name, _ in values) else build, values

    return read


_CUES = phrases(
    "saying that|saying|that says|that|with the text|with the words|with|:|to say that|to say|telling them that"
)
_REPLIES = frozenset(
    phrases("reply|respond|answer|write|back|to|the|my|this|that|it|him|her|them|yes|no|thanks|all|everybody|everyone")
)


def _reply(scan: Scan, start: int, end: int) -> tuple[Build, Values]:
    inside = scan.until(end)
    cue = next(
        ((at, after) for at in range(start + 1, end) if (after := inside.phrase(at, *_CUES)) and after < end), None
    )
    quote = next((at for at in range(start, end) if inside.kind(at) is Kind.QUOTED), None)
    begin, stop = (cue[1], cue[0]) if cue else (quote, quote) if quote is not None else (end, end)
    values = _mails(scan, start, stop)
    if begin < end:
        body = inside.tokens[begin].value if begin + 1 == end else inside.typed(begin, end)
        values.append(("content", Content(body=body, open_body=None if begin + 1 == end else begin)))
    everybody = any(inside.low(at) in ("all", "everybody", "everyone") for at in range(start, stop))
    return mail_steps.reply, [*values, *([("all", True)] if everybody else [])]


def _forward(scan: Scan, start: int, end: int) -> tuple[Build, Values]:
    inside = scan.until(end)
    for at in range(start + 1, end - 1):
        if inside.low(at) == "to" and (found := people(inside, at + 1, end)) and found[0] and found[1] == end:
            return mail_steps.forward, [("people", found[0]), *_mails(scan, start, at)]
    return mail_steps.forward, _mails(scan, start, end)


READINGS: dict[str, Reading] = {
    "email.search": _search,
    "email.read": _one_mail(mail_steps.read),
    "email.archive": _one_mail(mail_steps.archive),
    "email.delete": _one_mail(mail_steps.delete),
    "email.reply": _reply,
    "email.forward": _forward,
}
