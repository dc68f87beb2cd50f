"""OAuth as a client: providers as data, authorization code with PKCE, device flow, refresh and revocation.

It keeps nothing: the service keeps the state of a consent that has begun and the tokens, sealed. No error and no log contains
a token, a code, an address with a query, or a provider's own words.
"""
