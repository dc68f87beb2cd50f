"""What "it" and "that" stand for: the result of an earlier clause.

Steps are looked for among the outcomes of the draft, the last one first, so that earlier messages of a conversation can be
put there as well.
"""

from offline.planner import calendar_steps, mail_steps
from offline.planner.draft import Draft, Gives
from offline.planner.match import Match
from offline.planner.outcomes import Ask, Doubt
from offline.planner.scan import Scan, phrases

_IT = phrases(
    "it|that|them|this|that one|this one|that mail|that email|this mail|the mail|the email|that message|the message"
)
_IT = (
    *_IT,
    *phrases("that event|the event|this event|that meeting|this meeting|the meeting|the appointment|that appointment"),
)
_AWAY = frozenset(phrases("delete|remove|cancel|trash|archive|drop"))
_MAILS, _EVENTS = (Gives.MAIL, Gives.MAILS), (Gives.EVENT, Gives.EVENTS)


def puts_away_known(scan: Scan, start: int, end: int) -> bool:
    """Whether a clause says `delete it`: a verb, and words that only stand for something."""
    return scan.low(start) in _AWAY and scan.phrase(start + 1, *_IT) == end


def put_away(match: Match, draft: Draft) -> None:
    """Plan to archive or delete what the last clause found or made."""
    known = draft.last(*_MAILS, *_EVENTS)
    verb = match.scan.low(match.start)
    if not known:
        raise Ask(Doubt(f"What shall I {verb}?", match.scan.begin(match.start + 1), match.ending))
    if known[-1].gives in _EVENTS and verb != "archive":
        calendar_steps.delete_known(match, draft)
    else:
        mail_steps.put_away_known(match, draft, "email.archive" if verb == "archive" else "email.delete")
