"""What several protocols need: runs in a few sentences, conversations by a client's history."""
