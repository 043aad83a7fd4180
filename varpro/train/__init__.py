"""Training of scalarized networks: data, partition, sub-networks, gluing, refinement, bootstrapping."""
