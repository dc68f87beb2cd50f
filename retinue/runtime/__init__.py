"""A process: logs, exit codes, liveness."""
