"""Which actions are automatic and which are asked. Decided by code from annotations and origins alone.

What the model says about an action counts for nothing here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from retinue.plan import BoundStep
from workflows.messages import Origin


def reasons_to_ask(step: BoundStep, origins: Sequence[Origin]) -> list[str]:
    """Why a person must decide about this step; empty when it may run by itself.

    Reads are automatic, and so are writes into the person's own data that can be taken back. Whatever leaves the house
    or cannot be undone is asked, and so is an action whose destination neither the person typed nor a trusted tool gave.
    """
    return [] if step.annotations.read_only else list(_reasons(step, origins))


def _reasons(step: BoundStep, origins: Sequence[Origin]) -> Iterator[str]:
    if step.annotations.open_world:
        yield "it leaves the house"
    if step.annotations.destructive:
        yield "it cannot be undone"
    for origin in origins:
        if not origin.trusted and any(_touches(origin.path, pointer) for pointer in step.annotations.sensitive):
            yield f"{origin.path} decides where data goes and {_blame(origin)}"


def _touches(path: str, pointer: str) -> bool:
    """Whether one of two places holds the other."""
    return f"{path}/".startswith(f"{pointer}/") or f"{pointer}/".startswith(f"{path}/")


def _blame(origin: Origin) -> str:
    if origin.source == "step":
        return f"came from {origin.tool}, which may hold the words of strangers"
    return "was not typed by you"
