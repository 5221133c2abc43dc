"""Which world are we in: causal (filtered, never smoothed) probabilities of market regimes."""
