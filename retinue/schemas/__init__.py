"""JSON schemas of tools, manifests and answers, and values checked against them. Pure."""
