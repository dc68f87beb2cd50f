"""Processes: one generic runner for workflow and capability workers, and the supervisor behind `make up`."""
