"""Who acts: the policy over options, its execution, and the policy composed of it and options."""
