"""The front door: a FastAPI application over the workflows. It keeps no state but the table of idempotency keys."""
