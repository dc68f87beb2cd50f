"""Databases: migrations, errors in words, pools, and the files behind SQLite."""
