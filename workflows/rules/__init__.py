"""Pure rules over plain values: policies, provenance, grants, budgets. Knows neither Temporal nor a run."""
