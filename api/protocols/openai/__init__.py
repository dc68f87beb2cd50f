"""The OpenAI-compatible protocols, for any chat client."""
