"""The mail capability: one mailbox, its tools and the way in for mails from files."""
