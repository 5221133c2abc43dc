"""What may be known at time t: causal indicators and a pipeline fitted on training data only."""
