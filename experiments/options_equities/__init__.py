"""What an agent of learned options and rules is worth out of sample."""
