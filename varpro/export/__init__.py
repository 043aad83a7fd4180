"""Trained networks of units in other languages: one description, and a writer for each language."""
