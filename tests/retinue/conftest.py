"""Both kinds of databases."""

from tests.databases.postgresql import database_url, postgresql, postgresql_url

__all__ = ["database_url", "postgresql", "postgresql_url"]
