"""Training of scalarized networks: data, partition, sub-networks, glueing, refinement, bootstrapping."""
