"""The web capability: a page as readable text, fetched politely and from public addresses only."""
