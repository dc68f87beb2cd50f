"""The HTTP routes: people's side, administrators, workers' side."""
