"""What happened, with its provenance: bars, instruments, corporate actions, sources, manifests, splits."""
