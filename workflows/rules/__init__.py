"""Pure rules over plain values: policies, provenance, grants, budgets. They import neither Temporal nor run state."""
