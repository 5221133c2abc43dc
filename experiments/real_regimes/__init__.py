"""Streams of regimes of real markets: what remedies against forgetting are worth there."""
