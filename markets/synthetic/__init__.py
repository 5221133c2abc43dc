"""Synthetic markets: markets whose best policy is known, and one that only looks real."""
