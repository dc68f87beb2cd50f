"""The reasoning capability: the language model as one more microservice."""
