"""The parts of one run: its conversation, its preview, its notices, its result, what the Web UI shows."""
