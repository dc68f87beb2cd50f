"""Whether an action may happen: grants, budgets, approvals, and the card that a person reads."""
