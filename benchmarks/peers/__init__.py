"""Workers that measure peers, each in an environment of its own."""
