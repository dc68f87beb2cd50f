"""Phrases about the address book."""

from offline.planner.draft import Draft, Gives, reference
from offline.planner.outcomes import Ask, Doubt, Refuse
from offline.planner.patterns import Match
from offline.planner.rules import Rule

_BOOK = "(my|the) (contacts|address book|contact list|addresses)"
_FACT = (
    "(phone number|phone|number|telephone number|mobile number|mobile|email address|e-mail address|email|e-mail|"
    "mail address|address|contact details|contact|details|contact data)"
)


def find(match: Match, draft: Draft) -> None:
    """Plan a look-up by name."""
    name = match.get("owner", str) or match.need("name", str)
    draft.note(draft.add("contacts.find", {"name": name}, f"looks up {name}"), Gives.CONTACTS, f"the contact {name}")


def add(match: Match, draft: Draft) -> None:
    """Plan a new contact; the address must be typed."""
    name = match.get("name", str)
    address = match.get("address", str)
    if name is None:
        raise Ask(Doubt("What is the person's name?", match.ending, match.ending), template=" as {}")
    if address is None:
        raise Ask(Doubt(f"Which mail address does {name} have?", match.ending, match.ending), template=" {}")
    args = {"name": name, "email": address}
    if phone := match.get("phone", str):
        args["phone"] = phone
    draft.note(draft.add("contacts.add", args, f"adds {name}"), Gives.CONTACTS, f"the contact {name}")


def show(match: Match, draft: Draft) -> None:
    """Plan a list of all contacts."""
    del match
    draft.note(draft.add("contacts.list", {}, "lists the address book"), Gives.CONTACTS, "my contacts")


def remove(match: Match, draft: Draft) -> None:
    """Plan to remove one contact, looked up by name."""
    name = match.need("name", str)
    draft.require("contacts.remove")
    found = draft.add("contacts.find", {"name": name}, f"looks up {name}; it must be exactly one")
    draft.add("contacts.remove", {"contact_id": reference(found, "/match/contact_id")}, "removes who was found")


def refuse_change(match: Match, draft: Draft) -> None:
    """No tool changes a contact."""
    del match, draft
    raise Refuse("I can't change contacts: I can find, list, add and remove them.")


_DATA = "[,|:|with|with the address|with address|with the email|with email|email|at] <address>"
_PHONE = "[[,|and] [with] [phone|tel|phone number|telephone|the phone number] <phone>]"
RULES = (
    Rule(
        (
            f"(add|put|save|enter) [a|the] [new] [contact|contact for|contact named|contact called] <name> {_DATA} {_PHONE}",
            f"(add|put|save|enter) [a|the] [new] [contact|contact for] <name> {_DATA} {_PHONE} [,] (to|in|into) {_BOOK}",
            f"(create|make) a [new] contact [for|called|named] <name> {_DATA} {_PHONE}",
            f"new contact [:] <name> {_DATA} {_PHONE}",
            f"(save|add) <address> (as|for|under|under the name) <name> {_PHONE} [[in|to] {_BOOK}]",
            f"(add|save|put) <name> (to|in|into) {_BOOK} {_DATA} {_PHONE}",
            f"(add|save|put) [<name>] [<address>] (to|in|into) {_BOOK}",
        ),
        add,
    ),
    Rule(
        (
            f"(show|list|open|see|print|what are|who is in) [me] [all] [of] {_BOOK}",
            "(list|show) [me] all contacts",
            "(list|show) [me] contacts",
            _BOOK,
        ),
        show,
    ),
    Rule(
        (
            f"(what is|what's|whats|find|show|show me|tell me|give me|get|get me|look up|i need) <owner> {_FACT}",
            f"[what is|what's|find|show|show me|tell me|give me|get|get me|look up|i need] [the] {_FACT} (of|for) <name>",
            f"(find|look up|look for|search for|search|show|show me) [contact|the contact] <name> in {_BOOK}",
            "(find|look up|look for|show|show me|search|search for) [the] contact <name>",
            "(do i have|is there) (a|any) contact [for|called|named] <name>",
            f"(is|do i have) <name> in {_BOOK}",
            "(who is|who's) <name>",
            "(how can i|how do i) reach <name>",
            "look up <name>",
        ),
        find,
    ),
    Rule(
        (
            f"(delete|remove) <name> from {_BOOK}",
            "(delete|remove) [the|my] contact <name>",
        ),
        remove,
    ),
    Rule(
        (
            f"(change|edit|update) <name> in {_BOOK}",
            "(change|edit|update) [the|my] contact <name>",
        ),
        refuse_change,
    ),
)
