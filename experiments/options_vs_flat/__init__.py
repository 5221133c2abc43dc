"""Options against a flat agent, on switching markets whose best policy is known."""
