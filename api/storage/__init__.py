"""The API's own database: tables, migrations and encryption."""
