"""Webhooks: people's programs that are told what runs want of them."""
