"""The connection to Temporal and what travels through it: payloads, headers, proofs, well-known workflows."""
