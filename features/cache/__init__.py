"""Computed features by the content of everything that decides them: data, definition, code."""
