"""The tables of the accounts service."""
