"""What a contract says of a tool, as its manifest announces it."""

from __future__ import annotations

from abc import abstractmethod

import pytest
from pydantic import BaseModel, ValidationError
from temporalio import activity

from retinue.capability import READ, Capability, Manifest, ToolSpec, tool

EXAMPLES = ("is there any milk?", "what is in the fridge?")


class Content(BaseModel):
    items: list[str]


class Fridge(Capability):
    name = "fridge"
    version = "1.0.0"
    description = "What is in the fridge."
    instructions = ""

    @activity.defn(name="fridge.list")
    @tool(title="Look into the fridge", annotations=READ, examples=EXAMPLES)
    @abstractmethod
    async def list_items(self) -> Content:
        """List all that is in the fridge."""


def test_the_manifest_announces_the_examples_of_a_tool() -> None:
    announced = Manifest.model_validate_json(Fridge.manifest().model_dump_json())
    assert announced.tools[0].examples == EXAMPLES


@pytest.mark.parametrize(
    "examples", [("",), ("x" * 201,), ("two\nlines",), ("x",) * 51], ids=["empty", "long", "lines", "many"]
)
def test_examples_are_bounded(examples: tuple[str, ...]) -> None:
    with pytest.raises(ValidationError, match="examples"):
        ToolSpec(name="fridge.list", title="List", description="List.", args_schema={}, examples=examples)
