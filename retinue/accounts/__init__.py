"""What a capability's worker meets of a person's accounts elsewhere; the accounts service itself is `accounts/`."""
