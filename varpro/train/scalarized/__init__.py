"""Scalarized networks: sub-networks, gluing, refinement, bootstrapping, and their files."""
