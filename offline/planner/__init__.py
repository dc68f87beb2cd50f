"""Converts a request to a plan: first what it is about, then its values, then what is missing.

`conversation.answer` is the entry point. From the text to the plan: `tokens` cuts, `clauses` splits, `intents` says of each
clause what it is about, the `*_readings` and `letters` read its values (`dates` and `when` the times), the `*_steps` make steps of
them or ask, and `draft` collects the steps. Nothing here knows HTTP.
"""
