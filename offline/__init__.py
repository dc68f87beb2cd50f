"""A stand-in model server: it speaks OpenAI's protocol and plans by rules instead of by a neural network.

The room is an outside server as a hosted model would be, so it imports nothing of the rest of the project: all that it
knows about agents and tools arrives in the request.
"""
