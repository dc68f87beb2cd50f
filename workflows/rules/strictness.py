"""Compares policies by strictness, and finds rules that a grant may not replace. Pure.

Both err on the side of asking: what the rules alone do not prove counts as looser.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Any

from pydantic import JsonValue

from retinue.capability import Annotations
from workflows.rules.budget import Limits
from workflows.rules.grants import AlsoFor, Scope, exact_text
from workflows.rules.policy import ANYBODY, Action, Asking, AtExpiry, Decision, Policy, Rule, matches
from workflows.rules.provenance import Origin, Source

_UNKNOWN: dict[str, JsonValue] = {"$from": "-", "path": ""}
_WORDS_ONLY = frozenset({"name", "because"})
"""Fields of a rule that do not affect the decision."""


def is_at_least_as_strict(policy: Policy, than: Policy) -> bool:
    """Whether `policy` denies, or asks as strictly, everything that `than` asks or denies.

    It compares the rules: `policy` has those of `than`, in their order, perhaps without some that allow. Between them it
    may have rules that deny, and rules that ask as strictly as each later rule of `than`.
    """
    bounds = policy.hold >= than.hold and within(policy.run_budget, than.run_budget)
    return bounds and within(policy.day_budget, than.day_budget) and _rules_are_stricter(policy.rules, than.rules)


def within(limits: Limits | None, most: Limits | None) -> bool:
    """Whether no limit is higher than the corresponding other limit."""
    for name, largest in (most.model_dump(exclude_none=True) if most else {}).items():
        own = getattr(limits, name) if limits else None
        if own is None or own > largest:
            return False
    return True


def _rules_are_stricter(rules: Sequence[Rule], than: Sequence[Rule]) -> bool:
    left = list(than)
    for rule in rules:
        place = next((index for index, other in enumerate(left) if _says(other) == _says(rule)), None)
        if place is not None and all(skipped.decide is Decision.AUTO for skipped in left[:place]):
            left = left[place + 1 :]
        elif not _is_harmless_before(rule, left):
            return False
    # the rest would have come last, and what no rule matches is asked
    return all(rule.decide is Decision.AUTO or _is_plain(rule) for rule in left)


def _is_plain(rule: Rule) -> bool:
    return rule.decide is Decision.ASK and asks_as_strictly(Asking(), rule)


def _says(rule: Rule) -> dict[str, Any]:
    return rule.model_dump(exclude=set(_WORDS_ONLY))


def _is_harmless_before(rule: Rule, later: Sequence[Rule]) -> bool:
    """Whether a rule may precede these without making anything looser."""
    if rule.decide is not Decision.ASK:
        return rule.decide is Decision.DENY
    asking = [other for other in later if other.decide is Decision.ASK]
    denies = any(other.decide is Decision.DENY for other in later)
    return not denies and all(asks_as_strictly(rule, other) for other in (*asking, Asking()))


def asks_as_strictly(rule: Asking, than: Asking) -> bool:
    """Whether no decider and no expiry is looser than under the other terms."""
    return (
        rule.approvers >= than.approvers
        and rule.not_the_requester >= than.not_the_requester
        and _are_among(rule.by, than.by)
        and (not rule.escalate_to or _are_among(rule.escalate_to, than.escalate_to))
        and (not rule.escalate_after or rule.escalate_after >= (than.escalate_after or 0))
        and _waits_as_long(rule, than)
    )


def _are_among(names: Sequence[str], others: Sequence[str]) -> bool:
    """Whether everybody who may decide is among the others; an empty list means the owner."""
    if not names or not others:
        return not names and not others
    return ANYBODY in others or set(names) <= set(others)


def _waits_as_long(rule: Asking, than: Asking) -> bool:
    """Whether expiry approves only what the other terms approve too, and no sooner."""
    if rule.at_expiry is not AtExpiry.ALLOW:
        return True
    allowed = than.at_expiry is AtExpiry.ALLOW
    return allowed and (rule.expires_after or 0) >= (than.expires_after or 0)


def rule_of_others(
    policy: Policy,
    scope: Scope,
    *,
    tool: str,
    annotations: Annotations,
    arguments: Sequence[str],
    caller: str,
    also_for: Sequence[AlsoFor] = (),
) -> Rule | None:
    """Return the first rule by which others than the caller alone decide about an action that a grant would cover.

    Args:
        policy: Of the actions.
        scope: Which arguments the grant covers.
        tool: Of the grant.
        annotations: Of the tool.
        arguments: The names of all its arguments.
        caller: The owner of the grant.
        also_for: Which runs it covers besides those started in person.
    """
    actions = list(_actions(scope, tool, annotations, arguments, caller, also_for))
    for rule in policy.rules:
        if not any(matches(rule, action, guess=True) for action in actions):
            continue
        if rule.decide is Decision.ASK and (rule.approvers > 1 or rule.by or rule.not_the_requester):
            return rule
        if all(matches(rule, action, guess=False) for action in actions):
            return None
    return None


def _actions(
    scope: Scope,
    tool: str,
    annotations: Annotations,
    arguments: Sequence[str],
    caller: str,
    also_for: Sequence[AlsoFor],
) -> Iterator[Action]:
    """Yield the actions of a scope, one for each way in which they may differ; unknown values are references."""
    args = _arguments(scope, arguments)
    given = [place for place in annotations.sensitive if place.split("/")[1] in args]
    scheduled = (False, True) if AlsoFor.SCHEDULES in also_for else (False,)
    never = {Source.STRANGERS} if AlsoFor.KEYS in also_for else {Source.STRANGERS, Source.KEY}
    for source, by_schedule in product([source for source in Source if source not in never], scheduled):
        origins = [Origin(path=place, source=source, trusted=True) for place in given]
        yield Action(tool, annotations, args, origins, caller, scheduled=by_schedule)


def _arguments(scope: Scope, arguments: Sequence[str]) -> Mapping[str, JsonValue]:
    """Return the known arguments: an exact text, none, or a reference for an unknown value."""
    found: dict[str, JsonValue] = {} if scope.closed else {name: dict(_UNKNOWN) for name in arguments}
    for place, patterns in scope.args.items():
        name = place.split("/")[1].replace("~1", "/").replace("~0", "~")
        if place.count("/") > 1:
            found[name] = dict(_UNKNOWN)
        elif not patterns:
            found.pop(name, None)
        else:
            text = exact_text(patterns)
            found[name] = dict(_UNKNOWN) if text is None or _is_number(text) else text
    return found


def _is_number(text: str) -> bool:
    """Whether a text may be a number, which rules compare in another way."""
    try:
        float(text)
    except ValueError:
        return False
    return True
