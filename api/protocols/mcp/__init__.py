"""The Model Context Protocol onto the API's services."""
