"""A stream of phases: train, consolidate, judge on all regimes, keep; gated, and resumable."""
