"""Phrases about the address book."""

from offline.planner.draft import Draft, Gives, reference
from offline.planner.match import Match
from offline.planner.outcomes import Ask, Doubt, Refuse


def find(match: Match, draft: Draft) -> None:
    """Plan a look-up by name."""
    name = match.get("name", str)
    if not name:
        raise Ask(Doubt("Whose?", match.ending, match.ending), template=" of {}")
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
    draft.require("contacts.remove")
    name = match.get("name", str)
    if not name:
        raise Ask(Doubt("Whom?", match.ending, match.ending), template=" {}")
    found = draft.add("contacts.find", {"name": name}, f"looks up {name}; it must be exactly one")
    draft.add("contacts.remove", {"contact_id": reference(found, "/match/contact_id")}, "removes who was found")


def refuse_change(match: Match, draft: Draft) -> None:
    """No tool changes a contact."""
    del match, draft
    raise Refuse("I can't change contacts: I can find, list, add and remove them.")
