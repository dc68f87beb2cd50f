"""The HTTP API: a FastAPI application over the workflows. Its own state is in `storage/` (api.db)."""
