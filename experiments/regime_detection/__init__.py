"""How well do causal detectors see hidden regimes, and what is it worth?"""
