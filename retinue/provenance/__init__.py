"""Where a value came from: which credential, which field, and in which words it is said."""
