"""Where a run leaves its traces: a local journal first, then MLflow and TensorBoard."""
