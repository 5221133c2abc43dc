"""Hydra groups, importable as pkg://conf."""
