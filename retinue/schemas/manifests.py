"""Whether a manifest can be announced. Pure, so that the announcing worker and the registry apply the same rules.

There are two checks: `check_names` takes microseconds, and `check_schemas` several milliseconds of CPU for each tool, so it
does not belong in workflow code.
"""

from __future__ import annotations

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError

from retinue.capability import WORKFLOW_QUEUE, Manifest, ToolSpec

_SHOWN = 200
"""Characters of an error of `jsonschema`, which repeats the schema."""


def check_names(manifest: Manifest) -> str | None:
    """Say what is wrong with the names of the tools or the task queue; None if nothing is."""
    names = [spec.name for spec in manifest.tools]
    if strangers := [name for name in names if name.partition(".")[0] != manifest.name]:
        return f"tools of {manifest.name} must be named {manifest.name}.verb_object: {strangers}"
    if len(set(names)) != len(names):
        return f"{manifest.name} announces a tool twice"
    if manifest.task_queue == WORKFLOW_QUEUE:
        return f"the queue {WORKFLOW_QUEUE!r} belongs to the workflows; poll one of your own"
    return None


def check_schemas(manifest: Manifest) -> str | None:
    """Say which schema would fail in every plan that uses its tool; None if none would."""
    problems = (problem for spec in manifest.tools for problem in (_schema_problem(spec),) if problem)
    return next(problems, None)


def _schema_problem(spec: ToolSpec) -> str | None:
    try:
        Draft202012Validator.check_schema(spec.args_schema)
        Draft202012Validator.check_schema(spec.result_schema)
    except SchemaError as error:
        return f"a schema of {spec.name} is no JSON schema (draft 2020-12): {error.message[:_SHOWN]}"
    except RecursionError:
        return f"a schema of {spec.name} is nested too deeply"
    return None
