"""Events of a run, sent as they happen."""
