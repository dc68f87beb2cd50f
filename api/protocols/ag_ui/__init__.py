"""AG-UI: a run told as that protocol's events, with approvals and questions as interrupts."""
