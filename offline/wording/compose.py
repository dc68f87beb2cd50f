"""Writes a text from data, as for the body of a mail."""

from typing import Any

from offline.wording.shapes import describe


def compose(instruction: str, inputs: Any) -> str:
    """A plain text with all of the data; times stay in the offset that they carry.

    The instruction cannot be followed freely by rules, so it counts only where there is no data.
    """
    if inputs is None or inputs == [] or inputs == {}:
        return f"There is no data to write about. What was wanted: {instruction}".strip()
    if isinstance(inputs, dict) and all(isinstance(item, dict | list) for item in inputs.values()):
        return "\n\n".join(describe(item, None) for item in inputs.values())
    return describe(inputs, None)
