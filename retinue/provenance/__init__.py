"""Provenance of values: credentials, result fields, and the words for them."""
