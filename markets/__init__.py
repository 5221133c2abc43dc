"""What happened, with its provenance: bars, actions, sources, manifests, splits."""
