"""The OpenAI-compatible door: any chat client can talk to the assistant."""
