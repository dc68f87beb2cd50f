"""What the routes do; it knows no HTTP."""
