"""Validates manifests. Pure, so that the announcing worker and the readers of the registry apply the same rules.

`check_names` takes microseconds; `check_schemas` takes several milliseconds of CPU per tool, so workflow code must not call
it.
"""

from __future__ import annotations

import json
from functools import lru_cache

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError

from retinue.capability import MOST_LEFT_OUT, WORKFLOW_QUEUE, Manifest, ToolSpec

_SHOWN = 200
"""Characters of an error of `jsonschema`, which repeats the schema."""
_REMEMBERED = 1024
"""Tools whose schemas are not checked again, since a manifest is checked at each try of an announcement and at each reading."""


def check_names(manifest: Manifest) -> str | None:
    """Return what is wrong with the names of the tools or the task queue, or None."""
    names = [spec.name for spec in manifest.tools]
    if strangers := [name for name in names if name.partition(".")[0] != manifest.name]:
        return f"tools of {manifest.name} must be named {manifest.name}.verb_object: {strangers}"
    if len(set(names)) != len(names):
        return f"{manifest.name} announces a tool twice"
    if manifest.task_queue == WORKFLOW_QUEUE:
        return f"the queue {WORKFLOW_QUEUE!r} belongs to the workflows; use another one"
    return None


def check_schemas(manifest: Manifest) -> str | None:
    """Return which schema would fail in every plan that uses its tool, or None."""
    return next(iter(_schema_problems(manifest).values()), None)


def usable(manifest: Manifest) -> Manifest:
    """Return the manifest without the tools whose schemas are invalid. `left_out` then says which and why."""
    problems = _schema_problems(manifest)
    if not problems:
        return manifest
    tools = [spec for spec in manifest.tools if spec.name not in problems]
    left_out = [*manifest.left_out, *problems.values()][:MOST_LEFT_OUT]
    return manifest.model_copy(update={"tools": tools, "left_out": left_out})


def _schema_problems(manifest: Manifest) -> dict[str, str]:
    """Return what is wrong with the schemas of each tool; tools without a problem are not in it."""
    found = {spec.name: _schema_problem(spec) for spec in manifest.tools}
    return {name: f"a schema of {name} {problem}" for name, problem in found.items() if problem}


def _schema_problem(spec: ToolSpec) -> str | None:
    try:
        problems = [_problem(json.dumps(schema)) for schema in (spec.args_schema, spec.result_schema)]
    except RecursionError:
        return "is nested too deeply"
    return next((problem for problem in problems if problem), None)


@lru_cache(_REMEMBERED)
def _problem(schema: str) -> str | None:
    try:
        Draft202012Validator.check_schema(json.loads(schema))
    except SchemaError as error:
        return f"is not a valid JSON schema (draft 2020-12): {error.message[:_SHOWN]}"
    return None
