"""The tasks capability: the person's to-do list, and reminders that come at their time."""
