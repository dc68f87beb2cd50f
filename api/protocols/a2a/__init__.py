"""The A2A door: other agents ask this one. A task is an assistant, under the same id, checks and limits."""
