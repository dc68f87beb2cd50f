"""Validates manifests. Pure, so that the announcing worker and the registry apply the same rules.

`check_names` takes microseconds; `check_schemas` takes several milliseconds of CPU per tool, so workflow code must not call
it.
"""

from __future__ import annotations

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError

from retinue.capability import WORKFLOW_QUEUE, Manifest, ToolSpec

_SHOWN = 200
"""Characters of an error of `jsonschema`, which repeats the schema."""


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
    problems = (problem for spec in manifest.tools for problem in (_schema_problem(spec),) if problem)
    return next(problems, None)


def _schema_problem(spec: ToolSpec) -> str | None:
    try:
        Draft202012Validator.check_schema(spec.args_schema)
        Draft202012Validator.check_schema(spec.result_schema)
    except SchemaError as error:
        return f"a schema of {spec.name} is not a valid JSON schema (draft 2020-12): {error.message[:_SHOWN]}"
    except RecursionError:
        return f"a schema of {spec.name} is nested too deeply"
    return None
