"""What the default agent is worth out of sample."""
