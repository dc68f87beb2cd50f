"""What happens in a run, told while it happens."""
