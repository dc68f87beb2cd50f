"""The API's own database: its tables, their migrations, and what is encrypted in them."""
