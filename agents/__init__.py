"""What acts: market encoder, networks, rule and baseline policies."""
