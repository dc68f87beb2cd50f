"""Converts an English sentence to a plan, by a grammar that reads all of it or none of it.

`conversation.answer` is the entry point. From the text to the plan: `tokens` cuts, `dates` and `when` read times, `patterns`
matches the phrases of `calendar_phrases`, `mail_phrases`, `weather_phrases`, `people_phrases`, `task_phrases` and
`other_phrases`, `clauses` joins them, `draft` collects the steps. Nothing here knows HTTP.
"""
