"""The memory capability."""
