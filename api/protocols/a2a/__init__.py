"""The A2A protocol, for other agents. A task is an assistant, with the same id, checks and limits."""
