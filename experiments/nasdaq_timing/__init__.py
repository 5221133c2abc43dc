"""Whether the same learner can time an index."""
