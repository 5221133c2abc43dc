"""Gymnasium market environments on one compiled kernel."""
