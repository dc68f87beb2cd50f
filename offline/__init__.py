"""The offline model server: it speaks OpenAI's protocol and plans by rules instead of a neural network.

It is an external server like a hosted model, so it imports nothing of the rest of the project: everything about agents
and tools is in the request.
"""
