"""The contacts capability."""
