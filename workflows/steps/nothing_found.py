"""Explains a step that is skipped since a look-up found nothing; that is an answer, not a failure.

Code makes the sentence from the look-up's planned arguments alone, so it contains no strangers' words. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import datetime, timedelta

from pydantic import JsonValue

from retinue.plan import BoundStep, pointer, pointer_parts, references

_NAMES = ("query", "name")
"""Arguments that hold the search text."""
_DAY = 24 * 3600


def nothing_found(
    step: BoundStep, steps: Mapping[str, BoundStep], results: Mapping[str, JsonValue], now: datetime
) -> str | None:
    """Return what was not found, as a sentence without full stop, if a step refers to it; else None.

    Args:
        step: The step with its references.
        steps: All steps of the run by id.
        results: Of those steps.
        now: For times near the present.
    """
    for source, path in references(step.args):
        found = results.get(source)
        if source in steps and steps[source].annotations.read_only and _leads_nowhere(found, path):
            return _sentence(steps[source], now)
    return None


def nothing_for_list(
    step: BoundStep, args: Mapping[str, JsonValue], steps: Mapping[str, BoundStep], now: datetime
) -> str | None:
    """Return the same, if a look-up gave an empty list to a tool that needs at least one item; else None.

    Args:
        step: The step with its references.
        args: Its resolved arguments.
        steps: All steps of the run by id.
        now: For times near the present.
    """
    fields = (step.args_schema or {}).get("properties", {})
    for name, value in step.args.items():
        source = steps.get(str(value["$from"])) if isinstance(value, dict) and "$from" in value else None
        if args.get(name) == [] and source and source.annotations.read_only and fields.get(name, {}).get("minItems"):
            return _sentence(source, now)
    return None


def empty_references(
    step: BoundStep, steps: Mapping[str, BoundStep], results: Mapping[str, JsonValue]
) -> Iterator[str]:
    """Yield in words which fields are empty that a step refers to, such as the address of somebody who has none."""
    for source, path in references(step.args):
        with suppress(LookupError):
            if source in steps and path and pointer(results.get(source), path) is None:
                field = pointer_parts(path)[-1].replace("_", " ")
                yield f"step {source} ({steps[source].title}) gave no {field}"


def _leads_nowhere(found: JsonValue, path: str) -> bool:
    """Whether a pointer leads into an empty list, or into an empty match while all lists are empty."""
    try:
        parts = pointer_parts(path)
        pointer(found, path)
    except LookupError:
        pass
    else:
        return False
    lists = [value for value in found.values() if isinstance(value, list)] if isinstance(found, dict) else []
    if not lists or not parts or not isinstance(found, dict) or parts[0] not in found:
        return False
    return found[parts[0]] == [] or (found[parts[0]] is None and not any(lists))


def _sentence(look_up: BoundStep, now: datetime) -> str:
    sought = next((f' matching "{value}"' for name in _NAMES if isinstance(value := look_up.args.get(name), str)), "")
    when = _window(look_up.args.get("start"), look_up.args.get("end"), now)
    if not look_up.annotations.finds:
        return f"{look_up.title} found nothing{sought}{when}"
    return f"I found no {look_up.annotations.finds}{sought}{when}"


def _window(start: JsonValue, end: JsonValue, now: datetime) -> str:
    """Return the time window of the arguments in words; empty if they have none."""
    try:
        first, last = datetime.fromisoformat(str(start)), datetime.fromisoformat(str(end))
        soon, length = abs((first - now).total_seconds()) <= _DAY, round((last - now).total_seconds() / _DAY)
    except (ValueError, TypeError):  # no times, or times without an offset
        return ""
    if soon and length > 1:
        return f" in the next {length} days"
    last = max(first, last - timedelta(seconds=1))  # a window that ends at midnight ends with the day before
    return f" on {_day(first)}" if first.date() == last.date() else f" from {_day(first)} to {_day(last)}"


def _day(moment: datetime) -> str:
    return f"{moment.day} {moment:%B %Y}"
